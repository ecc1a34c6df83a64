"""Rotating patients' keys on real databases: what moves, who waits, what fails; every session opens all along."""

from __future__ import annotations

import asyncio
import datetime as dt

import pytest
from sqlalchemy import delete, update

from keys import keyring
from keys.errors import KeyConflict
from keys.ids import parse_patient
from keys.tables import erasure_shares, recording_wraps
from tests.catalog.rows import TENANT
from tests.rotation.room import Room
from vault.catalog import key_jobs, registry
from vault.catalog.errors import LostClaim, WrongState
from vault.catalog.key_job_states import JobState
from vault.catalog.key_jobs import JobKind

TTL = dt.timedelta(minutes=15)


async def work(room: Room) -> None:
    """Work until no job can be taken, or one only waits for sessions."""
    await asyncio.wait_for(room.runner().once(), 20)


async def until_it_waits(room: Room, job: key_jobs.JobId) -> None:
    """Work until the job waits for sessions to end; the runner is then stopped in the middle, as a crash would."""
    task = asyncio.create_task(room.runner().once())
    async with asyncio.timeout(20):
        while (await room.job(job)).note is None:  # noqa: ASYNC110 - the row is all there is to see
            await asyncio.sleep(0.02)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    room.at += key_jobs.LEASE


async def test_without_sessions_it_goes_through(room: Room) -> None:
    await room.patient("ann", recordings=3)
    await room.patient("ben", recordings=0)
    job = await room.ask(JobKind.PATIENT)
    await work(room)
    done = await room.job(job)
    assert (done.state, done.total, done.done, done.failed) == (JobState.DONE, 2, 2, 0)
    assert await room.states("ann") == await room.states("ben") == ["draining", "active"]
    await room.session("ann", ttl=TTL)
    assert [key.generation for key in room.sessions[-1][2]] == [2]
    assert await room.everything_opens() == 3


async def test_now_ends_sessions_and_waits_for_nobody(room: Room) -> None:
    await room.patient("ann", recordings=3)
    await room.patient("ben", recordings=1)
    for name in ("ann", "ann", "ben"):
        await room.session(name, ttl=TTL)
    job = await room.ask(JobKind.PATIENT, tenant=TENANT, patient=parse_patient("ann"), options={"now": True})
    await work(room)
    done = await room.job(job)
    assert (done.state, done.done, done.failed) == (JobState.DONE, 1, 0)
    assert (await room.states("ann"), await room.states("ben")) == (["draining", "active"], ["active"])
    async with room.catalog.reading() as connection:
        [left] = await registry.alive(connection, TENANT, patient=None, now=room.at, limit=9)
    assert (left.patient, len(room.dropped)) == ("ben", 2)
    del room.sessions[:2]
    await room.session("ann", ttl=TTL)
    assert [key.generation for key in room.sessions[-1][2]] == [2]
    assert await room.everything_opens() == 4
    assert [each["action"] for each in room.audited()].count("session.revoke") == 1


async def test_a_live_session_is_waited_for_and_opens_all_along(room: Room) -> None:
    await room.patient("ann", recordings=3)
    await room.session("ann", ttl=TTL)
    job = await room.ask(JobKind.PATIENT)
    await until_it_waits(room, job)
    assert await room.states("ann") == ["active", "prepared"]
    await room.session("ann", ttl=TTL)
    await room.upload("ann")
    assert [key.generation for key in room.sessions[-1][2]] == [1, 2]
    assert await room.everything_opens() == 2 * 4
    room.at += TTL - dt.timedelta(minutes=2)
    await until_it_waits(room, job)
    room.at = room.sessions[0][1]
    await work(room)
    assert (await room.job(job)).state is JobState.DONE
    assert await room.everything_opens() == 4, "by the session that began while the new key was prepared"


async def test_a_tenant_s_or_one_patient_s(room: Room) -> None:
    for name in ("ann", "ben"):
        await room.patient(name, recordings=1)
    job = await room.ask(JobKind.PATIENT, tenant=TENANT, patient=parse_patient("ben"))
    await work(room)
    assert (await room.job(job)).total == 1
    assert (await room.states("ann"), await room.states("ben")) == (["active"], ["draining", "active"])
    await room.ask(JobKind.PATIENT, tenant="rival")
    await work(room)
    assert await room.states("ann") == ["active"]


async def test_what_does_not_open_is_named_and_stays_in_use(room: Room) -> None:
    damaged, *_ = await room.patient("ann", recordings=2)
    await room.patient("ben", recordings=1)
    async with room.catalog.writing() as connection:
        of_damaged = recording_wraps.c.recording_id == damaged
        whole = await connection.scalar(
            recording_wraps.select().with_only_columns(recording_wraps.c.wrapped).where(of_damaged)
        )
        await connection.execute(update(recording_wraps).where(of_damaged).values(wrapped=b"\1" + bytes(104)))
    job = await room.ask(JobKind.PATIENT)
    await work(room)
    ended = await room.job(job)
    assert (ended.state, ended.total, ended.done, ended.failed) == (JobState.INCOMPLETE, 2, 1, 1)
    assert await room.states("ann") == ["deactivated", "active"]
    async with room.catalog.reading() as connection:
        [error] = await key_jobs.errors_of(connection, job, limit=10)
    assert (error.item, error.code) == (f"{TENANT}/ann", "WRAPS_DO_NOT_OPEN")
    assert [e["recording"] for e in room.audited() if e["reason"] == "KEY_MISMATCH"] == [str(damaged)]
    async with room.catalog.writing() as connection:
        await connection.execute(update(recording_wraps).where(of_damaged).values(wrapped=whole))
        await key_jobs.retry(connection, job, now=room.at)
    await work(room)
    ended = await room.job(job)
    assert (ended.state, ended.done, ended.failed) == (JobState.DONE, 2, 0)
    assert await room.states("ann") == ["draining", "active"]


