"""The job that destroys patient keys which drained: the half goes, the row stays, so that its id is never used again.

Invariants:
- a key is destroyed in a transaction that holds its patient's generations and finds nothing sealed under it and no
  live session that may carry it; what is still needed is named and left;
- it is on the audit log first.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncConnection

from keys import keyring
from keys.ids import KeyId
from keys.lifecycle import KeyState
from keys.strongroom import Strongroom
from vault.audit.entry import Action, Decision, Event
from vault.audit.log import AuditLog
from vault.catalog import key_jobs, retiring, rotation
from vault.catalog.key_jobs import JobClaim, JobRow
from vault.catalog.retiring import Draining
from vault.catalog.rotation import Scope
from vault.rotation.turns import Turn

# Whatever the operator says: by then every upload and every request that began with the key in hand has ended.
LEAST_SOAK: Final = dt.timedelta(hours=1)
DEFAULT_SOAK: Final = dt.timedelta(days=7)
_KEYS_A_TURN: Final = 50


@dataclass(frozen=True, slots=True)
class RetireTurns:
    """Turns of a job that retires patient keys. `options` has `soak_s`, seconds."""

    strongroom: Strongroom
    audit: AuditLog
    job: JobRow
    held: JobClaim
    clock: Callable[[], dt.datetime]

    @property
    def _scope(self) -> Scope:
        return Scope(self.job.tenant, self.job.patient)

    @property
    def _before(self) -> dt.datetime:
        return self.job.requested_at - dt.timedelta(seconds=self.job.options["soak_s"])

    async def count(self) -> int:
        """Keys that drain for long enough."""
        async with self.strongroom.catalog.reading() as connection:
            return (await retiring.count_draining(connection, self._scope, before=self._before)).due

    async def turn(self, cursor: str | None) -> Turn:
        """Destroy the next few."""
        after = None if cursor is None else KeyId(uuid.UUID(cursor))
        async with self.strongroom.catalog.reading() as connection:
            page = await retiring.draining(
                connection, self._scope, before=self._before, after=after, limit=_KEYS_A_TURN
            )
        for key in page:
            await self._retire(key)
        last = str(page[-1].row.key_id) if page else None
        return Turn(handled=len(page), cursor=last, is_end=not page)

    async def _retire(self, key: Draining) -> None:
        async with self.strongroom.catalog.reading() as connection:
            needed = await self._needed(connection, key)
        if needed is None:
            await self._tell(key)
        async with self.strongroom.catalog.writing() as connection:
            now, item = self.clock(), str(key.row.key_id)
            rows = await keyring.hold(connection, key.row.tenant, key.row.patient, to_change=True)
            still = {row.key_id for row in rows if row.state is KeyState.DRAINING}
            gone = key.row.key_id not in still  # another runner was here
            needed = None if gone else needed or await self._needed(connection, key)
            await key_jobs.report(connection, self.held, now=now, done=0 if gone or needed else 1)
            if needed is not None:
                await key_jobs.fail_item(connection, self.job.job_id, item, code=needed, now=now)
            elif not gone:
                await keyring.move(connection, key.row.key_id, KeyState.RETIRED, now=now)

    async def _needed(self, connection: AsyncConnection, key: Draining) -> str | None:
        if await rotation.seals_anything(connection, key.row.key_id):
            return "STILL_SEALS"
        return "STILL_CARRIED" if await retiring.is_carried(connection, key, now=self.clock()) else None

    async def _tell(self, key: Draining) -> None:
        await self.audit.write(
            Event(
                action=Action.KEY_RETIRE,
                decision=Decision.ALLOW,
                actor=self.job.requested_by,
                patient=await self.strongroom.pseudonym(key.row.tenant, key.row.patient),
                key_id=str(key.row.key_id),
                note=approved(f"job {self.job.job_id}, generation {key.row.generation}", self.job),
            )
        )


def approved(note: str, job: JobRow) -> str:
    """A note for the audit log, with whoever approved the job."""
    return note if job.approved_by is None else f"{note}, approved by {job.approved_by}"


def options_of(soak: dt.timedelta) -> dict[str, Any]:
    """The options of such a job."""
    return {"soak_s": int(soak.total_seconds())}
