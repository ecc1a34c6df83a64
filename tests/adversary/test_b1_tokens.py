"""B1: tokens that are not quite one, and tokens of another kind, tenant or deployment. One constant 401 for all."""

from __future__ import annotations

import asyncio
import dataclasses
import urllib.parse

import pytest

from tests.adversary.conftest import Scene
from tests.adversary.evidence import assert_constant, body_of
from tests.adversary.forging import forge, sealed_of, session_of
from tests.adversary.press import PICTURE
from tests.world import Client

PATHS = ("/v1/recordings", "/v1/recordings/00000000-0000-4000-8000-000000000000/master.m3u8")


async def raw(scene: Scene, token: bytes, *, at: str = "header") -> tuple[int, bytes]:
    """Status and body of a request whose token is sent byte by byte, as no client library would."""
    where = urllib.parse.urlsplit(scene.world.url)
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    shown = {"header": b"Authorization: Bearer " + token, "cookie": b"Cookie: __Host-replayvault=" + token}[
        at
    ]
    writer.write(b"GET /v1/recordings HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + shown + b"\r\n\r\n")
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split(b" ", 2)[1]), body


async def test_b1_each_bit_of_a_token(scene: Scene, subtests: pytest.Subtests) -> None:
    for at in ("header", "cookie"):
        with subtests.test(at):
            await each_bit(scene, at=at)


async def each_bit(scene: Scene, *, at: str) -> None:
    token = (scene.a.token or "").encode()
    assert (await raw(scene, token, at=at))[0] == 200
    for place in range(len(token)):
        for bit in range(8):
            changed = bytearray(token)
            changed[place] ^= 1 << bit
            status, body = await raw(scene, bytes(changed), at=at)
            if changed[place] < 0x20 or changed[place] == 0x7F:  # not HTTP any more (RFC 9110, 5.5)
                assert status in {400, 401}, (place, bit)
            elif not (at == "cookie" and changed[place] in b' ";,\\'):  # what ends a cookie's value
                assert (status, body) == (401, body_of("unauthenticated")), (place, bit)
            assert status != 200
            assert token not in body


async def test_b1_what_is_nearly_a_token(scene: Scene) -> None:
    token = scene.a.token or ""
    nearly = (
        token[:-1],
        token + "A",
        token + "=",
        token.upper(),
        token.replace("rvs_", ""),
        token.replace("rvs_", "rvk_"),
        token.replace("rvs_", "rvt_"),
        f"{token},{token}",
        "",
        "rvs_",
        "rvs_" + "A" * 43,
        "é" * 47,
    )
    for text in nearly:
        assert await raw(scene, text.encode()) == (401, body_of("unauthenticated")), text
    assert_constant(await scene.world.anyone.get("/v1/recordings"), status=401)
    assert_constant(
        await scene.world.anyone.get("/v1/recordings", Authorization=f"Basic {token}"), status=401
    )
    assert (await scene.world.anyone.get(f"/v1/recordings?token={token}")).status == 401


async def test_b1_tokens_of_another_kind(scene: Scene) -> None:
    mine = await scene.press.publish(scene.clinic, "patient-a", sizes=PICTURE)
    ticket = (await scene.a.send("POST", "/v1/tickets", json={"recording": str(mine.recording_id)})).json[
        "ticket"
    ]
    http = scene.world.http
    for path in (*PATHS, f"{mine.url}/poster.jpg"):
        assert_constant(await Client(http, ticket).get(path), status=401)
    for token in (scene.a.token, scene.clinic.token, ticket[:-1] + "x", "rvt_", "x"):
        assert_constant(await scene.world.anyone.get(f"/v1/t/{token}/poster.jpg"), status=401)
    for who in (scene.a, Client(http, ticket)):
        for method, path in (
            ("POST", "/v1/sessions"),
            ("DELETE", "/v1/sessions?all=true"),
            ("GET", "/v1/sessions"),
        ):
            assert_constant(await who.send(method, path, json={"patient": "patient-b"}), status=401)
    assert_constant(await scene.clinic.get(f"{mine.url}/poster.jpg"), status=401)
    assert (await scene.world.anyone.get(f"/v1/t/{ticket}/poster.jpg")).status == 200  # the control


async def test_b1_records_moved_to_another_name_or_kind(scene: Scene) -> None:
    """Whoever can write to Redis gives A's token the record of B, and a session's token that of a ticket."""
    mine = await scene.press.publish(scene.clinic, "patient-a", sizes=PICTURE)
    ticket = (await scene.a.send("POST", "/v1/tickets", json={"recording": str(mine.recording_id)})).json[
        "ticket"
    ]
    rows = (
        (scene.b.token, scene.a.token),
        (ticket, scene.a.token),
        (scene.a.token, ticket),
    )
    records = [await sealed_of(scene, str(source)) for source, _ in rows]
    for record, (_, target) in zip(records, rows, strict=True):
        await forge(scene, str(target), record)
        as_ticket = str(target).startswith("rvt_")
        path = f"/v1/t/{target}/poster.jpg" if as_ticket else "/v1/recordings"
        answer = await Client(scene.world.http, None if as_ticket else str(target)).get(path)
        assert_constant(answer, status=401)


async def test_b1_another_tenant_and_another_audience(scene: Scene) -> None:
    mine = await scene.press.publish(scene.clinic, "patient-a", sizes=PICTURE, title="Mine")
    rival = await scene.world.backend("rival")
    await scene.press.publish(rival, "patient-a", tenant="rival", sizes=PICTURE, title="Theirs")
    namesake = await rival.sign_in("patient-a")
    assert [each["title"] for each in (await namesake.json("/v1/recordings"))["recordings"]] == ["Theirs"]
    assert_constant(await namesake.get(f"{mine.url}/poster.jpg"), status=404)
    assert_constant(await namesake.get(mine.url), status=404)
    ended = await rival.send("DELETE", f"/v1/sessions/{scene.a.session_id}")
    assert_constant(ended, status=404)
    assert (await scene.a.get("/v1/recordings")).status == 200

    session = await session_of(scene, str(scene.a.token))
    for changed in (
        dataclasses.replace(session, audience="another-deployment"),
        dataclasses.replace(session, audience=""),
    ):
        await forge(scene, str(scene.a.token), changed)
        assert_constant(await scene.a.get("/v1/recordings"), status=401)
    await forge(scene, str(scene.a.token), session)
    assert (await scene.a.get("/v1/recordings")).status == 200
