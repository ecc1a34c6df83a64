"""Jobs take turns: one that waits, or is slow, holds up no other, and keeps its lease and its place."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt

import pytest

from keys.ids import parse_patient
from tests.catalog.rows import TENANT
from tests.rotation.room import Room
from vault.catalog.key_job_states import JobState
from vault.catalog.key_jobs import JobKind
from vault.rotation import runner as rotation_runner


async def test_a_job_that_waits_holds_up_no_other(room: Room) -> None:
    for name in ("ann", "ben"):
        await room.patient(name, recordings=2)
    await room.session("ann", ttl=dt.timedelta(hours=1))
    waiting = await room.ask(JobKind.PATIENT, tenant=TENANT, patient=parse_patient("ann"))
    other = await room.ask(JobKind.PATIENT, tenant=TENANT, patient=parse_patient("ben"))
    runner = dataclasses.replace(room.runner(), slice_s=0.0)
    async with asyncio.timeout(10):
        await runner.once()
        job = await room.job(waiting)
        assert (job.state, job.done) == (JobState.QUEUED, 0)
        assert job.note is not None or job.cursor is not None
        room.at += dt.timedelta(seconds=1)
        for _ in range(3):
            await runner.once()
            if (await room.job(other)).state is JobState.DONE:
                break
    assert await room.states("ben") == ["draining", "active"]
    room.at += dt.timedelta(hours=1)
    async with asyncio.timeout(10):
        while (await room.job(waiting)).state is not JobState.DONE:
            await runner.once()
    assert await room.states("ann") == ["draining", "active"]
    assert (await room.job(waiting)).done == 1


async def test_a_lone_job_goes_on_after_its_slice(room: Room) -> None:
    await room.patient("ann", recordings=1)
    job = await room.ask(JobKind.PATIENT)
    await dataclasses.replace(room.runner(), slice_s=0.0).once()
    assert (await room.job(job)).state is JobState.DONE


async def test_a_long_rest_renews_the_lease(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow pace must not look like a runner that is gone: another one would take the job up beside it."""
    monkeypatch.setattr(rotation_runner, "_NAP_S", 0.05)
    for name in ("ann", "ben"):
        await room.patient(name, recordings=1)
    job = await room.ask(JobKind.PATIENT, rate_per_s=1.0)
    first, second = room.runner(), room.runner()
    working = asyncio.create_task(first.once())
    for _ in range(20):
        await asyncio.sleep(0.1)
        room.at += dt.timedelta(seconds=20)
        await asyncio.sleep(0.1)  # several naps: the lease begins anew
        if working.done():
            break
        assert not await second.once()
    await working
    assert (await room.job(job)).state is JobState.DONE
