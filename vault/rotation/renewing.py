"""One recording's way to a new key: everything is sealed under it first, then one transaction makes it the recording's.

Invariants:
- a recording that a worker or an upload holds is left alone until they are done;
- a process that dies anywhere leaves the old recording whole, and drafts that the reconciler knows;
- the new key is wrapped under the patient key that is active when the exchange is made, and nothing else opens it.
"""

from __future__ import annotations

import datetime as dt
import enum
import uuid
from collections.abc import Callable
from dataclasses import dataclass

from keys import keyring
from keys.errors import KeyMismatch
from keys.ids import FileId, RecordingId, new_key_id
from keys.opening import wrap_recording_key
from keys.secret import RecordingKey
from keys.strongroom import OpenedPatient, Strongroom, repeated
from vault.alarm import Alarm
from vault.audit.entry import Action, Decision, Event, Reason
from vault.catalog import drafts, key_jobs, recordings, renewals
from vault.catalog.drafts import ObjectRow
from vault.catalog.errors import LostClaim, UnknownRecording
from vault.catalog.key_jobs import JobClaim
from vault.catalog.renewals import IN_FLIGHT, Renewal
from vault.catalog.rows import RecordingRow
from vault.catalog.unlocking import unlock
from vault.drafting import Drafting
from vault.objects.access import RecordingAccess
from vault.objects.errors import ObjectMissing
from vault.objects.store import ObjectStore
from vault.rotation.copying import Copied, Copying
from vault.rotation.errors import Overtaken


class Outcome(enum.Enum):
    """How far a recording came."""

    DONE = enum.auto()
    WAITS = enum.auto()  # a worker or an upload holds it, or it changed meanwhile
    GONE = enum.auto()


@dataclass(slots=True)
class Renewing:
    """Encrypts recordings anew for one claimed job. What they replace stays for `grace`."""

    strongroom: Strongroom
    store: ObjectStore
    alarm: Alarm
    clock: Callable[[], dt.datetime]
    held: JobClaim
    requested_at: dt.datetime
    grace: dt.timedelta

    async def renew(self, row: RecordingRow) -> Outcome:
        """Encrypt one recording anew, unless it is in flight.

        Raises `PatientErased`, `NoSuchKey`, `KeyMismatch`, `Damaged`, `Malformed`, `ObjectsError`, `LostClaim`, or
        what makes a job wait; the recording is then what it was.
        """
        if await self._is_in_flight(row):
            return Outcome.WAITS
        try:
            await self._renew(row)
        except UnknownRecording:
            return Outcome.GONE
        except Overtaken:
            return Outcome.WAITS
        except (KeyMismatch, ObjectMissing):
            if await self._is_another(row):
                return Outcome.WAITS  # what was read was replaced or deleted meanwhile
            raise
        return Outcome.DONE

    async def tell(self, row: RecordingRow, reason: Reason) -> None:
        """Put on record that a recording does not open; with an alarm where its key does not match."""
        event = Event(
            action=Action.RECORDING_REENCRYPT,
            decision=Decision.DENY,
            reason=reason,
            actor="operator",
            patient=await self.strongroom.pseudonym(row.tenant, row.patient),
            recording=str(row.recording_id),
            key_id=str(row.key_id),
            note=f"job {self.held.job_id}",
        )
        if reason is Reason.KEY_MISMATCH:
            await self.alarm.key_mismatch(event)
        else:
            await self.alarm.audit.write(event)

    async def _renew(self, row: RecordingRow) -> None:
        row, opened, key = await unlock(self.strongroom, row)
        old = _access(row, key)
        new = RecordingAccess(
            tenant=row.tenant,
            patient=row.patient,
            recording_id=row.recording_id,
            key_id=new_key_id(),
            key=RecordingKey.generate(),
        )
        # Not before the request, whatever this host's clock says: the recording would be due again for ever.
        made_at, run_id = max(self.clock(), self.requested_at), uuid.uuid4()
        async with Drafting(self.strongroom.catalog, self.store, self.clock).kept_or_gone(
            row.recording_id, run_id
        ):
            copying = Copying(
                self.store,
                old,
                new,
                run_id,
                lambda file, run: self._announce(row.recording_id, file, run),
                self._alive,
            )
            copied = await copying.copy(row)
            await self._record(row, opened, new)
            await repeated(lambda: self._exchange(row, new, copied, made_at=made_at))

    async def _exchange(
        self, row: RecordingRow, new: RecordingAccess, copied: Copied, *, made_at: dt.datetime
    ) -> None:
        opened = await self.strongroom.open(row.tenant, row.patient)
        wrap = wrap_recording_key(
            new.key,
            opened.active,
            tenant=new.tenant,
            patient=new.patient,
            recording_id=new.recording_id,
            recording_key_id=new.key_id,
        )
        now = self.clock()
        renewal = Renewal(
            old=row,
            key_id=new.key_id,
            wrap=wrap,
            metadata=copied.metadata,
            summary=copied.summary,
            source=copied.source,
            manifest=copied.manifest,
            file_ids=copied.file_ids,
            made_at=made_at,
            ends_at=now + self.grace,
        )
        async with self.strongroom.catalog.writing() as connection:
            # Counted here, where it is done: a crash can neither lose nor double it.
            await key_jobs.report(connection, self.held, now=now, done=1)
            opened.require_unchanged(await keyring.hold(connection, new.tenant, new.patient))
            try:
                is_done = await renewals.exchange(connection, renewal, now=now)
            except LostClaim:
                raise Overtaken("the copies were given up as abandoned") from None
            if not is_done:
                raise Overtaken("the recording changed meanwhile")

    async def _announce(self, recording_id: RecordingId, file_id: FileId, run_id: uuid.UUID) -> None:
        async with self.strongroom.catalog.writing() as connection:
            now = self.clock()
            await key_jobs.report(connection, self.held, now=now)
            await drafts.announce(connection, ObjectRow(recording_id, file_id), run_id=run_id, now=now)

    async def _alive(self) -> None:
        async with self.strongroom.catalog.writing() as connection:
            await key_jobs.report(connection, self.held, now=self.clock())

    async def _is_in_flight(self, row: RecordingRow) -> bool:
        if row.state in IN_FLIGHT:
            return True
        async with self.strongroom.catalog.reading() as connection:
            return row.source is None and await renewals.is_being_written(connection, row.recording_id)

    async def _is_another(self, row: RecordingRow) -> bool:
        async with self.strongroom.catalog.reading() as connection:
            try:
                return (await recordings.by_id(connection, row.recording_id)).key_id != row.key_id
            except UnknownRecording:
                return True

    async def _record(self, row: RecordingRow, opened: OpenedPatient, new: RecordingAccess) -> None:
        event = Event(
            action=Action.RECORDING_REENCRYPT,
            decision=Decision.ALLOW,
            actor="operator",
            patient=opened.pseudonym,
            recording=str(row.recording_id),
            key_id=str(new.key_id),
            note=f"job {self.held.job_id}, former key {row.key_id}",
        )
        await self.alarm.audit.write(event)


def _access(row: RecordingRow, key: RecordingKey) -> RecordingAccess:
    return RecordingAccess(
        tenant=row.tenant,
        patient=row.patient,
        recording_id=row.recording_id,
        key_id=row.key_id,
        key=key,
    )
