"""Runs key jobs: one at a time, a turn at a time, at the pace and in the hours that were asked for.

Invariants:
- a runner works under a lease that every report renews, and stops at the first report that is refused: the job was
  paused or aborted, or another runner holds it;
- what needs a second person here is not begun before one approved it, whatever asked for it;
- what is down makes a job wait, never fail: it is handed back with a note, and taken up again later;
- nobody's job keeps another one waiting for longer than a slice and a turn: it goes to the end of the line.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog

from keys.database import Database
from keys.errors import DatabaseUnavailable, MasterUnavailable
from vault.audit.entry import Action, Decision, Event
from vault.audit.errors import AuditUnavailable
from vault.audit.log import AuditLog
from vault.catalog import key_jobs
from vault.catalog.errors import LostClaim
from vault.catalog.key_job_states import JobState
from vault.catalog.key_jobs import JobClaim, JobId, JobRow
from vault.objects.errors import StoreUnavailable
from vault.rotation.approval import AWAITING_NOTE, may_run
from vault.rotation.hours import Hours
from vault.rotation.turns import Turn, Turns

POLL_S: Final = 1.0
SLICE_S: Final = 30.0
# A rest that is longer is taken in pieces, and the lease renewed after each.
_NAP_S: Final = 10.0
AGAIN_AFTER: Final = dt.timedelta(seconds=5)
_DOWN: Final = {
    MasterUnavailable: "waits: the keeper of the master key does not answer",
    DatabaseUnavailable: "waits: a database does not answer",
    AuditUnavailable: "waits: the audit log cannot be written",
    StoreUnavailable: "waits: the object store does not answer",
}

_log = structlog.get_logger("replayvault.rotation")


@dataclass(frozen=True, slots=True)
class Runner:
    """Takes up jobs. `turns` makes what does the work of a claimed job."""

    catalog: Database
    audit: AuditLog
    clock: Callable[[], dt.datetime]
    turns: Callable[[JobRow, JobClaim], Turns]
    two_persons: bool = False
    slice_s: float = SLICE_S

    async def run(self) -> None:
        """Run jobs for ever; whatever is down is tried again."""
        while True:
            if not await self.once():
                await asyncio.sleep(POLL_S)

    async def once(self, *, only: JobId | None = None) -> bool:
        """Work on one job until it ends, waits or is taken away; False where there was none to take."""
        try:
            async with self.catalog.writing() as connection:
                claimed = await key_jobs.claim(connection, now=self.clock(), only=only)
        except DatabaseUnavailable as error:
            _log.warning("key jobs wait", error=type(error).__name__)
            return False
        if claimed is None:
            return False
        held, job = claimed
        try:
            await self._work(held, job)
        except LostClaim:
            _log.info("key job given up: paused, aborted or held by another", job=str(job.job_id))
        except tuple(_DOWN) as error:
            await self._wait(held, next(note for kind, note in _DOWN.items() if isinstance(error, kind)))
        return True

    async def _work(self, held: JobClaim, job: JobRow) -> None:
        if not may_run(job.kind, job.requested_by, job.approved_by, two_persons=self.two_persons):
            async with self.catalog.writing() as connection:
                return await key_jobs.await_approval(connection, held, note=AWAITING_NOTE)
        turns, cursor = self.turns(job, held), job.cursor
        slice_ends_s = time.monotonic() + self.slice_s
        if job.total is None:
            await self._begin(held, job, await turns.count())
        while True:
            if await self._is_outside(held, job):
                return None
            begun_s = time.monotonic()
            turn = await turns.turn(cursor)
            cursor = turn.cursor
            if turn.is_end:
                return await self._end(held, job)
            async with self.catalog.writing() as connection:
                if turn.again_at is not None:
                    return await key_jobs.hand_back(
                        connection, held, free_at=turn.again_at, note=turn.note, cursor=cursor
                    )
                await key_jobs.report(connection, held, now=self.clock(), cursor=cursor, note=turn.note)
            rest_s = _rest_s(turn, job.rate_per_s, time.monotonic() - begun_s)
            if not await self._rest(held, rest_s, turn.note, slice_ends_s=slice_ends_s):
                return None

    async def _rest(self, held: JobClaim, rest_s: float, note: str | None, *, slice_ends_s: float) -> bool:
        """Rest, and keep the job meanwhile; False where it was handed back for another one that waits."""
        over_s = time.monotonic() + rest_s
        while True:
            left_s = max(over_s - time.monotonic(), 0.0)
            if time.monotonic() >= slice_ends_s and await self._gave_way(held, left_s, note):
                return False
            await asyncio.sleep(min(left_s, _NAP_S))
            if left_s <= _NAP_S:
                return True
            async with self.catalog.writing() as connection:
                await key_jobs.report(connection, held, now=self.clock())

    async def _gave_way(self, held: JobClaim, rest_s: float, note: str | None) -> bool:
        now = self.clock()
        async with self.catalog.writing() as connection:
            if not await key_jobs.others_wait(connection, held, now=now):
                return False
            await key_jobs.hand_back(connection, held, free_at=now + dt.timedelta(seconds=rest_s), note=note)
        return True

    async def _begin(self, held: JobClaim, job: JobRow, total: int) -> None:
        await self.audit.write(_event(job, "begins", total))
        async with self.catalog.writing() as connection:
            await key_jobs.report(connection, held, now=self.clock(), total=total)

    async def _end(self, held: JobClaim, job: JobRow) -> None:
        async with self.catalog.writing() as connection:
            state = await key_jobs.end(connection, held, now=self.clock())
            ended = await key_jobs.find(connection, job.job_id)
        await self.audit.write(_event(job, state.value, ended.done))
        level = _log.info if state is JobState.DONE else _log.error
        level("key job ended", job=str(job.job_id), state=state.value, done=ended.done, failed=ended.failed)

    async def _is_outside(self, held: JobClaim, job: JobRow) -> bool:
        if job.hours is None:
            return False
        wait = Hours.parse(job.hours).wait(self.clock())
        if not wait:
            return False
        async with self.catalog.writing() as connection:
            await key_jobs.hand_back(
                connection, held, free_at=self.clock() + wait, note=f"waits for its hours, {job.hours} UTC"
            )
        return True

    async def _wait(self, held: JobClaim, note: str) -> None:
        _log.warning("key job waits", job=str(held.job_id), reason=note)
        try:
            async with self.catalog.writing() as connection:
                await key_jobs.hand_back(connection, held, free_at=self.clock() + AGAIN_AFTER, note=note)
        except (DatabaseUnavailable, LostClaim):
            await asyncio.sleep(AGAIN_AFTER.total_seconds())  # the lease runs out by itself


def _rest_s(turn: Turn, rate_per_s: float | None, taken_s: float) -> float:
    paced_s = turn.handled / rate_per_s - taken_s if rate_per_s else 0.0
    return max(turn.rest_s, paced_s, 0.0)


def _event(job: JobRow, word: str, count: int) -> Event:
    note = f"job {job.job_id} {job.kind.value} {word}: {count}"
    return Event(action=Action.KEY_JOB, decision=Decision.ALLOW, actor=job.requested_by, note=note)
