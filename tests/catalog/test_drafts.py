"""Drafts: what was given up is never kept, and what is alive is never given up."""

from __future__ import annotations

import asyncio
import random
import uuid

import pytest
from sqlalchemy import select

from keys.database import Database
from keys.ids import FileId, RecordingId, new_file_id
from tests.catalog.rows import NOW, SECOND, add_recording
from vault.catalog import drafts
from vault.catalog.drafts import ABANDONED_AFTER, CONDEMNED, DRAFT, KEPT, ObjectRow
from vault.catalog.errors import LostClaim
from vault.catalog.tables import objects

LATE = NOW + ABANDONED_AFTER + SECOND


@pytest.fixture
async def recording(catalog: Database) -> RecordingId:
    return await add_recording(catalog)


async def announce(
    catalog: Database, recording: RecordingId, *, run_id: uuid.UUID | None = None, count: int = 1
) -> list[FileId]:
    ids = [new_file_id() for _ in range(count)]
    async with catalog.writing() as connection:
        for file_id in ids:
            row = ObjectRow(recording, file_id)
            await drafts.announce(connection, row, run_id=run_id or uuid.uuid4(), now=NOW)
    return ids


async def marks(catalog: Database) -> dict[FileId, int]:
    async with catalog.reading() as connection:
        rows = await connection.execute(select(objects.c.file_id, objects.c.kept))
        return {FileId(row.file_id): row.kept for row in rows}


async def abandoned(catalog: Database, limit: int = 99, *, turn: int = 0) -> set[FileId]:
    async with catalog.writing() as connection:
        now = LATE + turn * 2 * ABANDONED_AFTER
        found = await drafts.condemn_abandoned(connection, now=now, limit=limit)
    return {each.file_id for each in found}


async def test_a_draft_is_kept(catalog: Database, recording: RecordingId) -> None:
    ids = await announce(catalog, recording, count=3)
    async with catalog.writing() as connection:
        await drafts.keep(connection, ids[:2])
    assert await marks(catalog) == {ids[0]: KEPT, ids[1]: KEPT, ids[2]: DRAFT}
    assert await abandoned(catalog) == {ids[2]}


@pytest.mark.parametrize("by", ["run", "abandoned", "recording"])
async def test_what_was_condemned_is_never_kept(catalog: Database, recording: RecordingId, by: str) -> None:
    run_id = uuid.uuid4()
    ids = await announce(catalog, recording, run_id=run_id, count=2)
    async with catalog.writing() as connection:
        match by:
            case "run":
                condemned = await drafts.condemn_run(connection, run_id)
            case "abandoned":
                condemned = await drafts.condemn_abandoned(connection, now=LATE, limit=9)
            case _:
                condemned = await drafts.condemn_recording(connection, recording)
    assert {each.file_id for each in condemned} == set(ids)
    with pytest.raises(LostClaim):
        async with catalog.writing() as connection:
            await drafts.keep(connection, ids)
    async with catalog.writing() as connection:
        await drafts.touch(connection, run_id, now=LATE)
    assert await marks(catalog) == dict.fromkeys(ids, CONDEMNED)


async def test_one_condemned_object_keeps_none_of_its_run(catalog: Database, recording: RecordingId) -> None:
    """A half kept run would be published with a hole: the transaction leaves nothing kept."""
    alive = await announce(catalog, recording, count=2)
    lost = await announce(catalog, recording)
    async with catalog.writing() as connection:
        await connection.execute(objects.update().where(objects.c.file_id == lost[0]).values(kept=CONDEMNED))
    with pytest.raises(LostClaim):
        async with catalog.writing() as connection:
            await drafts.keep(connection, [*alive, *lost])
    assert await marks(catalog) == {**dict.fromkeys(alive, DRAFT), lost[0]: CONDEMNED}


async def test_what_is_forgotten_or_unknown_is_not_kept(catalog: Database, recording: RecordingId) -> None:
    ids = await announce(catalog, recording)
    async with catalog.writing() as connection:
        await drafts.forget(connection, ids)
    for unknown in (ids, [new_file_id()]):
        with pytest.raises(LostClaim):
            async with catalog.writing() as connection:
                await drafts.keep(connection, unknown)


