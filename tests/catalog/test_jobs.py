"""Jobs: one run holds one at a time, a dead run loses it, and a late one is told so."""

from __future__ import annotations

import asyncio
import datetime as dt
import uuid

import pytest
from sqlalchemy.exc import IntegrityError

from keys.database import Database
from keys.ids import RecordingId, new_recording_id
from tests.catalog.rows import NOW, SECOND, add_recording
from vault.catalog import jobs
from vault.catalog.errors import LostClaim
from vault.catalog.jobs import LEASE, Claim


@pytest.fixture
async def owed(catalog: Database) -> RecordingId:
    """A recording with a job."""
    recording_id = await add_recording(catalog)
    async with catalog.writing() as connection:
        await jobs.owe(connection, recording_id, b"box", now=NOW)
    return recording_id


async def claim(catalog: Database, recording_id: RecordingId, now: dt.datetime = NOW) -> Claim | None:
    async with catalog.writing() as connection:
        return await jobs.claim(connection, recording_id, now=now)


async def claimed(catalog: Database, recording_id: RecordingId, now: dt.datetime = NOW) -> Claim:
    found = await claim(catalog, recording_id, now)
    assert found is not None
    return found


async def waiting(catalog: Database, now: dt.datetime, limit: int = 99) -> list[tuple[RecordingId, int]]:
    async with catalog.reading() as connection:
        return [
            (each.recording_id, each.attempts) for each in await jobs.owed(connection, now=now, limit=limit)
        ]


async def test_a_claim_has_what_was_owed(catalog: Database, owed: RecordingId) -> None:
    held = await claimed(catalog, owed)
    assert (held.recording_id, held.handover, held.attempt) == (owed, b"box", 1)


async def test_of_a_crowd_one_claims(catalog: Database, owed: RecordingId) -> None:
    found = await asyncio.gather(*(claim(catalog, owed) for _ in range(10)))
    assert sum(each is not None for each in found) == 1


async def test_after_the_lease_it_is_anyones_and_not_before(catalog: Database, owed: RecordingId) -> None:
    first = await claimed(catalog, owed)
    assert await claim(catalog, owed, NOW + LEASE - SECOND) is None
    assert await waiting(catalog, NOW + LEASE - SECOND) == []
    assert await waiting(catalog, NOW + LEASE) == [(owed, 1)]
    second = await claimed(catalog, owed, NOW + LEASE)
    assert second.attempt == 2
    assert second.run_id != first.run_id


async def test_of_a_crowd_one_takes_over_a_dead_run(catalog: Database, owed: RecordingId) -> None:
    await claimed(catalog, owed)
    found = await asyncio.gather(*(claim(catalog, owed, NOW + LEASE) for _ in range(10)))
    assert sum(each is not None for each in found) == 1


async def test_a_renewed_lease_holds(catalog: Database, owed: RecordingId) -> None:
    held = await claimed(catalog, owed)
    async with catalog.writing() as connection:
        await jobs.renew(connection, held, progress=0.25, now=NOW + LEASE - SECOND)
        assert await jobs.progress_of(connection, owed) == 0.25
    assert await claim(catalog, owed, NOW + LEASE) is None
    again = await claimed(catalog, owed, NOW + LEASE + LEASE)
    async with catalog.reading() as connection:
        assert await jobs.progress_of(connection, owed) is None
    assert again.attempt == 2


@pytest.mark.parametrize("verb", ["renew", "hand_back", "finish"])
@pytest.mark.parametrize("lost_to", ["another run", "its end", "a deletion", "a stranger"])
async def test_a_lost_claim_does_nothing(
    catalog: Database, owed: RecordingId, verb: str, lost_to: str
) -> None:
    held = await claimed(catalog, owed)
    async with catalog.writing() as connection:
        match lost_to:
            case "another run":
                assert await jobs.claim(connection, owed, now=NOW + LEASE) is not None
            case "its end":
                await jobs.finish(connection, held)
            case "a deletion":
                await jobs.cancel(connection, owed)
            case _:
                held = Claim(owed, jobs.RunId(uuid.uuid4()), b"box", 1)
    before = await waiting(catalog, NOW + 10 * LEASE)
    with pytest.raises(LostClaim):
        await _change(catalog, held, verb)
    assert await waiting(catalog, NOW + 10 * LEASE) == before


async def _change(catalog: Database, held: Claim, verb: str) -> None:
    async with catalog.writing() as connection:
        match verb:
            case "renew":
                await jobs.renew(connection, held, progress=1.0, now=NOW + 5 * LEASE)
            case "hand_back":
                await jobs.hand_back(connection, held, free_at=NOW)
            case _:
                await jobs.finish(connection, held)


async def test_finish_and_takeover_at_once_end_in_one_of_the_two(catalog: Database) -> None:
    """Whichever comes first: never both, and never neither."""
    for _ in range(10):
        recording_id = await add_recording(catalog)
        async with catalog.writing() as connection:
            await jobs.owe(connection, recording_id, b"box", now=NOW)
        held = await claimed(catalog, recording_id)

        async def finish(held: Claim = held) -> bool:
            try:
                async with catalog.writing() as connection:
                    await jobs.finish(connection, held)
            except LostClaim:
                return False
            return True

        finished, taken = await asyncio.gather(finish(), claim(catalog, recording_id, NOW + LEASE))
        assert finished is (taken is None)


async def test_what_was_handed_back_waits_its_time(catalog: Database, owed: RecordingId) -> None:
    held = await claimed(catalog, owed)
    async with catalog.writing() as connection:
        await jobs.hand_back(connection, held, free_at=NOW + 2 * LEASE)
    assert await claim(catalog, owed, NOW + LEASE) is None
    assert (await claimed(catalog, owed, NOW + 2 * LEASE)).attempt == 2


async def test_the_longest_waiting_comes_first(catalog: Database) -> None:
    ids = [await add_recording(catalog) for _ in range(4)]
    async with catalog.writing() as connection:
        for delay, recording_id in zip((3, 1, 4, 2), ids, strict=True):
            await jobs.owe(connection, recording_id, b"box", now=NOW + SECOND * delay)
    assert [each for each, _ in await waiting(catalog, NOW + 4 * SECOND)] == [ids[1], ids[3], ids[0], ids[2]]
    assert [each for each, _ in await waiting(catalog, NOW + 2 * SECOND)] == [ids[1], ids[3]]
    assert [each for each, _ in await waiting(catalog, NOW + 4 * SECOND, limit=1)] == [ids[1]]


async def test_a_recording_has_one_job_and_a_job_its_recording(catalog: Database, owed: RecordingId) -> None:
    for recording_id in (owed, new_recording_id()):
        with pytest.raises(IntegrityError):
            async with catalog.writing() as connection:
                await jobs.owe(connection, recording_id, b"box", now=NOW)


async def test_a_finished_job_leaves_no_handover(catalog: Database, owed: RecordingId) -> None:
    held = await claimed(catalog, owed)
    async with catalog.writing() as connection:
        await jobs.finish(connection, held)
    assert await waiting(catalog, NOW + 10 * LEASE) == []
    assert await claim(catalog, owed, NOW + 10 * LEASE) is None
