"""The job that encrypts recordings anew: everybody's, a tenant's, a patient's, or one.

Invariants: the recordings themselves say which of them are due, so a job that was stopped anywhere goes on from what is
there; a pass goes over all of them and waits for none; the job ends when a whole pass did nothing and waits for
nothing, and not before every object of the keys that it replaced is gone from the store with all its versions.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from keys.database import Database
from keys.errors import Damaged, KeyMismatch, Malformed, NoSuchKey, PatientErased
from keys.ids import RecordingId
from vault.audit.entry import Reason
from vault.catalog import key_jobs, renewals
from vault.catalog.key_jobs import SKIPPED, JobClaim, JobRow
from vault.catalog.renewals import Extent
from vault.catalog.rows import RecordingRow
from vault.drafting import Drafting
from vault.objects.errors import DamagedObject, MalformedObject, ObjectMissing
from vault.rotation.renewing import Outcome, Renewing
from vault.rotation.turns import Turn

GRACE: Final = "grace_s"
DEFAULT_GRACE: Final = dt.timedelta(minutes=15)
_RECORDINGS_A_TURN: Final = 5
_OBJECTS_A_TURN: Final = 200
_PASS_REST_S: Final = 1.0
_WAITING: Final = "waits for recordings that are being uploaded or processed"


def grace_of(options: Mapping[str, Any]) -> dt.timedelta:
    """For how long what is replaced stays, by a job's options."""
    return dt.timedelta(seconds=options.get(GRACE, DEFAULT_GRACE.total_seconds()))


@dataclass(slots=True)
class RenewalTurns:
    """Turns of a job that encrypts anew."""

    catalog: Database
    renewing: Renewing
    job: JobRow
    held: JobClaim
    clock: Callable[[], dt.datetime]
    _has_waiting: bool = False
    # A pass that this process did not see from its beginning says nothing about the end.
    _is_idle: bool = False

    @property
    def _extent(self) -> Extent:
        return Extent(self.job.tenant, self.job.patient, self.job.recording_id)

    async def count(self) -> int:
        """Recordings that are to be encrypted anew."""
        async with self.catalog.reading() as connection:
            due = await renewals.count_due(connection, self._extent, requested_at=self.job.requested_at)
        return due.recordings

    async def turn(self, cursor: str | None) -> Turn:
        """Encrypt the next recordings anew, and remove what has been replaced for long enough."""
        if cursor is None:
            self._is_idle, self._has_waiting = True, False
        await self._clear()
        after = None if cursor is None else RecordingId(uuid.UUID(cursor))
        async with self.catalog.reading() as connection:
            page = await renewals.due(
                connection,
                self._extent,
                requested_at=self.job.requested_at,
                after=after,
                limit=_RECORDINGS_A_TURN,
            )
            named = await renewals.named(connection, self.job.job_id, [row.recording_id for row in page])
        if not page:
            return await self._pass_ended()
        handled = 0
        for row in page:
            if row.recording_id not in named:
                handled += await self._advance(row)
        return Turn(handled=handled, cursor=str(page[-1].recording_id))

    async def _advance(self, row: RecordingRow) -> int:
        """Take one recording as far as it goes; 1 where something was done."""
        outcome = await self._outcome(row)
        self._has_waiting |= outcome is Outcome.WAITS
        if outcome is Outcome.WAITS:
            return 0
        self._is_idle = False
        return 1

    async def _outcome(self, row: RecordingRow) -> Outcome | None:
        reason = Reason.DAMAGED
        try:
            return await self.renewing.renew(row)
        except PatientErased:
            code, reason = SKIPPED, Reason.PATIENT_ERASED
        except NoSuchKey:
            code = "NO_SUCH_KEY"
        except KeyMismatch:
            code, reason = "KEY_DOES_NOT_OPEN", Reason.KEY_MISMATCH
        except ObjectMissing:
            code = "OBJECT_MISSING"
        except (Damaged, Malformed, DamagedObject, MalformedObject):
            code = "DAMAGED"
        await self.renewing.tell(row, reason)
        async with self.catalog.writing() as connection:
            now = self.clock()
            await key_jobs.report(connection, self.held, now=now)
            await key_jobs.fail_item(connection, self.job.job_id, str(row.recording_id), code=code, now=now)
        return None

    async def _pass_ended(self) -> Turn:
        """Begin another pass where this one did something or left somebody waiting; else, wait for the last objects."""
        if self._has_waiting:
            return Turn(handled=0, cursor=None, rest_s=_PASS_REST_S, note=_WAITING)
        if not self._is_idle:
            return Turn(handled=0, cursor=None)
        async with self.catalog.reading() as connection:
            end = await renewals.next_end(connection, self._extent, requested_at=self.job.requested_at)
        if end is None:
            return Turn(handled=0, cursor=None, is_end=True)
        left_s = (end - self.clock()).total_seconds()
        note = f"what the former keys sealed is removed at {end:%H:%M:%S} UTC"
        return Turn(handled=0, cursor=None, rest_s=min(max(left_s, 0.0), _PASS_REST_S), note=note)

    async def _clear(self) -> None:
        async with self.catalog.reading() as connection:
            over = await renewals.replaced(
                connection,
                self._extent,
                requested_at=self.job.requested_at,
                until=self.clock(),
                limit=_OBJECTS_A_TURN,
            )
        await Drafting(self.catalog, self.renewing.store, self.clock).discard(over)
