"""What an attacker finds who has read the code: the audit's order, states and ids of others, cookies, odd headers."""

from __future__ import annotations

import asyncio
import errno
import urllib.parse
from typing import Any

import pytest

from tests.adversary.conftest import EMBEDDED_ALONE, Scene
from tests.adversary.evidence import assert_constant
from vault.audit import log

pytestmark = EMBEDDED_ALONE

A = "Alderwick-71c0e2"
NAMES = ("master.m3u8", "360p.mp4", "replay.mp4", "poster.jpg", "thumbs.vtt")


async def test_audit_unwritable_then_nothing_is_shown(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    (mine,) = await scene.press.many(scene.clinic, "patient-a", count=1, stem=A)

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr(log, "_append", full)
    paths = ("/v1/recordings", mine.url, *(f"{mine.url}/{name}" for name in NAMES))
    for path in paths:
        assert (await scene.evidence.ask(scene.a, "GET", path)).status == 503, path
    asked = {"recording": str(mine.recording_id)}
    assert (await scene.evidence.ask(scene.a, "POST", "/v1/tickets", json=asked)).status == 503
    assert (await scene.evidence.ask(scene.a, "POST", "/v1/sessions/refresh", json={})).status == 503
    scene.evidence.answers_say_nothing_of(A, A[:12])
    monkeypatch.undo()
    assert (await scene.a.get(f"{mine.url}/360p.mp4")).status == 200


async def test_the_audit_entry_is_on_the_disk_before_the_first_byte(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, subtests: pytest.Subtests
) -> None:
    append, loop = log._append, asyncio.get_running_loop()
    for name in ("", *NAMES):
        (mine,) = await scene.press.many(scene.clinic, "patient-a", count=1, stem=A)
        held, reached = asyncio.Event(), asyncio.Event()

        def slow(
            *arguments: Any, go: asyncio.Event = held, told: asyncio.Event = reached, **named: Any
        ) -> None:
            loop.call_soon_threadsafe(told.set)
            asyncio.run_coroutine_threadsafe(go.wait(), loop).result(20)
            append(*arguments, **named)

        sent = scene.world.metric("replayvault_streamed_bytes_total")
        with subtests.test(name or "the recording itself"), monkeypatch.context() as patch:
            patch.setattr(log, "_append", slow)
            asked = asyncio.create_task(scene.a.get(f"{mine.url}/{name}" if name else mine.url))
            await asyncio.wait_for(reached.wait(), 10)
            await asyncio.sleep(0.2)
            assert not asked.done()
            assert scene.world.metric("replayvault_streamed_bytes_total") == sent
            held.set()
            assert (await asked).status == 200
        (entry,) = await scene.evidence.audited(
            decision="allow", actor="session", recording=str(mine.recording_id)
        )
        assert entry["action"] == ("view.open" if name else "recording.list")


async def test_a_ticket_of_anothers_recording_says_nothing_of_its_state(scene: Scene) -> None:
    theirs = (await scene.clinic.announce("patient-b"))["id"]
    answer = await scene.evidence.ask(scene.a, "POST", "/v1/tickets", json={"recording": theirs})
    assert_constant(answer, status=404)
    (denied,) = await scene.evidence.audited(decision="deny", recording=theirs)
    assert denied["reason"] == "NOT_YOURS"
    assert scene.world.metric("replayvault_key_mismatch_total") == 0  # an honest mistake is no alarm


async def test_a_cookie_reads_and_does_nothing_else(scene: Scene) -> None:
    """What another site can make a browser send: every method, of the simple types too (Fetch, 2.2.2)."""
    cookie = {"Cookie": f"__Host-replayvault={scene.a.token}", "Origin": "https://elsewhere.example"}
    kinds = ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/json")
    for path in ("/v1/tickets", "/v1/sessions/refresh", "/v1/sessions", "/v1/recordings"):
        for kind in kinds:
            headers = {**cookie, "Content-Type": kind}
            answer = await scene.world.anyone.send("POST", path, data=b"{}", headers=headers)
            assert_constant(answer, status=401)
    for kind in kinds[:3]:
        headers = {**cookie, "Content-Type": kind}
        answer = await scene.world.anyone.send("POST", "/v1/sign-in", data=b"{}", headers=headers)
        assert answer.status == 415
    for method, path in (("DELETE", "/v1/sessions?all=true"), ("GET", "/v1/sessions")):
        assert_constant(await scene.world.anyone.send(method, path, headers=cookie), status=401)
    for method in ("GET", "OPTIONS"):
        answer = await scene.world.anyone.send(method, "/v1/recordings", headers=cookie)
        assert not any(name.lower().startswith("access-control") for name in answer.headers)
    assert answer.status == 405


async def test_bytes_that_are_no_text_in_headers_are_no_fault_of_ours(scene: Scene) -> None:
    body = b'{"patient":"p","consultation":"c","metadata":{"title":"t"}}'
    where = urllib.parse.urlsplit(scene.world.url)
    for name in (b"Idempotency-Key", b"If-Range", b"If-None-Match", b"Cookie", b"User-Agent"):
        reader, writer = await asyncio.open_connection(where.hostname, where.port)
        writer.write(
            b"POST /v1/recordings HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n"
            + b"Authorization: Bearer %s\r\n%s: \xff\xfe\r\n" % (str(scene.clinic.token).encode(), name)
            + b"Content-Length: %d\r\n\r\n" % len(body)
            + body
        )
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        assert answer[9:12] in {b"201", b"400"}, (name, answer)


async def test_one_tenants_idempotency_key_is_nothing_to_another(scene: Scene) -> None:
    rival = await scene.world.backend("rival")
    body = {"patient": "patient-a", "consultation": "c-1", "metadata": {"title": A}}
    headers = {"Idempotency-Key": "the-same"}
    asked = [
        await who.send("POST", "/v1/recordings", json=body, headers=headers)
        for who in (scene.clinic, scene.clinic, rival)
    ]
    assert [answer.status for answer in asked] == [201, 201, 201]
    ours, again, theirs = (answer.json["id"] for answer in asked)
    assert ours == again != theirs
    taken = {**body, "patient": "patient-b", "consultation": "c-2"}
    answer = await scene.clinic.send("POST", "/v1/recordings", json=taken, headers=headers)
    assert (answer.status, answer.json["code"]) == (409, "conflict")


async def test_a_deleted_recording_is_gone_for_everyone_though_its_manifest_was_cached(scene: Scene) -> None:
    (mine,) = await scene.press.many(scene.clinic, "patient-a", count=1, stem=A)
    asked = {"recording": str(mine.recording_id)}
    ticket = (await scene.a.send("POST", "/v1/tickets", json=asked)).json["ticket"]
    assert (await scene.a.get(f"{mine.url}/360p.mp4")).status == 200
    assert (await scene.clinic.send("DELETE", mine.url)).status == 204
    for who, path in (
        (scene.a, mine.url),
        *((scene.a, f"{mine.url}/{name}") for name in NAMES),
        (scene.world.anyone, f"/v1/t/{ticket}/360p.mp4"),
        (scene.clinic, mine.url),
    ):
        assert_constant(await scene.evidence.ask(who, "GET", path), status=404)
    assert_constant(await scene.evidence.ask(scene.a, "POST", "/v1/tickets", json=asked), status=404)
    assert (await scene.a.json("/v1/recordings"))["recordings"] == []
    scene.evidence.answers_say_nothing_of(A, A[:12])
