"""Retiring: what is still needed is named and left, and what is destroyed opens nothing; two persons where asked."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from sqlalchemy import select, update

from keys import halves, keyring
from keys.database import Database
from keys.errors import NoSuchKey
from keys.halves import MasterPlace
from keys.ids import KeyId, parse_patient
from keys.keyring import patient_key_row
from keys.master.local import LocalMaster, create_master_file, load_master_file
from keys.tables import patient_keys, recording_wraps
from tests.catalog.rows import TENANT
from tests.rotation.room import Room
from vault.catalog import key_jobs
from vault.catalog.errors import WrongState
from vault.catalog.key_job_states import ENDED, MOVES, JobState
from vault.catalog.key_jobs import JobId, JobKind, JobRow
from vault.catalog.tables import key_jobs as key_jobs_table
from vault.rotation.approval import DESTROYS, first_state, may_run, require_second
from vault.rotation.errors import SecondNeeded, StillNeeded
from vault.rotation.retire_job import options_of
from vault.rotation.retire_master_job import options_of as options_of_master
from vault.rotation.retire_master_job import require_unneeded

WEEK = dt.timedelta(days=7)
S = JobState


async def errors_of(room: Room, job: JobId) -> list[tuple[str, str]]:
    async with room.catalog.reading() as connection:
        return [(each.item, each.code) for each in await key_jobs.errors_of(connection, job, limit=99)]


async def all_keys(room: Room, name: str) -> list[tuple[KeyId, str, bytes]]:
    question = select(patient_keys).where(patient_keys.c.patient == name).order_by(patient_keys.c.generation)
    async with room.catalog.reading() as connection:
        rows = (await connection.execute(question)).mappings().all()
    return [(KeyId(row["key_id"]), row["state"], row["wrapped_half"]) for row in rows]


async def ended(room: Room, job: JobId) -> JobRow:
    await room.work()
    return await room.job(job)


async def rotated(room: Room, *names: str) -> None:
    """Patients with a recording, whose first key drains."""
    for name in names:
        await room.patient(name, recordings=1)
    assert (await ended(room, await room.ask(JobKind.PATIENT))).state is S.DONE


async def test_a_key_is_destroyed_after_its_soak_and_not_before(room: Room) -> None:
    await rotated(room, "ann", "ben")
    room.at += WEEK - dt.timedelta(minutes=1)
    early = await ended(room, await room.ask(JobKind.RETIRE, options=options_of(WEEK)))
    assert (early.state, early.total, early.done) == (S.DONE, 0, 0)
    assert await room.states("ann") == ["draining", "active"]
    room.at += dt.timedelta(minutes=2)
    job = await ended(room, await room.ask(JobKind.RETIRE, options=options_of(WEEK)))
    assert (job.state, job.total, job.done, job.failed) == (S.DONE, 2, 2, 0)
    for name in ("ann", "ben"):
        (old, state, half), (_, other, kept) = await all_keys(room, name)
        assert (state, half, other, bool(kept)) == ("retired", b"", "active", True)
        told = [
            each for each in room.audited() if each["action"] == "key.retire" and each["key_id"] == str(old)
        ]
        assert [each["decision"] for each in told] == ["allow"]
    await room.session("ann", ttl=WEEK)
    assert await room.everything_opens() == 1


async def test_a_key_that_seals_one_recording_is_named_and_left(room: Room) -> None:
    await rotated(room, "ann", "ben")
    (old, _, half), _ = await all_keys(room, "ann")
    recording = (await room._recordings(parse_patient("ann")))[0][0]
    async with room.catalog.writing() as connection:
        [was] = (
            await connection.execute(
                update(recording_wraps)
                .where(recording_wraps.c.recording_id == recording)
                .values(patient_key_id=old)
                .returning(recording_wraps.c.generation)
            )
        ).scalars()
    assert was == 2
    room.at += 2 * WEEK
    job = await room.ask(JobKind.RETIRE, options=options_of(WEEK))
    found = await ended(room, job)
    assert (found.state, found.total, found.done, found.failed) == (S.INCOMPLETE, 2, 1, 1)
    assert await errors_of(room, job) == [(str(old), "STILL_SEALS")]
    assert (await all_keys(room, "ann"))[0] == (old, "draining", half)


async def test_a_key_that_a_live_session_carries_is_left(room: Room) -> None:
    await room.patient("ann", recordings=1)
    async with room.catalog.reading() as connection:
        [first_row] = await keyring.generations(connection, TENANT, parse_patient("ann"))
    prepared = await room.strongroom.successor(first_row, now=room.at + dt.timedelta(seconds=1))
    async with room.catalog.writing() as connection:
        await keyring.add_generation(connection, prepared)
    await room.session("ann", ttl=dt.timedelta(hours=12))
    assert len(room.sessions[0][2]) == 2
    assert (await ended(room, await room.ask(JobKind.PATIENT))).state is S.DONE
    assert await room.states("ann") == ["draining", "active"]
    room.at += dt.timedelta(hours=11)
    hour = options_of(dt.timedelta(hours=1))
    first = await room.ask(JobKind.RETIRE, options=hour)
    assert (await ended(room, first)).failed == 1
    assert [code for _, code in await errors_of(room, first)] == ["STILL_CARRIED"]
    assert await room.everything_opens() == 1
    room.at += dt.timedelta(hours=2)
    again = await ended(room, await room.ask(JobKind.RETIRE, options=hour))
    assert (again.done, again.failed) == (1, 0)


@pytest.fixture
async def kept(catalog: Database, shares: Database, tmp_path: Path) -> Room:
    """A room whose master key stands in a file."""
    create_master_file(tmp_path / "master.key")
    return await Room.open(
        catalog, shares, tmp_path / "audit", master=load_master_file(tmp_path / "master.key")
    )


def place_of(room: Room, version: int) -> MasterPlace:
    return MasterPlace("local", room.strongroom.master.key_name, version)


async def state_of(room: Room) -> list[tuple[int, bool]]:
    return [(each.number, each.is_retired) for each in await room.strongroom.master.versions()]


async def rewrapped(room: Room) -> None:
    """A second version, and everything under it."""
    await room.patient("ann", recordings=1)
    await room.patient("ben", recordings=1)
    assert (await ended(room, await room.ask(JobKind.MASTER, base_version=1))).state is S.DONE


async def test_a_version_with_one_half_left_is_refused_and_the_half_named(kept: Room) -> None:
    await rewrapped(kept)
    async with kept.catalog.writing() as connection:
        [left] = await connection.scalars(
            update(patient_keys)
            .where(patient_keys.c.patient == "ben")
            .values(master_version=1)
            .returning(patient_keys.c.key_id)
        )
    with pytest.raises(StillNeeded, match=f"^1 patient keys .*{left}"):
        await require_unneeded(kept.catalog, place_of(kept, 1))
    job = await kept.ask(JobKind.RETIRE_MASTER, options=options_of_master(place_of(kept, 1), WEEK))
    found = await ended(kept, job)
    assert (found.state, found.done, found.failed) == (S.INCOMPLETE, 0, 1)
    assert await errors_of(kept, job) == [(str(left), "STILL_UNDER_IT")]
    assert await state_of(kept) == [(1, False), (2, False)]
    assert not [each for each in kept.audited() if each["action"].startswith("master.ret")]
    await kept.audit.aclose()


async def test_a_version_soaks_and_is_destroyed(kept: Room) -> None:
    await rewrapped(kept)
    job = await kept.ask(JobKind.RETIRE_MASTER, options=options_of_master(place_of(kept, 1), WEEK))
    waits = await ended(kept, job)
    assert (waits.state, waits.total, waits.done) == (S.QUEUED, 1, 0)
    assert waits.note is not None
    assert "--undo" in waits.note
    assert await state_of(kept) == [(1, True), (2, False)]
    kept.at += WEEK - dt.timedelta(minutes=1)
    assert (await ended(kept, job)).state is S.QUEUED
    assert await state_of(kept) == [(1, True), (2, False)]
    kept.at += dt.timedelta(minutes=2)
    done = await ended(kept, job)
    assert (done.state, done.done) == (S.DONE, 1)
    assert await state_of(kept) == [(2, False)]
    await kept.session("ann", ttl=WEEK)
    assert await kept.everything_opens() == 1
    actions = [each["action"] for each in kept.audited() if each["action"].startswith("master.")]
    assert actions == ["master.rotate", "master.retire", "master.trim"]
    await kept.audit.aclose()


async def test_a_half_that_turns_up_late_brings_the_version_back(kept: Room) -> None:
    """As a process leaves it that read the version before a rotation, and stores after it."""
    await kept.patient("ann", recordings=1)
    master = kept.strongroom.master
    assert isinstance(master, LocalMaster)
    async with kept.catalog.reading() as connection:
        row = (await connection.execute(select(patient_keys))).mappings().one()
    early = patient_key_row(row)
    assert (await ended(kept, await kept.ask(JobKind.MASTER, base_version=1))).state is S.DONE
    job = await kept.ask(JobKind.RETIRE_MASTER, options=options_of_master(place_of(kept, 1), WEEK))
    assert (await ended(kept, job)).state is S.QUEUED
    with pytest.raises(NoSuchKey):
        await master.unwrap(early.wrap, context=b"any")
    async with kept.catalog.writing() as connection:
        await connection.execute(update(patient_keys).values(master_version=1, wrapped_half=early.wrap.blob))
    kept.at += dt.timedelta(minutes=2)
    found = await ended(kept, job)
    assert (found.state, found.failed) == (S.INCOMPLETE, 1)
    assert await state_of(kept) == [(1, False), (2, False)]
    await kept.session("ann", ttl=WEEK)
    assert await kept.everything_opens() == 1
    async with kept.catalog.reading() as connection:
        assert await halves.count_up_to(connection, place_of(kept, 1)) == 1
    await kept.audit.aclose()


async def test_what_was_brought_back_is_not_destroyed(kept: Room) -> None:
    await rewrapped(kept)
    job = await kept.ask(JobKind.RETIRE_MASTER, options=options_of_master(place_of(kept, 1), WEEK))
    assert (await ended(kept, job)).state is S.QUEUED
    await kept.strongroom.master.restore(1)
    kept.at += 2 * WEEK
    assert (await ended(kept, job)).state is S.INCOMPLETE
    assert [code for _, code in await errors_of(kept, job)] == ["BROUGHT_BACK"]
    assert await state_of(kept) == [(1, False), (2, False)]
    await kept.audit.aclose()


class TestTwoPersons:
    async def test_a_job_waits_for_somebody_else(self, room: Room) -> None:
        await rotated(room, "ann")
        room.at += 2 * WEEK
        asked = {"options": options_of(WEEK), "requested_by": "operator:ann"}
        job = await room.ask(JobKind.RETIRE, **asked)  # by a command that knew nothing of the rule
        runner = room.runner(two_persons=True)
        assert await runner.once()
        assert (await room.job(job)).state is S.AWAITING
        assert not await runner.once()
        with pytest.raises(WrongState):
            await room.ask(JobKind.RETIRE, **asked)
        async with room.catalog.writing() as connection:
            with pytest.raises(WrongState):
                await key_jobs.approve(connection, job, by="operator:ann", now=room.at)
            await key_jobs.approve(connection, job, by="operator:ben", now=room.at)
        assert await runner.once()
        found = await room.job(job)
        assert (found.state, found.done, found.approved_by) == (S.DONE, 1, "operator:ben")
        assert any("approved by operator:ben" in each["note"] for each in room.audited())

    async def test_a_row_that_was_changed_by_hand_does_not_pass(self, room: Room) -> None:
        await rotated(room, "ann")
        room.at += 2 * WEEK
        job = await room.ask(JobKind.RETIRE, options=options_of(WEEK), requested_by="operator:ann")
        async with room.catalog.writing() as connection:
            await connection.execute(update(key_jobs_table).values(approved_by="operator:ann"))
        assert await room.runner(two_persons=True).once()
        assert (await room.job(job)).state is S.AWAITING
        assert await room.states("ann") == ["draining", "active"]

    def test_the_rule(self) -> None:
        require_second("operator:ann", "operator:ben")
        for asked, approver in (("a", "a"), ("a", None), ("a", ""), ("", "b")):
            with pytest.raises(SecondNeeded):
                require_second(asked, approver)
        for kind in JobKind:
            destroys = kind in DESTROYS
            assert may_run(kind, "a", None, two_persons=True) is not destroys
            assert may_run(kind, "a", None, two_persons=False)
            assert (first_state(kind, two_persons=True) is S.AWAITING) is destroys
            assert first_state(kind, two_persons=False) is S.QUEUED


def test_the_table_of_a_job_s_moves_is_the_one_that_was_decided() -> None:
    """Written down a second time: a move that is added must be meant."""
    assert {(source.value, target.value) for source, targets in MOVES.items() for target in targets} == {
        ("queued", "running"),
        ("queued", "paused"),
        ("queued", "aborted"),
        *(("running", each.value) for each in S),
        ("paused", "queued"),
        ("paused", "aborted"),
        ("incomplete", "queued"),
        ("incomplete", "aborted"),
        ("awaiting", "queued"),
        ("awaiting", "aborted"),
    }
    assert MOVES.keys() == set(S)
    assert {S.DONE, S.ABORTED} <= ENDED
    assert S.AWAITING not in ENDED
