"""What answers a leak: every step in its order, once, whoever is killed in between."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
import uuid
from typing import Any

import pytest

import vault.rotation.answering
from keys.ids import parse_patient
from keys.service_token import ServiceScope, hash_service_token, new_service_token
from tests.catalog.rows import TENANT
from tests.rotation.room import Room
from vault.catalog import compromises, key_jobs, recordings, registry, service_tokens
from vault.catalog.compromises import Compromise, CompromiseId, Leak
from vault.catalog.errors import WrongState
from vault.catalog.key_job_states import JobState
from vault.catalog.key_jobs import JobKind
from vault.catalog.service_tokens import ServiceTokenRow
from vault.rotation.answering import Answering, standings
from vault.rotation.answers import JOBS, Verb, steps_for


def leak_of(kind: Leak, room: Room | None = None, **narrowed: object) -> Compromise:
    given: dict[str, object] = {
        "compromise_id": CompromiseId(uuid.uuid4()),
        "leak": kind,
        "reason": "a test",
        "declared_by": "operator",
        "declared_at": Room.at if room is None else room.at,
    }
    return Compromise(**(given | narrowed))  # type: ignore[arg-type]


async def patient_s(room: Room) -> Compromise:
    """Ann's key leaked."""
    declared = leak_of(Leak.PATIENT, room, tenant=TENANT, patient=parse_patient("ann"))
    async with room.catalog.writing() as connection:
        await compromises.declare(connection, declared)
    return declared


@pytest.mark.parametrize("kind", Leak, ids=lambda each: each.value)
def test_the_order(kind: Leak) -> None:
    verbs = [step.verb for step in steps_for(leak_of(kind))]
    assert len(set(verbs)) == len(verbs)
    assert verbs[-1] is Verb.REVIEW
    assert all(step.against and step.command for step in steps_for(leak_of(kind)))

    def comes_before(first: Verb, second: Verb) -> bool:
        return first not in verbs or second not in verbs or verbs.index(first) < verbs.index(second)

    assert comes_before(Verb.ROTATE_MASTER, Verb.ROTATE_PATIENTS)
    assert comes_before(
        Verb.ROTATE_PATIENTS, Verb.REENCRYPT
    )  # else, the new keys stand under the one that leaked
    assert comes_before(Verb.REENCRYPT, Verb.RETIRE)
    assert comes_before(Verb.REPLACE_TIER, Verb.END_SESSIONS)
    assert comes_before(Verb.REVOKE_TOKEN, Verb.END_SESSIONS)  # else, it opens new ones
    assert comes_before(Verb.END_SESSIONS, Verb.ROTATE_PATIENTS)


async def test_each_step_once_whoever_is_killed(room: Room) -> None:
    """Every call is another process's: what it began stands in the catalog."""
    await room.patient("ann", recordings=0)
    await room.session("ann", ttl=dt.timedelta(hours=1))
    film = await room.publish("ann")
    await room.patient("ben", recordings=1)
    before = await room.row(film)
    plain = await room.plain(film)
    declared = await patient_s(room)
    for _ in range(20):
        room.at += key_jobs.LEASE
        standing = await Answering(room.catalog, room.audit, room.clock, "operator:test").begin_next(declared)
        if standing is None:
            break
        again = await Answering(room.catalog, room.audit, room.clock, "operator:test").begin_next(declared)
        if standing.job is not None:
            assert again is not None
            assert again.job is not None
            assert again.job.job_id == standing.job.job_id
        while await room.runner().once():
            pass
    async with room.catalog.reading() as connection:
        every = await key_jobs.latest(connection, limit=10)
        epoch = await recordings.patient_epoch(connection, TENANT, parse_patient("ann"))
        alive = await registry.alive(connection, TENANT, patient=None, now=room.at, limit=10)
        found = await compromises.find(connection, declared.compromise_id)
    assert sorted(job.kind.value for job in every) == ["patient", "reencrypt"]
    assert {(job.state, job.patient) for job in every} == {(JobState.DONE, "ann")}
    assert (epoch, alive) == (None, ())
    assert found.answered_at is not None
    assert await room.states("ann") == ["draining", "active"]
    assert await room.states("ben") == ["active"]
    assert await room.plain(film) == plain
    assert (await room.row(film)).key_id != before.key_id
    told = [each["note"].rsplit(": ", 1)[1] for each in room.audited() if each["action"] == "compromise.step"]
    assert told == ["end-sessions", "rotate-patients", "reencrypt"]


