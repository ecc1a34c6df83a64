"""Work that is owed. The catalog is the truth; the queue in Redis only wakes workers up.

Every function takes the connection, and so the transaction, of its caller.

Invariants:
- a job belongs to the run whose id it carries, until its lease ends; each step of a run checks that it still does;
- whatever is past `free_at` is owed to anyone: after a crash, an emptied queue or a failure that may pass;
- a job ends with its row, and with it the handover that opens the recording.
"""

from __future__ import annotations

import datetime as dt
import uuid
from dataclasses import dataclass
from typing import Final, NewType

from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from keys.ids import RecordingId
from vault.catalog.errors import LostClaim
from vault.catalog.tables import jobs

RunId = NewType("RunId", uuid.UUID)

# A worker renews its lease three times in this span; a killed one loses the job after it.
LEASE: Final = dt.timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Claim:
    """One run's hold on a job."""

    recording_id: RecordingId
    run_id: RunId
    handover: bytes
    attempt: int


async def owe(
    connection: AsyncConnection, recording_id: RecordingId, handover: bytes, *, now: dt.datetime
) -> None:
    """Make a job durable."""
    await connection.execute(
        insert(jobs).values(
            recording_id=recording_id,
            handover=handover,
            attempts=0,
            free_at=now,
            created_at=now,
        ),
    )


@dataclass(frozen=True, slots=True)
class Owed:
    """A job that nobody holds, and how often it was begun."""

    recording_id: RecordingId
    attempts: int


async def owed(connection: AsyncConnection, *, now: dt.datetime, limit: int) -> tuple[Owed, ...]:
    """Jobs that nobody holds, the longest waiting first."""
    question = (
        select(jobs.c.recording_id, jobs.c.attempts)
        .where(jobs.c.free_at <= now)
        .order_by(jobs.c.free_at)
        .limit(limit)
    )
    rows = await connection.execute(question)
    return tuple(Owed(RecordingId(row.recording_id), row.attempts) for row in rows)


async def claim(connection: AsyncConnection, recording_id: RecordingId, *, now: dt.datetime) -> Claim | None:
    """Take a job that nobody holds; None where another run has it or it is done."""
    run_id = RunId(uuid.uuid4())
    change = (
        update(jobs)
        .where(jobs.c.recording_id == recording_id, jobs.c.free_at <= now)
        .values(run_id=run_id, free_at=now + LEASE, attempts=jobs.c.attempts + 1, progress=None)
        .returning(jobs.c.handover, jobs.c.attempts)
    )
    row = (await connection.execute(change)).one_or_none()
    return None if row is None else Claim(recording_id, run_id, row.handover, row.attempts)


async def renew(
    connection: AsyncConnection, claim: Claim, *, progress: float | None, now: dt.datetime
) -> None:
    """Extend the lease and tell the progress (0 to 1); raises `LostClaim`."""
    await _change(connection, claim, free_at=now + LEASE, progress=progress)


async def hand_back(connection: AsyncConnection, claim: Claim, *, free_at: dt.datetime) -> None:
    """Give the job up for another try at `free_at`; raises `LostClaim`."""
    await _change(connection, claim, run_id=None, free_at=free_at, progress=None)


async def finish(connection: AsyncConnection, claim: Claim) -> None:
    """End the job and its handover; raises `LostClaim`."""
    ended = await connection.execute(
        delete(jobs)
        .where(jobs.c.recording_id == claim.recording_id, jobs.c.run_id == claim.run_id)
        .returning(jobs.c.recording_id),
    )
    if ended.one_or_none() is None:
        raise LostClaim("another run holds this job by now")


async def cancel(connection: AsyncConnection, recording_id: RecordingId) -> None:
    """End a job whoever holds it, as its recording is deleted."""
    await connection.execute(delete(jobs).where(jobs.c.recording_id == recording_id))


async def progress_of(connection: AsyncConnection, recording_id: RecordingId) -> float | None:
    """How far the current run is, 0 to 1, or None where it is not known."""
    question = select(jobs.c.progress).where(jobs.c.recording_id == recording_id)
    progress: float | None = await connection.scalar(question)
    return progress


async def _change(connection: AsyncConnection, claim: Claim, **values: object) -> None:
    change = (
        update(jobs)
        .where(jobs.c.recording_id == claim.recording_id, jobs.c.run_id == claim.run_id)
        .values(**values)
        .returning(jobs.c.recording_id)
    )
    if (await connection.execute(change)).one_or_none() is None:
        raise LostClaim("another run holds this job by now")
