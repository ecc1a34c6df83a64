"""The job that brings patient keys under the master key's current version, after making one where that was asked for.

It also moves them from one keeper to another: whatever is not under the current version of the current keeper is
wrapped anew. Patient keys stay what they are, so no session notices.

Invariants: a half is replaced where it still is what was read; a half that cannot be moved is named and left; a
version is made once for a job, whatever interrupts it.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable
from dataclasses import dataclass

from keys import contexts, halves
from keys.database import Database
from keys.errors import KeysError
from keys.halves import MasterPlace
from keys.ids import KeyId
from keys.keyring import PatientKeyRow
from keys.master.protocol import Master, MasterWrap
from vault.audit.entry import Action, Decision, Event
from vault.audit.log import AuditLog
from vault.catalog import key_jobs
from vault.catalog.key_jobs import JobClaim, JobKind, JobRow
from vault.rotation.turns import Turn


@dataclass(frozen=True, slots=True)
class MasterTurns:
    """Turns of a master job."""

    catalog: Database
    master: Master
    audit: AuditLog
    job: JobRow
    held: JobClaim
    clock: Callable[[], dt.datetime]

    async def count(self) -> int:
        """Make the new version where it is due; then, halves that are not under the current one."""
        if self.job.kind is JobKind.MASTER:
            await self._rotate()
        async with self.catalog.reading() as connection:
            return await halves.count_elsewhere(connection, await self._place())

    async def turn(self, cursor: str | None) -> Turn:
        """Wrap one batch anew."""
        after = None if cursor is None else KeyId(uuid.UUID(cursor))
        place = await self._place()
        async with self.catalog.reading() as connection:
            page = await halves.elsewhere(connection, place, after=after, limit=self.master.batch_limit)
        if not page:
            return Turn(handled=0, cursor=None, is_end=True)
        answers = await self.master.rewrap([(row.wrap, _context(row)) for row in page])
        await self._store(list(zip(page, answers, strict=True)))
        return Turn(handled=len(page), cursor=str(page[-1].key_id))

    async def _place(self) -> MasterPlace:
        version = await self.master.current_version()
        return MasterPlace(self.master.provider, self.master.key_name, version)

    async def _rotate(self) -> None:
        if await self.master.current_version() > (self.job.base_version or 0):
            return  # an earlier run of this job made it
        event = Event(
            action=Action.MASTER_ROTATE,
            decision=Decision.ALLOW,
            actor="operator",
            note=f"job {self.job.job_id}: {self.master.provider} {self.master.key_name}",
        )
        await self.audit.write(event)
        await self.master.rotate()

    async def _store(self, answers: list[tuple[PatientKeyRow, MasterWrap | KeysError]]) -> None:
        moved = [(row, answer) for row, answer in answers if isinstance(answer, MasterWrap)]
        failed = [(row, answer) for row, answer in answers if isinstance(answer, KeysError)]
        async with self.catalog.writing() as connection:
            now = self.clock()
            await key_jobs.report(connection, self.held, now=now, done=len(moved))
            await halves.replace(connection, moved)
            for row, error in failed:
                await key_jobs.fail_item(
                    connection, self.job.job_id, str(row.key_id), code=type(error).__name__, now=now
                )


def _context(row: PatientKeyRow) -> bytes:
    return contexts.patient_key_context(
        tenant=row.tenant, patient=row.patient, key_id=row.key_id, generation=row.generation
    )
