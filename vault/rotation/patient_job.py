"""The job that rotates patients' keys: everybody's, a tenant's or one patient's.

Invariants: the keys themselves say who is not done, so a job that was stopped anywhere goes on from what is there; a
pass goes over all of them and waits for none; the job ends when a pass from the beginning finds nobody.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from keys.database import Database
from keys.errors import Damaged, KeyMismatch, Malformed, NoSuchKey, PatientErased
from keys.lifecycle import Step
from vault.catalog import key_jobs, rotation
from vault.catalog.key_jobs import SKIPPED, JobClaim, JobRow
from vault.catalog.rotation import Patient, Scope
from vault.rotation.errors import Unmovable
from vault.rotation.patients import PatientRotation
from vault.rotation.turns import Turn

_PATIENTS_A_TURN: Final = 20
_PASS_REST_S: Final = 1.0
_WAITING: Final = "waits until every live session carries the new key"


@dataclass(slots=True)
class PatientTurns:
    """Turns of a patient job."""

    catalog: Database
    rotation: PatientRotation
    job: JobRow
    held: JobClaim
    clock: Callable[[], dt.datetime]
    _has_waiting: bool = False

    @property
    def _scope(self) -> Scope:
        return Scope(self.job.tenant, self.job.patient)

    async def count(self) -> int:
        """Patients whose key is to be rotated."""
        async with self.catalog.reading() as connection:
            return await rotation.count_unrotated(connection, self._scope, requested_at=self.job.requested_at)

    async def turn(self, cursor: str | None) -> Turn:
        """Take the next patients as far as they can go."""
        async with self.catalog.reading() as connection:
            page = await rotation.unrotated(
                connection,
                self._scope,
                requested_at=self.job.requested_at,
                job_id=self.job.job_id,
                after=None if cursor is None else Patient.parse(cursor),
                limit=_PATIENTS_A_TURN,
            )
        if not page:
            return self._pass_ended(cursor)
        for patient in page:
            self._has_waiting |= await self._advance(patient) is Step.WAIT
        return Turn(handled=len(page), cursor=str(page[-1]))

    def _pass_ended(self, cursor: str | None) -> Turn:
        """Begin another pass, after a rest where somebody waits; at the end where this one was empty."""
        waits, self._has_waiting = self._has_waiting, False
        rest_s, note = (_PASS_REST_S, _WAITING) if waits else (0.0, None)
        return Turn(handled=0, cursor=None, is_end=cursor is None, rest_s=rest_s, note=note)

    async def _advance(self, patient: Patient) -> Step | None:
        try:
            return await self.rotation.advance(patient)
        except PatientErased:
            code = SKIPPED
        except Unmovable:
            code = "WRAPS_DO_NOT_OPEN"
        except NoSuchKey:
            code = "NO_SUCH_KEY"
        except (KeyMismatch, Damaged, Malformed):
            code = "HALF_DOES_NOT_OPEN"
        async with self.catalog.writing() as connection:
            await key_jobs.report(connection, self.held, now=self.clock())
            await key_jobs.fail_item(connection, self.job.job_id, str(patient), code=code, now=self.clock())
        return None
