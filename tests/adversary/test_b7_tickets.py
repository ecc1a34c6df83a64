"""B7: a ticket for one recording used for another, for other files, after its time; with the checks gone as well."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.adversary.conftest import Scene
from tests.adversary.evidence import assert_constant
from tests.adversary.forging import forge, ticket_of
from tests.adversary.press import Pressed
from vault.playback.opening import Opening

A, OTHER = "Alderwick-71c0e2", "Cedarholm-08be41"


async def ticket_for(scene: Scene, recording: Pressed, *files: str) -> str:
    asked: dict[str, Any] = {"recording": str(recording.recording_id), "files": files}
    answer = await scene.a.send("POST", "/v1/tickets", json=asked)
    assert answer.status == 201
    return str(answer.json["ticket"])


async def two(scene: Scene) -> tuple[Pressed, Pressed]:
    first = await scene.press.publish(scene.clinic, "patient-a", mark=A[:12], title=A)
    return first, await scene.press.publish(scene.clinic, "patient-a", mark=OTHER[:9], title=OTHER)


async def test_b7_other_paths_lead_nowhere(scene: Scene) -> None:
    first, second = await two(scene)
    ticket, anyone = await ticket_for(scene, first), scene.world.anyone
    assert (await anyone.get(f"/v1/t/{ticket}/poster.jpg")).body == first.plain("poster.jpg")
    theirs = second.recording_id
    for path in (
        f"/v1/t/{ticket}/{theirs}",
        f"/v1/t/{ticket}/..%2f{theirs}%2fposter.jpg",
        f"/v1/t/{ticket}/%2e%2e%2f..%2frecordings%2f{theirs}%2fposter.jpg",
        f"/v1/t/{ticket}/original",
        f"/v1/t/{ticket}/manifest",
        f"/v1/t/{ticket}/replay.head",
        f"/v1/t/{ticket}/poster.jpg%00",
        f"/v1/t/{ticket}/Poster.jpg",
    ):
        assert_constant(await scene.evidence.ask(anyone, "GET", path), status=404)
    for path in (
        f"/v1/recordings/{theirs}/poster.jpg",
        "/v1/recordings",
        f"/v1/recordings/{first.recording_id}",
    ):
        answer = await scene.evidence.ask(anyone, "GET", path, headers={"Authorization": f"Bearer {ticket}"})
        assert_constant(answer, status=401)
    scene.evidence.answers_say_nothing_of(OTHER[:9], A[:12], ticket)
    assert ticket[4:].encode() not in scene.evidence.logs


async def test_b7_a_ticket_for_one_recording_led_to_another_with_every_check_gone(
    scene: Scene, without_checks: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = await two(scene)
    ticket, find = await ticket_for(scene, first), Opening.find
    without_checks()

    async def misled(self: Opening, holder: Any, _: Any, *, request: str) -> Any:
        return await find(self, holder, second.recording_id, request=request)

    monkeypatch.setattr(Opening, "find", misled)
    for name in ("poster.jpg", "360p.mp4", "master.m3u8"):
        assert_constant(
            await scene.evidence.ask(scene.world.anyone, "GET", f"/v1/t/{ticket}/{name}"), status=404
        )
    assert len(await scene.evidence.mismatches(recording=str(second.recording_id), actor="ticket")) == 3
    scene.evidence.answers_say_nothing_of(OTHER[:9])


async def test_b7_a_ticket_whose_record_names_another_recording_has_the_wrong_key_for_it(
    scene: Scene, without_checks: Callable[[], None]
) -> None:
    """With all three locks and no check at all: ids may be rewritten, the key inside stays that of the first."""
    first, second = await two(scene)
    ticket = await ticket_for(scene, first)
    record = await ticket_of(scene, ticket)
    moved = dataclasses.replace(record, recording_id=second.recording_id, key_id=second.access.key_id)
    await forge(scene, ticket, moved)
    without_checks()
    for name in ("poster.jpg", "360p.mp4", "master.m3u8"):
        assert_constant(
            await scene.evidence.ask(scene.world.anyone, "GET", f"/v1/t/{ticket}/{name}"), status=404
        )
    assert len(await scene.evidence.mismatches(recording=str(second.recording_id))) == 3
    scene.evidence.answers_say_nothing_of(OTHER[:9])


async def test_b7_other_files_than_it_is_for(scene: Scene) -> None:
    first, _ = await two(scene)
    ticket, anyone = await ticket_for(scene, first, "poster.jpg", "captions-en.vtt"), scene.world.anyone
    assert (await anyone.get(f"/v1/t/{ticket}/poster.jpg")).status == 200
    for name in ("360p.mp4", "audio.mp4", "replay.mp4", "master.m3u8", "thumbs-001.jpg", "thumbs.vtt"):
        assert_constant(await scene.evidence.ask(anyone, "GET", f"/v1/t/{ticket}/{name}"), status=404)
    scene.evidence.answers_say_nothing_of(A[:12])


async def test_b7_after_its_time_and_after_its_session(scene: Scene) -> None:
    first, _ = await two(scene)
    ticket, anyone = await ticket_for(scene, first), scene.world.anyone
    record = await ticket_of(scene, ticket)
    await forge(scene, ticket, dataclasses.replace(record, expires_at=int(time.time())))
    assert_constant(await anyone.get(f"/v1/t/{ticket}/poster.jpg"), status=401)
    await forge(scene, ticket, record)
    assert (await anyone.get(f"/v1/t/{ticket}/poster.jpg")).status == 200
    assert (await scene.clinic.send("DELETE", f"/v1/sessions/{scene.a.session_id}")).status == 200
    assert_constant(await anyone.get(f"/v1/t/{ticket}/poster.jpg"), status=401)


async def test_b7_it_makes_no_tickets_and_no_sessions(
    scene: Scene, without_checks: Callable[[], None]
) -> None:
    first, second = await two(scene)
    ticket = await ticket_for(scene, first)
    without_checks()
    bearer = {"Authorization": f"Bearer {ticket}"}
    for path, body in (
        ("/v1/tickets", {"recording": str(second.recording_id)}),
        ("/v1/sessions/refresh", {}),
        ("/v1/sign-in", {"session": ticket}),
    ):
        answer = await scene.world.anyone.send("POST", path, json=body, headers=bearer)
        assert_constant(answer, status=401)
