"""Encrypting anew: every byte is what it was, under a key that nobody had; what it replaces is gone."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from keys import recording_wraps
from keys.ids import FileId
from tests.catalog.rows import TENANT
from tests.rotation.room import Room
from vault.catalog import drafts, recordings, renewals
from vault.catalog.drafts import ABANDONED_AFTER, ObjectRow
from vault.catalog.key_job_states import ENDED, JobState
from vault.catalog.key_jobs import JobId, JobKind
from vault.catalog.states import RecordingState
from vault.drafting import Drafting
from vault.rotation import renewal_job
from vault.rotation.renewal_job import GRACE

AT_ONCE = {GRACE: 0}


@contextlib.asynccontextmanager
async def at_work(room: Room) -> AsyncIterator[None]:
    """A runner beside the block."""
    task = asyncio.create_task(room.runner().run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def noted(room: Room, job: JobId, word: str) -> None:
    """Wait until a job says so."""
    async with asyncio.timeout(20):
        while True:
            if word in ((await room.job(job)).note or ""):
                return
            await asyncio.sleep(0.02)


async def ended(room: Room, job: JobId) -> JobState:
    """Wait for the end of a job."""
    async with asyncio.timeout(20):
        while True:
            if (state := (await room.job(job)).state) in ENDED:
                return state
            await asyncio.sleep(0.02)


@pytest.fixture(autouse=True)
def short_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(renewal_job, "_PASS_REST_S", 0.05)


async def test_whatever_its_state(room: Room) -> None:
    await room.patient("ann", recordings=0)
    await room.patient("ben", recordings=1)
    films = [
        await room.publish("ann"),
        await room.publish("ann", state=RecordingState.FAILED),
        await room.upload("ann"),
    ]
    before = [(await room.row(film), await room.plain(film)) for film in films]
    bens = await room.plain((await room.shelf("ben"))[0])
    stored = await room.stored()
    job = await room.ask(JobKind.REENCRYPT, tenant=TENANT, patient=before[0][0].patient, options=AT_ONCE)
    await room.runner().once()
    done = await room.job(job)
    assert (done.state, done.total, done.done, done.failed) == (JobState.DONE, 3, 3, 0)
    for old, plain in before:
        new = await room.row(old.recording_id)
        assert await room.plain(old.recording_id) == plain
        assert new.key_id != old.key_id
        assert (new.state, new.created_at, new.consultation) == (old.state, old.created_at, old.consultation)
        assert new.source != old.source or old.source is None
        assert new.manifest != old.manifest or old.manifest is None
        assert new.metadata != old.metadata
    assert not await room.stored() & stored
    assert len(await room.stored()) == len(stored)
    assert await room.plain((await room.shelf("ben"))[0]) == bens
    told = [each for each in room.audited() if each["action"] == "recording.reencrypt"]
    assert [each["decision"] for each in told] == ["allow"] * 3
    assert {each["key_id"] for each in told} == {str((await room.row(film)).key_id) for film in films}


async def test_what_is_in_flight_is_taken_up_once_it_is_done(room: Room) -> None:
    await room.patient("ann", recordings=0)
    queued = await room.publish("ann", state=RecordingState.QUEUED)
    receiving = await room.upload("ann")
    first, upload = (await room.row(queued)).key_id, uuid.uuid4()
    receiving_key = (await room.row(receiving)).key_id
    async with room.catalog.writing() as connection:
        draft = ObjectRow(receiving, FileId(uuid.uuid4()))
        await drafts.announce(connection, draft, run_id=upload, now=room.at)
    job = await room.ask(JobKind.REENCRYPT, options=AT_ONCE)
    async with at_work(room):
        await noted(room, job, "being uploaded or processed")
        assert (await room.row(queued)).key_id == first
        assert (await room.row(receiving)).key_id == receiving_key
        async with room.catalog.writing() as connection:
            await recordings.start_processing(connection, queued)
            await recordings.fail(connection, queued, code="x", detail="x")
            await drafts.condemn_run(connection, upload)
        assert await ended(room, job) is JobState.DONE
    assert (await room.row(queued)).key_id != first
    assert (await room.row(receiving)).key_id != receiving_key
    assert (await room.job(job)).done == 2


async def test_the_reconciler_leaves_what_was_replaced_until_its_time(room: Room) -> None:
    await room.patient("ann", recordings=0)
    await room.publish("ann")
    former = await room.stored()
    job = await room.ask(JobKind.REENCRYPT, options={GRACE: 900})
    drafting = Drafting(room.catalog, room.store, room.clock)
    async with at_work(room):
        await noted(room, job, "is removed at 09:45:01 UTC")
        room.at += ABANDONED_AFTER * 2
        assert await drafting.clear_abandoned(limit=100) == 0
        assert former <= await room.stored()
        room.at += ABANDONED_AFTER * 6
        assert await ended(room, job) is JobState.DONE
    assert not former & await room.stored()


async def test_what_does_not_open_is_named_and_left(room: Room) -> None:
    await room.patient("ann", recordings=0)
    broken, whole = await room.publish("ann"), await room.publish("ann")
    row = await room.row(broken)
    assert row.source is not None
    path = room.folder / "objects" / str(broken) / str(row.source.file_id)
    good = await asyncio.to_thread(path.read_bytes)
    await asyncio.to_thread(overwrite, path, good[:200] + bytes([good[200] ^ 1]) + good[201:])
    job = await room.ask(JobKind.REENCRYPT, options=AT_ONCE)
    await room.runner().once()
    done = await room.job(job)
    assert (done.state, done.done, done.failed) == (JobState.INCOMPLETE, 1, 1)
    assert (await room.row(broken)).key_id == row.key_id
    assert len(await room.stored()) == 2 * len(
        [name for name in await room.stored() if name.recording_id == whole]
    )
    await asyncio.to_thread(overwrite, path, good)
    await room.retry(job)
    await room.runner().once()
    assert (await room.job(job)).state is JobState.DONE
    assert (await room.row(broken)).key_id != row.key_id
    assert await room.plain(broken)


async def test_a_store_that_is_away_makes_the_job_wait(room: Room) -> None:
    await room.patient("ann", recordings=0)
    film = await room.publish("ann")
    first = (await room.row(film)).key_id
    here, away = room.folder / "objects", room.folder / "away"
    await asyncio.to_thread(here.rename, away)
    job = await room.ask(JobKind.REENCRYPT, options=AT_ONCE)
    await room.runner().once()
    waits = await room.job(job)
    assert (waits.state, waits.failed) == (JobState.QUEUED, 0)
    assert "the object store does not answer" in (waits.note or "")
    assert (await room.row(film)).key_id == first
    await asyncio.to_thread(away.rename, here)
    room.at += ABANDONED_AFTER
    await room.runner().once()
    assert (await room.job(job)).state is JobState.DONE


@pytest.mark.parametrize("what", ["deleted", "encrypted anew"])
async def test_what_changes_meanwhile(room: Room, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    """Between the copies and the exchange: whoever was first stays, and nothing is left of the second."""
    await room.patient("ann", recordings=0)
    film = await room.publish("ann")
    exchange = renewals.exchange

    async def late(*_: object, **__: object) -> bool:
        monkeypatch.setattr(renewals, "exchange", exchange)
        raise Meanwhile

    class Meanwhile(Exception):
        pass

    job = await room.ask(JobKind.REENCRYPT, options=AT_ONCE)
    monkeypatch.setattr(renewals, "exchange", late)
    with pytest.raises(Meanwhile):
        await room.runner().once()
    if what == "deleted":
        async with room.catalog.writing() as connection:
            await recordings.mark_deleted(connection, film)
            await recording_wraps.drop_wraps(connection, film)
            condemned = await drafts.condemn_recording(connection, film)
        await Drafting(room.catalog, room.store, room.clock).discard(condemned)
    room.at += ABANDONED_AFTER
    await room.runner().once()
    done = await room.job(job)
    assert (done.state, done.done) == (JobState.DONE, 0 if what == "deleted" else 1)
    assert len(await room.stored()) == (0 if what == "deleted" else 4)


async def test_two_jobs_at_a_time(room: Room) -> None:
    """Both copy; one exchange comes first, and the copies of the other are gone."""
    await room.patient("ann", recordings=0)
    film = await room.publish("ann")
    plain = await room.plain(film)
    jobs = [
        await room.ask(JobKind.REENCRYPT, options=AT_ONCE),
        await room.ask(JobKind.REENCRYPT, tenant=TENANT, options=AT_ONCE),
    ]
    await asyncio.gather(*(room.runner().once(only=job) for job in jobs))
    found = [await room.job(job) for job in jobs]
    assert [(job.state, job.failed) for job in found] == [(JobState.DONE, 0)] * 2
    assert sum(job.done for job in found) in {1, 2}  # a key that is younger than both requests answers both
    assert await room.plain(film) == plain
    assert len(await room.stored()) == 4
    assert not [each for each in room.audited() if each["reason"] == "KEY_MISMATCH"]


def overwrite(path: Path, body: bytes) -> None:
    """Put other bytes in the place of an object."""
    path.chmod(0o600)
    path.write_bytes(body)