async def test_two_who_saw_the_same_step_due_begin_it_once(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    await room.patient("ann", recordings=1)
    declared = await patient_s(room)
    both, do = asyncio.Barrier(2), Answering._do

    async def seen_by_both(*given: Any) -> Any:
        found = await standings(*given)
        await both.wait()
        return found

    async def slowly(*given: Any) -> Any:
        await asyncio.sleep(0.3)  # the other one's turn, if nothing keeps it away
        return await do(*given)

    monkeypatch.setattr(vault.rotation.answering, "standings", seen_by_both)
    monkeypatch.setattr(Answering, "_do", slowly)
    for verb in (Verb.END_SESSIONS, Verb.ROTATE_PATIENTS):
        each = [Answering(room.catalog, room.audit, room.clock, "operator:test") for _ in range(2)]
        first, second = await asyncio.gather(*[one.begin_next(declared) for one in each])
        assert first is not None
        assert second is not None
        assert first.step.verb is second.step.verb is verb
        assert (first.job is None) is (second.job is None) is (verb not in JOBS)
        if first.job is not None and second.job is not None:
            assert first.job.job_id == second.job.job_id
    told = [each["note"].rsplit(": ", 1)[1] for each in room.audited() if each["action"] == "compromise.step"]
    assert told == ["end-sessions", "rotate-patients"]


@pytest.mark.parametrize("is_revoked", [False, True], ids=["standing", "revoked before"])
async def test_a_backend_s_token_leaked(room: Room, *, is_revoked: bool) -> None:
    await room.patient("ann", recordings=0)
    await room.session("ann", ttl=dt.timedelta(hours=1))
    token, declared = uuid.uuid4(), leak_of(Leak.TOKEN, room, tenant=TENANT)
    declared = dataclasses.replace(declared, token_id=token)
    row = ServiceTokenRow(
        token_id=token,
        tenant=TENANT,
        name="test",
        scopes=frozenset(ServiceScope),
        created_at=room.at,
        expires_at=None,
        revoked_at=None,
    )
    async with room.catalog.writing() as connection:
        await service_tokens.add(connection, row, hash_service_token(new_service_token()))
        if is_revoked:
            await service_tokens.revoke(connection, token, now=room.at)
        await compromises.declare(connection, declared)
    answering = Answering(room.catalog, room.audit, room.clock, "operator:test")
    verbs = []
    while (standing := await answering.begin_next(declared)) is not None:
        verbs.append(standing.step.verb)
    assert verbs == [Verb.REVOKE_TOKEN, Verb.END_SESSIONS]
    async with room.catalog.reading() as connection:
        assert [each.revoked_at for each in await service_tokens.every(connection)] == [room.at]
        assert await registry.alive(connection, TENANT, patient=None, now=room.at, limit=10) == ()


async def test_a_step_that_failed_in_part_stops_the_answer(room: Room) -> None:
    await room.patient("ann", recordings=0)
    await room.publish("ann")
    declared = await patient_s(room)
    answering = Answering(room.catalog, room.audit, room.clock, "operator:test")
    assert (await answering.begin_next(declared)) is not None  # sessions
    standing = await answering.begin_next(declared)
    assert standing is not None
    assert standing.job is not None
    async with room.catalog.writing() as connection:
        claimed = await key_jobs.claim(connection, now=room.at)
        assert claimed is not None
        await key_jobs.fail_item(connection, standing.job.job_id, "clinic/ann", code="X", now=room.at)
        await key_jobs.end(connection, claimed[0], now=room.at)
    for _ in range(2):
        stopped = await answering.begin_next(declared)
        assert stopped is not None
        assert stopped.job is not None
        assert (stopped.job.job_id, stopped.job.state) == (standing.job.job_id, JobState.INCOMPLETE)
    async with room.catalog.writing() as connection:
        await key_jobs.abort(connection, standing.job.job_id, now=room.at)
    fresh = await answering.begin_next(declared)
    assert fresh is not None
    assert fresh.job is not None
    assert (fresh.step.verb, fresh.job.state) == (Verb.ROTATE_PATIENTS, JobState.QUEUED)
    assert fresh.job.job_id != standing.job.job_id


async def test_a_job_that_somebody_else_asked_for_before_is_no_answer(room: Room) -> None:
    await room.patient("ann", recordings=0)
    other = await room.ask(JobKind.PATIENT, tenant=TENANT, patient=parse_patient("ann"))
    declared = await patient_s(room)
    answering = Answering(room.catalog, room.audit, room.clock, "operator:test")
    await answering.begin_next(declared)
    with pytest.raises(WrongState, match="under way"):
        await answering.begin_next(declared)
    async with room.catalog.writing() as connection:
        await key_jobs.abort(connection, other, now=room.at)
    assert (await answering.begin_next(declared)) is not None
    jobs = [each.job for each in await standings(room.catalog, declared) if each.step.verb in JOBS]
    assert [job is not None for job in jobs] == [True, False]
