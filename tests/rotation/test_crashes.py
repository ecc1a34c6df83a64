"""A runner that is killed after each of its transactions in turn, and one that goes on: the same end as without."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from keys import halves
from keys.ids import RecordingId
from keys.master.local import create_master_file, load_master_file
from keys.tables import patient_keys, recording_wraps
from tests.catalog.databases import emptied
from tests.mortality import DIED, Runners
from tests.rotation.room import Room
from vault.catalog import key_jobs
from vault.catalog.drafts import ABANDONED_AFTER, KEPT
from vault.catalog.key_jobs import JobId, JobKind
from vault.catalog.migrate import Schema
from vault.catalog.states import RecordingState
from vault.catalog.tables import objects
from vault.drafting import Drafting
from vault.objects.store import ObjectName
from vault.rotation.renewal_job import GRACE

PATIENTS = {"ann": 2, "ben": 1, "cleo": 0}
MOST_TRANSACTIONS = 60


@pytest.fixture
def runners() -> Iterator[Runners]:
    with Runners("tests.rotation.mortal") as made:
        yield made


class Story:
    """One job on databases of its own."""

    def __init__(self, runners: Runners, urls: tuple[str, str], folder: Path) -> None:
        self._runners = runners
        self._urls = urls
        self._folder = folder
        self._master = folder / "master.key"
        self._films: list[RecordingId] = []
        create_master_file(self._master)

    async def tell(self, kind: JobKind, *, die_after: int) -> tuple[bool, tuple[object, ...]]:
        """Ask for a job, let its runner die and another go on: whether the first one died, and how it all ended."""
        databases = (
            await emptied(self._urls[0], Schema.CATALOG),
            await emptied(self._urls[1], Schema.SHARES),
        )
        room = await Room.open(*databases, self._folder, master=load_master_file(self._master))
        for name, count in PATIENTS.items():
            await room.patient(name, recordings=0 if kind is JobKind.REENCRYPT else count)
        if kind is JobKind.REENCRYPT:
            self._films = [
                await room.publish("ann"),
                await room.upload("ann"),
                await room.publish("ben", state=RecordingState.FAILED),
            ]
        options = await _prepare(room, kind)
        before = [await room.plain(film) for film in self._films]
        former = await room.stored()
        job = await room.ask(kind, base_version=1, options=options)
        code = await self._run(room.at, die_after)
        if code == DIED:
            assert await self._run(room.at + key_jobs.LEASE, 0) == 0
        room = await self._reopened(room)
        outcome = await _outcome(room, job)
        if self._films:
            await _require_renewed(room, former)
            assert [await room.plain(film) for film in self._films] == before
        await room.aclose()
        for database in databases:
            await database.aclose()
        return code == DIED, outcome

    async def _run(self, now: dt.datetime, after: int) -> int:
        return await asyncio.to_thread(
            self._runners.run,
            catalog=self._urls[0],
            shares=self._urls[1],
            master=str(self._master),
            audit=str(self._folder),
            now=now.isoformat(),
            after=after,
        )

    async def _reopened(self, room: Room) -> Room:
        await room.aclose()
        shares = room.strongroom.shares.database
        return await Room.open(room.catalog, shares, self._folder, master=load_master_file(self._master))


async def _prepare(room: Room, kind: JobKind) -> dict[str, Any]:
    """What a kind of job needs before it; returns its options."""
    master = room.strongroom.master
    if kind is JobKind.REENCRYPT:
        return {GRACE: 0}
    if kind is JobKind.RETIRE:
        await room.ask(JobKind.PATIENT)
        await room.work()
        room.at += dt.timedelta(days=1)
        return {"soak_s": 3600}
    if kind in {JobKind.REWRAP, JobKind.RETIRE_MASTER}:
        await master.rotate()
    if kind is JobKind.RETIRE_MASTER:
        await room.ask(JobKind.REWRAP)
        await room.work()
        return {"provider": "local", "key": master.key_name, "version": 1, "soak_s": 0}
    return {}


async def _require_renewed(room: Room, former: set[ObjectName]) -> None:
    """Nothing is left of what there was, and nothing in the store that no recording points at."""
    room.at += 2 * ABANDONED_AFTER
    await Drafting(room.catalog, room.store, room.clock).clear_abandoned(limit=1000)
    stored = await room.stored()
    assert not stored & former
    async with room.catalog.reading() as connection:
        rows = (await connection.execute(select(objects))).all()
    assert {row.kept for row in rows} == {KEPT}
    assert {ObjectName(row.recording_id, row.file_id) for row in rows} == stored
    assert len(stored) == len(former)


async def _outcome(room: Room, job_id: JobId) -> tuple[object, ...]:
    """All that must be the same however often the job was interrupted."""
    job = await room.job(job_id)
    states = [await room.states(name) for name in PATIENTS]
    async with room.catalog.reading() as connection:
        wraps = (await connection.execute(select(recording_wraps.c.generation))).scalars().all()
        rows = await connection.scalar(select(func.count()).select_from(patient_keys))
        under = [(each.place.key_version, each.count) for each in await halves.census(connection)]
    for name in PATIENTS:
        await room.session(name, ttl=dt.timedelta(minutes=15))
    opens = await room.everything_opens()
    versions = [(each.number, each.is_retired) for each in await room.strongroom.master.versions()]
    return job.state, job.total, job.done, job.failed, states, sorted(wraps), rows, under, versions, opens


@pytest.mark.parametrize("kind_of_job", JobKind, ids=lambda each: each.value)
async def test_killed_after_every_transaction(
    runners: Runners, emptied_url: Callable[[Schema], str], tmp_path: Path, kind_of_job: JobKind
) -> None:
    urls = await asyncio.to_thread(lambda: (emptied_url(Schema.CATALOG), emptied_url(Schema.SHARES)))

    async def told(after: int) -> tuple[bool, tuple[object, ...]]:
        folder = tmp_path / str(after)
        folder.mkdir()
        return await Story(runners, urls, folder).tell(kind_of_job, die_after=after)

    died, undisturbed = await told(0)
    assert not died
    items = 1 if kind_of_job is JobKind.RETIRE_MASTER else len(PATIENTS)
    assert undisturbed[1:4] == (items, items, 0)
    assert undisturbed[-1] == 3
    for after in range(1, MOST_TRANSACTIONS):
        died, outcome = await told(after)
        assert outcome == undisturbed, f"killed after transaction {after}"
        if not died:
            break
    assert not died, "every transaction there is was the last one once"
    assert after > 5
