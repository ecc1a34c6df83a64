"""One patient's rotation to a new key: step by step, in the order of `keys.lifecycle`.

Invariants:
- a step is one transaction that holds the patient's generations and decides on what it sees there, so that neither a
  session that is being minted, nor an upload, nor another runner can come between looking and acting;
- what does not open is left where it is, and its key stays in use.
"""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from keys import keyring
from keys.database import Database
from keys.errors import Damaged, KeyConflict, KeyMismatch, Malformed, NoSuchKey
from keys.ids import RecordingId
from keys.keyring import PatientKeyRow
from keys.lifecycle import KeyState, Standing, Step, next_step
from keys.opening import open_recording_key, wrap_recording_key
from keys.recording_wraps import RecordingWrap
from keys.records import RecordId
from keys.session import GrantedKey
from keys.strongroom import OpenedPatient, Strongroom
from vault.alarm import Alarm
from vault.audit.entry import Action, Decision, Event, Reason
from vault.catalog import key_jobs, recordings, registry, rotation
from vault.catalog.key_jobs import JobClaim
from vault.catalog.rotation import HeldWrap, Patient
from vault.rotation.errors import Unmovable

# A page's keys are opened and wrapped between two statements of one transaction: about 30 ms.
WRAPS_A_STEP: Final = 1000


# Takes records of ended sessions away; the catalog refuses them in any case.
Drop = Callable[[Sequence[RecordId]], Awaitable[None]]


