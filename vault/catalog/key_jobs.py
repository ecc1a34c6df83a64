"""Key jobs as rows: what was asked for, who works on it, how far it is, and which items failed.

Every function takes the connection, and so the transaction, of its caller.

Invariants:
- every change of state is a compare-and-swap against `key_job_states.MOVES`;
- a runner works on a job while it holds it: each report is a compare-and-swap on the run's id and on RUNNING, so a
  stale runner, and one whose job was paused, learn it before their next step;
- what is counted as done is counted in the transaction that did it.
"""

from __future__ import annotations

import datetime as dt
import enum
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NewType

from sqlalchemy import ColumnElement, Label, and_, delete, exists, func, insert, select, true, update
from sqlalchemy.ext.asyncio import AsyncConnection

from keys.ids import PatientRef, RecordingId, TenantId
from vault.catalog.errors import LostClaim, UnknownJob, WrongState
from vault.catalog.key_job_states import ENDED, JobState, sources_of
from vault.catalog.tables import key_job_errors, key_jobs

JobId = NewType("JobId", uuid.UUID)

LEASE: Final = dt.timedelta(seconds=30)


class JobKind(enum.Enum):
    """What a job does."""

    PATIENT = "patient"  # a new generation of patient keys
    MASTER = "master"  # a new version of the master key, and patient keys under it
    REWRAP = "rewrap"  # patient keys under the master key's current version
    RETIRE = "retire"  # patient keys that drained are destroyed
    RETIRE_MASTER = "retire-master"  # old versions of the master key, out of use and then destroyed
    REENCRYPT = "reencrypt"  # a new key for recordings, and all of their objects under it


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRow:
    """One job. `tenant`, `patient` and `recording_id` narrow it; `hours` is a part of the day in UTC, `22:00-06:00`.

    `options` is what else its kind takes, plain values only.
    """

    job_id: JobId
    kind: JobKind
    state: JobState
    tenant: TenantId | None
    patient: PatientRef | None
    base_version: int | None
    requested_by: str
    requested_at: dt.datetime
    recording_id: RecordingId | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    approved_by: str | None = None
    started_at: dt.datetime | None = None
    ended_at: dt.datetime | None = None
    total: int | None = None
    done: int = 0
    failed: int = 0
    skipped: int = 0
    cursor: str | None = None
    rate_per_s: float | None = None
    hours: str | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True)
class JobError:
    """An item that failed; the code is stable."""

    item: str
    code: str
    at: dt.datetime


@dataclass(frozen=True, slots=True)
class JobClaim:
    """A runner's hold on a job."""

    job_id: JobId
    run_id: uuid.UUID


# Nothing of an erased patient is left to be rotated: passing over one is no failure.
SKIPPED: Final = "PATIENT_ERASED"


_UNDER_WAY: Final = tuple(state.value for state in JobState if state not in ENDED)


def _count_items(condition: ColumnElement[bool], name: str) -> Label[int]:
    count = select(func.count()).select_from(key_job_errors)
    return count.where(key_job_errors.c.job_id == key_jobs.c.id, condition).scalar_subquery().label(name)


_COUNTS: Final = (
    _count_items(key_job_errors.c.code != SKIPPED, "failed"),
    _count_items(key_job_errors.c.code == SKIPPED, "skipped"),
)


async def ask(connection: AsyncConnection, job: JobRow) -> None:
    """Write down a job, QUEUED or AWAITING; raises `WrongState` while another one of its kind and scope goes on."""
    same = exists().where(
        key_jobs.c.kind == job.kind.value,
        key_jobs.c.tenant.is_not_distinct_from(job.tenant),
        key_jobs.c.patient.is_not_distinct_from(job.patient),
        key_jobs.c.recording_id.is_not_distinct_from(job.recording_id),
        key_jobs.c.state.in_(_UNDER_WAY),
    )
    if await connection.scalar(select(same)):
        raise WrongState("such a job is under way already: `replayvault jobs ls` shows it")
    await connection.execute(
        insert(key_jobs).values(
            id=job.job_id,
            kind=job.kind.value,
            state=job.state.value,
            tenant=job.tenant,
            patient=job.patient,
            recording_id=job.recording_id,
            options=json.dumps(dict(job.options)) if job.options else None,
            base_version=job.base_version,
            requested_by=job.requested_by,
            requested_at=job.requested_at,
            done=0,
            rate_per_s=job.rate_per_s,
            hours=job.hours,
            free_at=job.requested_at,
        ),
    )


async def find(connection: AsyncConnection, job_id: JobId) -> JobRow:
    """One job; raises `UnknownJob`."""
    question = select(key_jobs, *_COUNTS).where(key_jobs.c.id == job_id)
    row = (await connection.execute(question)).mappings().one_or_none()
    if row is None:
        raise UnknownJob("no such job: `replayvault jobs ls` shows those there are")
    return _job(row)


