"""The control role's way to patient keys: master key, share store and keyring together.

Invariants:
- new recordings are wrapped under the active generation; a session carries every generation that is in use
  (`lifecycle.CARRIED`), so that a rotation takes nothing from it;
- nothing is cached: each opening asks the share store and the keeper of the master key again;
- a patient with keys but without a share is erased, and stays so.
"""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from keys import contexts, keyring, recording_wraps
from keys.database import Database
from keys.errors import KeyConflict, KeyMismatch, NoSuchKey, PatientErased
from keys.ids import Generation, KeyId, PatientRef, RecordingId, TenantId, new_key_id
from keys.keyring import PatientKeyRow
from keys.lifecycle import CARRIED, KeyState
from keys.master.protocol import Master
from keys.opening import open_recording_key
from keys.patient import join_halves, pseudonym
from keys.secret import ErasureShare, MasterHalf, RecordingKey
from keys.session import GrantedKey
from keys.shares import ShareStore

T = TypeVar("T")
# A rotation changes a patient's generations three times, with transactions in between.
_TRIES: Final = 4


@dataclass(frozen=True, slots=True, eq=False)
class OpenedPatient:
    """A patient's keys, open in this process for the length of one request."""

    tenant: TenantId
    patient: PatientRef
    pseudonym: str
    active: GrantedKey
    carried: tuple[GrantedKey, ...]

    @property
    def key_ids(self) -> frozenset[KeyId]:
        """Ids of the generations that a session carries."""
        return frozenset(key.key_id for key in self.carried)

    def require_unchanged(self, rows: Sequence[PatientKeyRow]) -> None:
        """Raises `KeyConflict` when these are not the generations that were opened.

        For whoever writes what was made with them, on `keyring.hold`.
        """
        carried = {row.key_id: row.state for row in rows if row.state in CARRIED}
        if carried.keys() != self.key_ids:
            raise KeyConflict("the patient's keys were rotated meanwhile")
        if carried[self.active.key_id] is not KeyState.ACTIVE:
            raise KeyConflict("the patient's active key was replaced meanwhile")


async def repeated(work: Callable[[], Awaitable[T]]) -> T:
    """Do `work` again when a rotation changed the patient's keys under it; raises `KeyConflict` after `_TRIES`."""
    for _ in range(_TRIES - 1):
        with contextlib.suppress(KeyConflict):
            return await work()
    return await work()


@dataclass(frozen=True, slots=True)
class Strongroom:
    """Opens and makes patient keys. Held by the control role alone."""

    catalog: Database
    master: Master
    shares: ShareStore

    async def open(self, tenant: TenantId, patient: PatientRef) -> OpenedPatient:
        """A known patient's keys; raises `NoSuchKey`, `PatientErased` or `MasterUnavailable`."""
        async with self.catalog.reading() as connection:
            rows = await keyring.generations(connection, tenant, patient)
        if not rows:
            await self.shares.require_not_erased(tenant, patient)
            raise NoSuchKey("this patient has no key yet")
        share = await self.shares.find(tenant, patient)
        if share is None:
            raise PatientErased("this patient was erased")
        return await self._opened(tenant, patient, rows, share)

    async def open_or_make(self, tenant: TenantId, patient: PatientRef, *, now: dt.datetime) -> OpenedPatient:
        """A patient's keys, the first generation made now where there was none.

        For whoever takes something in: raises `ErasurePending` as well as what `open` raises.
        """
        await self.shares.require_takes_in(tenant, patient)
        async with self.catalog.reading() as connection:
            rows = await keyring.generations(connection, tenant, patient)
        if not rows:
            await self._make_first(tenant, patient, now=now)
        return await self.open(tenant, patient)

    async def open_recording(
        self, tenant: TenantId, patient: PatientRef, recording_id: RecordingId, recording_key_id: KeyId
    ) -> tuple[OpenedPatient, RecordingKey]:
        """A known patient's keys, and one recording's; raises as `open` and `opening.open_recording_key` do."""
        opened = await self.open(tenant, patient)
        while True:
            async with self.catalog.reading() as connection:
                wraps = (await recording_wraps.wraps_of(connection, [recording_id]))[recording_id]
            try:
                return opened, open_recording_key(
                    wraps,
                    opened.carried,
                    tenant=tenant,
                    patient=patient,
                    recording_id=recording_id,
                    recording_key_id=recording_key_id,
                )
            except KeyMismatch:
                # The wrap may have moved to a key that was made after this patient was opened.
                before, opened = opened, await self.open(tenant, patient)
                if opened.key_ids == before.key_ids:
                    raise

    async def pseudonym(self, tenant: TenantId, patient: PatientRef) -> str:
        """A patient's name in the audit log; empty for one that has no share."""
        share = await self.shares.find(tenant, patient)
        return "" if share is None else pseudonym(share, tenant=tenant, patient=patient)

    async def _make_first(self, tenant: TenantId, patient: PatientRef, *, now: dt.datetime) -> None:
        # The share first: a crash in between leaves a share without keys, which the next call uses.
        await self.shares.find_or_make(tenant, patient, now=now)
        row = await self._fresh(tenant, patient, Generation(1), KeyState.ACTIVE, now=now)
        try:
            async with self.catalog.writing() as connection:
                await keyring.add_generation(connection, row)
        except KeyConflict:
            return  # another request made it first; the caller opens theirs

    async def successor(self, newest: PatientKeyRow, *, now: dt.datetime) -> PatientKeyRow:
        """The next generation of a patient's key, prepared and not stored yet; raises `PatientErased`."""
        if await self.shares.find(newest.tenant, newest.patient) is None:
            raise PatientErased("this patient was erased")
        generation = Generation(newest.generation + 1)
        return await self._fresh(newest.tenant, newest.patient, generation, KeyState.PREPARED, now=now)

    async def _fresh(
        self,
        tenant: TenantId,
        patient: PatientRef,
        generation: Generation,
        state: KeyState,
        *,
        now: dt.datetime,
    ) -> PatientKeyRow:
        key_id = new_key_id()
        context = contexts.patient_key_context(
            tenant=tenant,
            patient=patient,
            key_id=key_id,
            generation=generation,
        )
        return PatientKeyRow(
            tenant=tenant,
            patient=patient,
            generation=generation,
            key_id=key_id,
            state=state,
            wrap=await self.master.wrap(MasterHalf.generate(), context=context),
            created_at=now,
        )

    async def _opened(
        self,
        tenant: TenantId,
        patient: PatientRef,
        rows: tuple[PatientKeyRow, ...],
        share: ErasureShare,
    ) -> OpenedPatient:
        carried = [row for row in rows if row.state in CARRIED]
        opened = {row.key_id: await self._join(row, share) for row in carried}
        active = [opened[row.key_id] for row in carried if row.state is KeyState.ACTIVE]
        if not active:
            raise NoSuchKey("this patient has no active key")
        return OpenedPatient(
            tenant=tenant,
            patient=patient,
            pseudonym=pseudonym(share, tenant=tenant, patient=patient),
            active=active[0],
            carried=tuple(opened.values()),
        )

    async def _join(self, row: PatientKeyRow, share: ErasureShare) -> GrantedKey:
        context = contexts.patient_key_context(
            tenant=row.tenant,
            patient=row.patient,
            key_id=row.key_id,
            generation=row.generation,
        )
        half = await self.master.unwrap(row.wrap, context=context)
        return GrantedKey(row.key_id, row.generation, join_halves(half, share, context=context))