async def test_what_was_kept_is_given_up_with_its_recording_alone(
    catalog: Database, recording: RecordingId
) -> None:
    run_id = uuid.uuid4()
    ids = await announce(catalog, recording, run_id=run_id)
    async with catalog.writing() as connection:
        await drafts.keep(connection, ids)
        assert await drafts.condemn_run(connection, run_id) == ()
    assert await abandoned(catalog) == set()
    async with catalog.writing() as connection:
        assert await drafts.condemn_recording(connection, recording) == (ObjectRow(recording, ids[0]),)


async def test_a_writer_that_is_alive_keeps_its_drafts(catalog: Database, recording: RecordingId) -> None:
    mine, theirs = uuid.uuid4(), uuid.uuid4()
    ids = await announce(catalog, recording, run_id=mine, count=2)
    dead = await announce(catalog, recording, run_id=theirs)
    async with catalog.writing() as connection:
        await drafts.touch(connection, mine, now=NOW + 2 * SECOND)
    assert await abandoned(catalog) == set(dead)
    async with catalog.writing() as connection:
        await drafts.keep(connection, ids)


async def test_it_is_not_abandoned_a_moment_too_early(catalog: Database, recording: RecordingId) -> None:
    ids = await announce(catalog, recording)
    async with catalog.writing() as connection:
        assert await drafts.condemn_abandoned(connection, now=NOW + ABANDONED_AFTER, limit=9) == ()
    assert await abandoned(catalog) == set(ids)


async def test_what_was_given_up_is_named_until_it_is_forgotten(
    catalog: Database, recording: RecordingId
) -> None:
    """A deletion that failed is tried again, at a later turn."""
    ids = await announce(catalog, recording, count=2)
    for turn in range(3):
        assert await abandoned(catalog, turn=turn) == set(ids)
    async with catalog.writing() as connection:
        await drafts.forget(connection, ids[:1])
    assert await abandoned(catalog, turn=3) == set(ids[1:])


async def test_what_cannot_be_deleted_keeps_nobody_waiting(catalog: Database, recording: RecordingId) -> None:
    ids = await announce(catalog, recording, count=4)
    first = await abandoned(catalog, limit=2)
    second = await abandoned(catalog, limit=2)
    assert (len(first), len(second), first | second) == (2, 2, set(ids))


async def test_the_limit_takes_the_oldest(catalog: Database, recording: RecordingId) -> None:
    run_id = uuid.uuid4()
    young = await announce(catalog, recording, run_id=run_id)
    old = await announce(catalog, recording)
    async with catalog.writing() as connection:
        await drafts.touch(connection, run_id, now=NOW + SECOND / 2)
    assert await abandoned(catalog, limit=1) == set(old)
    assert (await marks(catalog))[young[0]] == DRAFT


async def test_keeping_and_giving_up_at_once_end_in_one_of_the_two(
    catalog: Database, recording: RecordingId
) -> None:
    """A late writer against the reconciler, in random order: never kept and condemned at once."""
    chance = random.Random(3)  # noqa: S311 - a test must repeat
    for _ in range(12):
        ids = await announce(catalog, recording, count=3)

        async def keep(ids: list[FileId] = ids) -> bool:
            await asyncio.sleep(chance.random() * 0.005)
            try:
                async with catalog.writing() as connection:
                    await drafts.keep(connection, ids)
            except LostClaim:
                return False
            return True

        async def reconcile() -> set[FileId]:
            await asyncio.sleep(chance.random() * 0.005)
            return await abandoned(catalog)

        kept, condemned = await asyncio.gather(keep(), reconcile())
        found = {file_id: mark for file_id, mark in (await marks(catalog)).items() if file_id in ids}
        if kept:
            assert found == dict.fromkeys(ids, KEPT)
            assert not condemned & set(ids)
        else:
            assert found == dict.fromkeys(ids, CONDEMNED)
            assert condemned >= set(ids)
        async with catalog.writing() as connection:
            await drafts.forget(connection, ids)