async def unended(connection: AsyncConnection, kind: JobKind) -> tuple[JobId, ...]:
    """Jobs of a kind that have not ended."""
    question = select(key_jobs.c.id).where(key_jobs.c.kind == kind.value, key_jobs.c.state.in_(_UNDER_WAY))
    return tuple(JobId(each) for each in await connection.scalars(question))


async def latest(
    connection: AsyncConnection, *, limit: int, tenant: TenantId | None = None
) -> tuple[JobRow, ...]:
    """Jobs, of one tenant or all of them, the latest request first."""
    question = select(key_jobs, *_COUNTS).order_by(key_jobs.c.requested_at.desc(), key_jobs.c.id).limit(limit)
    if tenant is not None:
        question = question.where(key_jobs.c.tenant == tenant)
    return tuple(_job(row) for row in (await connection.execute(question)).mappings())


async def errors_of(connection: AsyncConnection, job_id: JobId, *, limit: int) -> tuple[JobError, ...]:
    """Items that failed, in the order of their names."""
    question = (
        select(key_job_errors)
        .where(key_job_errors.c.job_id == job_id)
        .order_by(key_job_errors.c.item)
        .limit(limit)
    )
    return tuple(JobError(row.item, row.code, row.at) for row in await connection.execute(question))


async def claim(
    connection: AsyncConnection, *, now: dt.datetime, only: JobId | None = None
) -> tuple[JobClaim, JobRow] | None:
    """Take the job that has waited longest and that nobody holds; None where there is none."""
    free = and_(
        key_jobs.c.state.in_((JobState.QUEUED.value, JobState.RUNNING.value)), key_jobs.c.free_at <= now
    )
    question = select(key_jobs.c.id).where(free).order_by(key_jobs.c.free_at).limit(1)
    if only is not None:
        question = question.where(key_jobs.c.id == only)
    job_id: uuid.UUID | None = await connection.scalar(question.with_for_update(skip_locked=True))
    if job_id is None:
        return None
    claimed = JobClaim(JobId(job_id), uuid.uuid4())
    values = {
        "state": JobState.RUNNING.value,
        "run_id": claimed.run_id,
        "free_at": now + LEASE,
        "started_at": func.coalesce(key_jobs.c.started_at, now),
    }
    await connection.execute(update(key_jobs).where(key_jobs.c.id == job_id, free).values(values))
    return claimed, await find(connection, claimed.job_id)


async def others_wait(connection: AsyncConnection, held: JobClaim, *, now: dt.datetime) -> bool:
    """Whether another job could be claimed now."""
    waiting = exists().where(
        key_jobs.c.state.in_((JobState.QUEUED.value, JobState.RUNNING.value)),
        key_jobs.c.free_at <= now,
        key_jobs.c.id != held.job_id,
    )
    return bool(await connection.scalar(select(waiting)))


async def count_under_way(connection: AsyncConnection, tenant: TenantId) -> int:
    """How many of a tenant's jobs are queued, running or paused."""
    question = select(func.count()).where(
        key_jobs.c.tenant == tenant,
        key_jobs.c.state.in_(_UNDER_WAY),
    )
    return int(await connection.scalar(question) or 0)


async def report(
    connection: AsyncConnection, held: JobClaim, *, now: dt.datetime, done: int = 0, **changes: Any
) -> None:
    """Say that the runner lives, how much more is done, and what else changed; raises `LostClaim`."""
    await _held(connection, held, free_at=now + LEASE, done=key_jobs.c.done + done, **changes)


async def hand_back(
    connection: AsyncConnection, held: JobClaim, *, free_at: dt.datetime, note: str | None, **changes: Any
) -> None:
    """Give a job up for any runner from `free_at` on; raises `LostClaim`."""
    await _held(
        connection, held, state=JobState.QUEUED.value, run_id=None, free_at=free_at, note=note, **changes
    )


async def await_approval(connection: AsyncConnection, held: JobClaim, *, note: str) -> None:
    """RUNNING → AWAITING; raises `LostClaim`."""
    await _held(connection, held, state=JobState.AWAITING.value, run_id=None, note=note)


async def approve(connection: AsyncConnection, job_id: JobId, *, by: str, now: dt.datetime) -> None:
    """AWAITING → QUEUED, by whoever is named; raises `UnknownJob` or `WrongState`, also where `by` asked for it."""
    await _move(
        connection,
        job_id,
        JobState.QUEUED,
        allowed=(JobState.AWAITING,),
        only=key_jobs.c.requested_by != by,
        approved_by=by,
        free_at=now,
        note=None,
    )