async def test_an_erased_patient_is_passed_over_and_not_brought_back(room: Room) -> None:
    for name in ("ann", "ben"):
        await room.patient(name, recordings=1)
    async with room.strongroom.shares.database.writing() as connection:
        await connection.execute(delete(erasure_shares).where(erasure_shares.c.patient == "ann"))
    job = await room.ask(JobKind.PATIENT)
    await work(room)
    ended = await room.job(job)
    assert (ended.state, ended.done, ended.skipped, ended.failed) == (JobState.DONE, 1, 1, 0)
    assert await room.states("ann") == ["active"]
    assert await room.strongroom.shares.find(TENANT, parse_patient("ann")) is None


async def test_each_change_is_on_the_audit_log_before_it_holds(room: Room) -> None:
    await room.patient("ann", recordings=1)
    job = await room.ask(JobKind.PATIENT)
    await work(room)
    words = [entry["action"] for entry in room.audited() if entry["action"].startswith("key.")]
    assert words == ["key.job", "key.prepare", "key.activate", "key.drain", "key.job"]
    pseudonym = await room.strongroom.pseudonym(TENANT, parse_patient("ann"))
    assert {entry["patient"] for entry in room.audited() if entry["key_id"]} == {pseudonym}
    assert "ann" not in str(room.audited())
    assert str(job) in room.audited()[-1]["note"]


async def test_a_session_that_was_being_minted_looks_again(room: Room) -> None:
    """It read the keys, a rotation made the next one, and then it would be registered without it."""
    await room.patient("ann", recordings=1)
    before = await room.strongroom.open(TENANT, parse_patient("ann"))
    await room.ask(JobKind.PATIENT)
    await work(room)
    async with room.catalog.writing() as connection:
        rows = await keyring.hold(connection, TENANT, parse_patient("ann"))
        with pytest.raises(KeyConflict):
            before.require_unchanged(rows)
    opened = await room.strongroom.open(TENANT, parse_patient("ann"))
    async with room.catalog.writing() as connection:
        opened.require_unchanged(await keyring.hold(connection, TENANT, parse_patient("ann")))


async def test_two_runners_do_it_once(room: Room) -> None:
    for number in range(10):
        await room.patient(f"patient-{number}", recordings=2)
    job = await room.ask(JobKind.PATIENT)
    await asyncio.gather(*(room.runner().once() for _ in range(3)))
    ended = await room.job(job)
    assert (ended.state, ended.done) == (JobState.DONE, 10)
    for number in range(10):
        assert await room.states(f"patient-{number}") == ["draining", "active"]


async def test_a_stale_runner_is_refused(room: Room) -> None:
    job = await room.ask(JobKind.PATIENT)
    async with room.catalog.writing() as connection:
        claimed = await key_jobs.claim(connection, now=room.at)
        assert claimed is not None
        assert await key_jobs.claim(connection, now=room.at) is None
    room.at += key_jobs.LEASE
    async with room.catalog.writing() as connection:
        again = await key_jobs.claim(connection, now=room.at)
        assert again is not None
        with pytest.raises(LostClaim):
            await key_jobs.report(connection, claimed[0], now=room.at, done=1)
        await key_jobs.report(connection, again[0], now=room.at, done=1)
    assert (await room.job(job)).done == 1


async def test_a_job_can_be_paused_resumed_and_aborted(room: Room) -> None:
    await room.patient("ann", recordings=1)
    await room.session("ann", ttl=TTL)
    job = await room.ask(JobKind.PATIENT)
    runner = asyncio.create_task(room.runner().once())
    async with asyncio.timeout(20):
        while (await room.job(job)).note is None:  # noqa: ASYNC110 - the row is all there is to see
            await asyncio.sleep(0.02)
    async with room.catalog.writing() as connection:
        await key_jobs.pause(connection, job)
    assert await asyncio.wait_for(runner, 20)
    assert not await room.runner().once()
    async with room.catalog.writing() as connection:
        with pytest.raises(WrongState):
            await key_jobs.retry(connection, job, now=room.at)
        await key_jobs.resume(connection, job, now=room.at)
    room.at = room.sessions[0][1]
    await work(room)
    assert (await room.job(job)).state is JobState.DONE
    async with room.catalog.writing() as connection:
        with pytest.raises(WrongState):
            await key_jobs.abort(connection, job, now=room.at)


async def test_one_job_of_a_kind_and_scope_at_a_time(room: Room) -> None:
    await room.ask(JobKind.PATIENT)
    with pytest.raises(WrongState):
        await room.ask(JobKind.PATIENT)
    await room.ask(JobKind.PATIENT, tenant=TENANT)


async def test_outside_its_hours_it_waits(room: Room) -> None:
    await room.patient("ann", recordings=1)
    job = await room.ask(JobKind.PATIENT, hours="22:00-06:00")
    await work(room)
    waits = await room.job(job)
    assert (waits.state, waits.note) == (JobState.QUEUED, "waits for its hours, 22:00-06:00 UTC")
    assert not await room.runner().once()
    room.at = room.at.replace(hour=22, minute=0)
    await work(room)
    assert (await room.job(job)).state is JobState.DONE


async def test_it_keeps_to_its_rate(room: Room) -> None:
    for number in range(25):
        await room.patient(f"patient-{number}", recordings=0)
    await room.ask(JobKind.PATIENT, rate_per_s=20.0)
    loop = asyncio.get_running_loop()
    begun = loop.time()
    await work(room)
    assert loop.time() - begun >= 1.0, "20 in the first turn and 5 in the second, at 20 a second"
