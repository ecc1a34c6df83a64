"""A1: every authorization check answers yes, and A asks for fifty recordings of B on every route. The key says no."""

from __future__ import annotations

import asyncio
import dataclasses
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from keys.ids import PatientRef, RecordingId, TenantId
from tests.adversary.conftest import Reads, Scene
from tests.adversary.evidence import assert_constant, found
from tests.adversary.press import PICTURE, Pressed
from tests.media.tools import ffmpeg
from vault.catalog import recordings
from vault.catalog.rows import RecordingRow

RECORDINGS = 50
SMALL = {"360p.mp4": 1000}  # all that is needed to play
A, B = "Alderwick-71c0e2", "Bramblehurst-5d9f3a"


@dataclass(frozen=True, slots=True)
class Way:
    """One way of asking for a recording; `name` is a file, or empty for the recording itself."""

    method: str
    name: str
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    action: str = "view.open"
    secret: bool = True
    """Whether B's own answer holds B's words: the control of the search."""


FILES = ("360p.mp4", "audio.mp4", "replay.mp4", "poster.jpg", "thumbs-001.jpg", "captions-en.vtt")
TEXTS = ("master.m3u8", "360p.m3u8", "audio.m3u8", "thumbs.vtt")
WAYS = (
    Way("GET", ""),
    Way("HEAD", "", secret=False),
    *(Way("GET", name) for name in FILES),
    Way("HEAD", "360p.mp4", secret=False),
    Way("HEAD", "master.m3u8", secret=False),
    Way("GET", "360p.mp4", 206, {"Range": "bytes=0-99"}),
    *(Way("GET", name, secret=False) for name in TEXTS),
    Way("POST", "tickets", 201, action="ticket.mint", secret=False),
)


async def ask(scene: Scene, who: Any, way: Way, recording: RecordingId) -> Any:
    if way.action == "ticket.mint":
        return await scene.evidence.ask(who, "POST", "/v1/tickets", json={"recording": str(recording)})
    path = f"/v1/recordings/{recording}" + (f"/{way.name}" if way.name else "")
    return await scene.evidence.ask(who, way.method, path, headers=way.headers)


async def answers_its_owner(scene: Scene, recording: Pressed) -> None:
    """The control: each way works, and the search finds in B's own answers what A's may not hold."""
    for way in WAYS:
        answer = await ask(scene, scene.b, way, recording.recording_id)
        assert answer.status == way.status, way
        assert found(B[:12], answer.body) is way.secret, way
    scene.evidence.answers.clear()


async def says_no_to_all(scene: Scene, theirs: list[RecordingId], reads: Reads) -> None:
    """404 each, constant, unread, audited and counted: once for each request."""
    reads.count = 0
    for way in WAYS:
        answers = await asyncio.gather(*(ask(scene, scene.a, way, each) for each in theirs))
        for answer in answers:
            assert_constant(answer, status=404, method=way.method)
    assert reads.count == 0
    for action in {way.action for way in WAYS}:
        ways = sum(way.action == action for way in WAYS)
        told = Counter(entry["recording"] for entry in await scene.evidence.mismatches(action=action))
        assert told == {str(each): ways for each in theirs}, action
    assert scene.world.metric("replayvault_key_mismatch_total") == len(WAYS) * len(theirs)
    assert scene.evidence.logs.count(b"key mismatch") == len(WAYS) * len(theirs)
    await scene.evidence.says_nothing_of(B, B[:12])


async def test_a1_fifty_recordings_of_another_patient(
    scene: Scene, without_checks: Callable[[], None], store_reads: Reads
) -> None:
    theirs = [
        *await scene.press.many(scene.clinic, "patient-b", count=2, stem=B),
        *await scene.press.many(scene.clinic, "patient-b", count=RECORDINGS - 2, stem=B, sizes=SMALL),
    ]
    await answers_its_owner(scene, theirs[0])
    without_checks()
    await says_no_to_all(scene, [each.recording_id for each in theirs], store_reads)
    (opened,) = await scene.evidence.audited(action="breaker.open", actor="system")
    assert opened["note"].endswith(f"6 in view.open by release {scene.world.settings.release}")
    assert (await scene.a.get("/v1/recordings")).json["code"] == "listing-stopped"


async def test_a1_the_catalog_itself_says_that_they_are_hers(
    scene: Scene, without_checks: Callable[[], None], store_reads: Reads, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Recordings of a patient of another tenant, who has the same reference as A."""
    rival = await scene.world.backend("rival")
    theirs = [
        await scene.press.publish(rival, "patient-a", tenant="rival", mark=f"{B[:12]}{n}", title=B)
        for n in range(3)
    ]
    without_checks()
    by_id = recordings.by_id

    async def anybodys(connection: AsyncConnection, recording_id: RecordingId) -> RecordingRow:
        row = await by_id(connection, recording_id)
        return dataclasses.replace(row, tenant=TenantId("clinic"), patient=PatientRef("patient-a"))

    monkeypatch.setattr(recordings, "by_id", anybodys)
    await says_no_to_all(scene, [each.recording_id for each in theirs], store_reads)


async def test_a1_a_recording_that_ffmpeg_made(
    scene: Scene,
    without_checks: Callable[[], None],
    store_reads: Reads,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    source = tmp_path_factory.mktemp("source") / "tiny.webm"
    picture = ("-f", "lavfi", "-i", "testsrc=s=64x48:r=5:d=1", "-f", "lavfi", "-i", "sine=d=1:r=16000")
    await asyncio.to_thread(ffmpeg, *picture, "-c:v", "libvpx", "-c:a", "libopus", source)
    recording = await scene.press.uploaded(scene.clinic, "patient-b", source, title=B)
    names = ["360p.mp4", "audio.mp4", "poster.jpg", "replay.mp4"]
    bodies = {name: (await scene.b.get(f"/v1/recordings/{recording}/{name}")).body for name in names}
    without_checks()
    store_reads.count = 0
    for name, body in bodies.items():
        answer = await scene.evidence.ask(scene.a, "GET", f"/v1/recordings/{recording}/{name}")
        assert_constant(answer, status=404)
        for place, kept in await scene.evidence.everything():
            assert not any(piece in kept for piece in pieces(body)), place
    assert store_reads.count == 0
    assert len(await scene.evidence.mismatches(recording=str(recording))) == len(bodies)


def pieces(body: bytes) -> list[bytes]:
    """Pieces of a body that stand nowhere by accident."""
    cut = (body[at : at + 24] for at in range(200, len(body) - 24, 997))
    return [piece for piece in cut if len(set(piece)) > 12]


async def test_a1_the_list_stays_hers(scene: Scene, without_checks: Callable[[], None]) -> None:
    await scene.press.many(scene.clinic, "patient-b", count=3, stem=B, sizes=PICTURE)
    mine = await scene.press.many(scene.clinic, "patient-a", count=2, stem=A, sizes=PICTURE)
    without_checks()
    page = await scene.evidence.ask(scene.a, "GET", "/v1/recordings")
    assert {entry["id"] for entry in page.json["recordings"]} == {str(each.recording_id) for each in mine}
    assert found(A, page.body)
    await scene.evidence.says_nothing_of(B)
    assert await scene.evidence.mismatches() == []