async def end(connection: AsyncConnection, held: JobClaim, *, now: dt.datetime) -> JobState:
    """The job came to its end: DONE, or INCOMPLETE where items failed; raises `LostClaim`."""
    failed = await connection.scalar(
        select(func.count())
        .select_from(key_job_errors)
        .where(key_job_errors.c.job_id == held.job_id, key_job_errors.c.code != SKIPPED)
    )
    state = JobState.INCOMPLETE if failed else JobState.DONE
    await _held(connection, held, state=state.value, run_id=None, ended_at=now, note=None)
    return state


async def fail_item(
    connection: AsyncConnection, job_id: JobId, item: str, *, code: str, now: dt.datetime
) -> None:
    """Name an item that failed, once for each item."""
    where = and_(key_job_errors.c.job_id == job_id, key_job_errors.c.item == item)
    changed = await connection.execute(
        update(key_job_errors).where(where).values(code=code, at=now).returning(key_job_errors.c.item)
    )
    if changed.one_or_none() is None:
        await connection.execute(insert(key_job_errors).values(job_id=job_id, item=item, code=code, at=now))


async def pause(connection: AsyncConnection, job_id: JobId) -> None:
    """Stop a job until it is resumed; raises `UnknownJob` or `WrongState`."""
    await _move(connection, job_id, JobState.PAUSED, run_id=None)


async def abort(connection: AsyncConnection, job_id: JobId, *, now: dt.datetime) -> None:
    """End a job where it stands; raises `UnknownJob` or `WrongState`."""
    await _move(connection, job_id, JobState.ABORTED, run_id=None, ended_at=now)


async def resume(connection: AsyncConnection, job_id: JobId, *, now: dt.datetime) -> None:
    """PAUSED → QUEUED; raises `UnknownJob` or `WrongState`."""
    await _move(connection, job_id, JobState.QUEUED, allowed=(JobState.PAUSED,), free_at=now)


async def retry(connection: AsyncConnection, job_id: JobId, *, now: dt.datetime) -> None:
    """INCOMPLETE → QUEUED, what failed forgotten and tried again; raises `UnknownJob` or `WrongState`."""
    await _move(
        connection,
        job_id,
        JobState.QUEUED,
        allowed=(JobState.INCOMPLETE,),
        free_at=now,
        ended_at=None,
        cursor=None,
    )
    await connection.execute(delete(key_job_errors).where(key_job_errors.c.job_id == job_id))


async def _held(connection: AsyncConnection, held: JobClaim, **values: Any) -> None:
    change = (
        update(key_jobs)
        .where(
            key_jobs.c.id == held.job_id,
            key_jobs.c.run_id == held.run_id,
            key_jobs.c.state == JobState.RUNNING.value,
        )
        .values(**values)
        .returning(key_jobs.c.id)
    )
    if (await connection.execute(change)).one_or_none() is None:
        raise LostClaim("the job was paused or aborted, or another runner holds it")


async def _move(
    connection: AsyncConnection,
    job_id: JobId,
    target: JobState,
    *,
    allowed: tuple[JobState, ...] = (),
    only: ColumnElement[bool] | None = None,
    **values: Any,
) -> None:
    sources: tuple[str, ...] = tuple(state.value for state in allowed) or sources_of(target)
    change = (
        update(key_jobs)
        .where(key_jobs.c.id == job_id, key_jobs.c.state.in_(sources), true() if only is None else only)
        .values(state=target.value, **values)
        .returning(key_jobs.c.id)
    )
    if (await connection.execute(change)).one_or_none() is None:
        found = await find(connection, job_id)
        raise WrongState(f"the job is {found.state.value} and cannot become {target.value}")


def _job(row: Mapping[Any, Any]) -> JobRow:
    return JobRow(
        job_id=JobId(row["id"]),
        kind=JobKind(row["kind"]),
        state=JobState(row["state"]),
        tenant=None if row["tenant"] is None else TenantId(row["tenant"]),
        patient=None if row["patient"] is None else PatientRef(row["patient"]),
        base_version=row["base_version"],
        requested_by=row["requested_by"],
        requested_at=row["requested_at"],
        recording_id=None if row["recording_id"] is None else RecordingId(row["recording_id"]),
        options=json.loads(row["options"] or "{}"),
        approved_by=row["approved_by"],
        started_at=row["started_at"],
        ended_at=row["ended_at"],
        total=row["total"],
        done=row["done"],
        failed=row["failed"],
        skipped=row["skipped"],
        cursor=row["cursor"],
        rate_per_s=row["rate_per_s"],
        hours=row["hours"],
        note=row["note"],
    )