@dataclass(slots=True)
class PatientRotation:
    """Rotates patients for one claimed job; with `drop` it ends their sessions instead of waiting for them."""

    catalog: Database
    strongroom: Strongroom
    alarm: Alarm
    clock: Callable[[], dt.datetime]
    held: JobClaim
    requested_at: dt.datetime
    drop: Drop | None = None

    async def advance(self, patient: Patient) -> Step:
        """Take steps until this patient has to wait, or is done.

        Raises `PatientErased`, `NoSuchKey`, `Unmovable`, `LostClaim`, `MasterUnavailable`, `DatabaseUnavailable` or
        `AuditUnavailable`; whatever was done stays, and the next call goes on from there.
        """
        while True:
            with contextlib.suppress(KeyConflict):  # somebody else was faster: look again
                step = await self._step(patient)
                if step is Step.WAIT and self.drop is not None:
                    await self._end_sessions(patient, self.drop)
                elif step in {Step.WAIT, Step.DONE}:
                    return step

    async def _step(self, patient: Patient) -> Step:
        async with self.catalog.reading() as connection:
            rows = await keyring.generations(connection, patient.tenant, patient.patient)
            step = next_step(await self._standing(connection, patient, rows))
        if step is Step.PREPARE:
            await self._prepare(patient, rows)
        elif step is Step.ACTIVATE:
            return await self._activate(patient)
        elif step is Step.MOVE:
            await self._move(patient)
        elif step is Step.DRAIN:
            await self._drain(patient)
        return step

    async def _prepare(self, patient: Patient, rows: tuple[PatientKeyRow, ...]) -> None:
        if not rows:
            await self.strongroom.shares.require_not_erased(patient.tenant, patient.patient)
            raise NoSuchKey("this patient has no key that could be rotated")
        # Not before the request, whatever this host's clock says: the patient would be due again for ever.
        now = max(self.clock(), self.requested_at)
        fresh = await self.strongroom.successor(rows[-1], now=now)
        await self._audit(Action.KEY_PREPARE, patient, fresh)
        async with self.catalog.writing() as connection:
            await key_jobs.report(connection, self.held, now=self.clock())
            if await self._still(connection, patient, Step.PREPARE):
                await keyring.add_generation(connection, fresh)

    async def _end_sessions(self, patient: Patient, drop: Drop) -> None:
        """After the next generation is there: whoever signs in again carries it, and is not ended once more."""
        async with self.catalog.reading() as connection:
            rows = await keyring.generations(connection, patient.tenant, patient.patient)
        await self._audit(Action.SESSION_REVOKE, patient, rows[-1])
        async with self.catalog.writing() as connection:
            # In the order of whoever opens a session: the patient's row, then her keys.
            await recordings.raise_epoch(connection, patient.tenant, patient.patient)
            await key_jobs.report(connection, self.held, now=self.clock())
            if not await self._still(connection, patient, Step.WAIT):
                raise KeyConflict("the patient's keys or sessions changed meanwhile")
            ended = await registry.revoke_patient(
                connection, patient.tenant, patient.patient, now=self.clock()
            )
        await drop(ended)

    async def _activate(self, patient: Patient) -> Step:
        """The last look at who lacks the new key happens here, where nobody can be given a session without it."""
        async with self.catalog.reading() as connection:
            rows = await keyring.generations(connection, patient.tenant, patient.patient)
        await self._audit(Action.KEY_ACTIVATE, patient, rows[-1])
        async with self.catalog.writing() as connection:
            await key_jobs.report(connection, self.held, now=self.clock())
            held = await keyring.hold(connection, patient.tenant, patient.patient, to_change=True)
            step = next_step(await self._standing(connection, patient, held))
            if step is Step.ACTIVATE:
                for row in held:
                    if row.state is KeyState.ACTIVE:
                        await keyring.move(connection, row.key_id, KeyState.DEACTIVATED, now=self.clock())
                await keyring.move(connection, held[-1].key_id, KeyState.ACTIVE, now=self.clock())
        return step

    async def _move(self, patient: Patient) -> None:
        opened = await self.strongroom.open(patient.tenant, patient.patient)
        async with self.catalog.reading() as connection:
            rows = await keyring.generations(connection, patient.tenant, patient.patient)
        old = next((row for row in rows if row.state is KeyState.DEACTIVATED), None)
        key = None if old is None else next((key for key in opened.carried if key.key_id == old.key_id), None)
        if key is None:
            return  # another runner was here; the next look tells
        after: RecordingId | None = None
        failed: list[RecordingId] = []
        while page := await self._move_page(opened, key, after, failed):
            after = page
        if failed:
            raise Unmovable(", ".join(str(each) for each in failed))

    async def _move_page(
        self, opened: OpenedPatient, old: GrantedKey, after: RecordingId | None, failed: list[RecordingId]
    ) -> RecordingId | None:
        """Move one page of wraps; returns the last recording of it, None where there was none."""
        async with self.catalog.writing() as connection:
            await key_jobs.report(connection, self.held, now=self.clock())
            opened.require_unchanged(await keyring.hold(connection, opened.tenant, opened.patient))
            page = await rotation.hold_wraps(connection, old.key_id, after=after, limit=WRAPS_A_STEP)
            moved, unopened = [], []
            for each in page:
                try:
                    moved.append(_rewrapped(each, opened, old))
                except KeyMismatch:
                    unopened.append((each.wrap.recording_id, Reason.KEY_MISMATCH))
                except (Damaged, Malformed):
                    unopened.append((each.wrap.recording_id, Reason.DAMAGED))
            await rotation.replace_wraps(connection, old.key_id, moved, now=self.clock())
        for recording_id, reason in unopened:
            await self._tell(opened, old, recording_id, reason)
            failed.append(recording_id)
        return page[-1].wrap.recording_id if page else None

    async def _drain(self, patient: Patient) -> None:
        async with self.catalog.reading() as connection:
            rows = await keyring.generations(connection, patient.tenant, patient.patient)
        for row in rows:
            if row.state is KeyState.DEACTIVATED:
                await self._audit(Action.KEY_DRAIN, patient, row)
        async with self.catalog.writing() as connection:
            held = await keyring.hold(connection, patient.tenant, patient.patient, to_change=True)
            standing = await self._standing(connection, patient, held)
            if next_step(standing) is not Step.DRAIN:
                raise KeyConflict("the patient's keys changed meanwhile")
            # Counted here, where it is done: a crash can neither lose nor double it.
            await key_jobs.report(connection, self.held, now=self.clock(), done=0 if standing.is_due else 1)
            for row in held:
                if row.state is KeyState.DEACTIVATED:
                    await keyring.move(connection, row.key_id, KeyState.DRAINING, now=self.clock())

    async def _still(self, connection: AsyncConnection, patient: Patient, step: Step) -> bool:
        rows = await keyring.hold(connection, patient.tenant, patient.patient, to_change=True)
        return next_step(await self._standing(connection, patient, rows)) is step

    async def _standing(
        self, connection: AsyncConnection, patient: Patient, rows: tuple[PatientKeyRow, ...]
    ) -> Standing:
        old = [row for row in rows if row.state is KeyState.DEACTIVATED]
        lacking = rows and await registry.lacking(
            connection,
            patient.tenant,
            patient.patient,
            generation=rows[-1].generation,
            now=self.clock(),
        )
        return Standing(
            states={row.state for row in rows},
            is_due=not rows or rows[-1].created_at < self.requested_at,
            has_old_sessions=bool(lacking),
            has_old_wraps=any([await rotation.seals_anything(connection, row.key_id) for row in old]),
        )

    async def _audit(self, action: Action, patient: Patient, row: PatientKeyRow) -> None:
        await self.alarm.audit.write(
            Event(
                action=action,
                decision=Decision.ALLOW,
                actor="operator",
                patient=await self.strongroom.pseudonym(patient.tenant, patient.patient),
                key_id=str(row.key_id),
                note=f"job {self.held.job_id}, generation {row.generation}",
            )
        )

    async def _tell(
        self, opened: OpenedPatient, old: GrantedKey, recording_id: RecordingId, reason: Reason
    ) -> None:
        event = Event(
            action=Action.KEY_MOVE,
            decision=Decision.DENY,
            reason=reason,
            actor="operator",
            patient=opened.pseudonym,
            recording=str(recording_id),
            key_id=str(old.key_id),
            note=f"job {self.held.job_id}",
        )
        if reason is Reason.KEY_MISMATCH:
            await self.alarm.key_mismatch(event)
        else:
            await self.alarm.audit.write(event)


def _rewrapped(held: HeldWrap, opened: OpenedPatient, old: GrantedKey) -> RecordingWrap:
    """The same recording key under the active patient key; raises `KeyMismatch`, `Damaged` or `Malformed`."""
    recording_id, key_id = held.wrap.recording_id, held.recording_key_id
    key = open_recording_key(
        (held.wrap,),
        (old,),
        tenant=opened.tenant,
        patient=opened.patient,
        recording_id=recording_id,
        recording_key_id=key_id,
    )
    return wrap_recording_key(
        key,
        opened.active,
        tenant=opened.tenant,
        patient=opened.patient,
        recording_id=recording_id,
        recording_key_id=key_id,
    )
