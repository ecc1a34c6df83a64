"""A2: the list's query loses its WHERE. Only A's entries are shown; the others are dropped, counted and alarmed."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from tests.adversary.conftest import Scene
from tests.adversary.evidence import Evidence
from tests.adversary.press import PICTURE, Pressed
from vault.catalog import recordings
from vault.catalog.recordings import Cursor
from vault.catalog.rows import RecordingRow, recording_row
from vault.catalog.tables import recordings as table

A, B = "Alderwick-71c0e2", "Bramblehurst-5d9f3a"


async def everybodys(
    connection: AsyncConnection, *_whose: object, limit: int, after: Cursor | None
) -> tuple[RecordingRow, ...]:
    """`recordings.shelf`, as a careless change would leave it."""
    question = select(table).order_by(table.c.created_at.desc(), table.c.id.desc()).limit(limit)
    if after is not None:
        question = question.where(
            tuple_(table.c.created_at, table.c.id) < (after.created_at, after.recording_id)
        )
    return tuple(recording_row(row) for row in (await connection.execute(question)).mappings())


@pytest.fixture
async def theirs(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> list[Pressed]:
    """Recordings of B and of another tenant's patient of A's name, among A's; the query without its WHERE."""
    rival = await scene.world.backend("rival")
    found = [*await scene.press.many(scene.clinic, "patient-b", count=4, stem=B, sizes=PICTURE)]
    await scene.press.many(scene.clinic, "patient-a", count=3, stem=A, sizes=PICTURE)
    for number in range(2):
        mark = f"{B[:12]}{number}"
        found.append(
            await scene.press.publish(rival, "patient-a", tenant="rival", mark=mark, title=B, sizes=PICTURE)
        )
    await scene.press.many(scene.clinic, "patient-a", count=2, stem=A, sizes=PICTURE)
    found += await scene.press.many(scene.clinic, "patient-b", count=3, stem=B, sizes=PICTURE)
    monkeypatch.setattr(recordings, "shelf", everybodys)
    return found


async def nothing_but_hers(evidence: Evidence, theirs: list[Pressed]) -> None:
    ids = [str(each.recording_id) for each in theirs]
    await evidence.says_nothing_of(B, B[:12])
    for asked, answer in evidence.answers:
        assert not any(each.encode() in answer.body for each in ids), asked
        for titled in answer.json.get("recordings", ()):
            assert A in titled["title"]


async def test_a2_one_page(scene: Scene, theirs: list[Pressed]) -> None:
    page = await scene.evidence.ask(scene.a, "GET", "/v1/recordings?limit=200")
    assert page.status == 200
    assert len(page.json["recordings"]) == 5
    await nothing_but_hers(scene.evidence, theirs)
    told = await scene.evidence.mismatches(action="recording.list")
    assert {entry["recording"] for entry in told} >= {str(each.recording_id) for each in theirs}
    assert scene.world.metric("replayvault_key_mismatch_total") == len(told)
    assert scene.evidence.logs.count(b"key mismatch") == len(told)


async def test_a2_page_by_page_no_cursor_names_a_recording_of_another(
    scene: Scene, theirs: list[Pressed], subtests: pytest.Subtests
) -> None:
    for limit in (1, 2, 4):
        with subtests.test(limit=limit):
            query = f"?limit={limit}"
            while query:
                await scene.world.close_breaker()  # each page would open it for the next one
                page = await scene.evidence.ask(scene.a, "GET", f"/v1/recordings{query}")
                assert page.status == 200
                following: Any = page.json["next"]
                query = f"?limit={limit}&cursor={following}" if following else ""
    await nothing_but_hers(scene.evidence, theirs)
    for each in theirs:
        scene.evidence.answers_say_nothing_of(str(each.recording_id))
