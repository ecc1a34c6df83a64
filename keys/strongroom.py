"""The control role's way to patient keys: master key, share store and keyring together.

Invariants:
- new recordings are wrapped under the active generation; a session carries every generation that is in use;
- nothing is cached: each opening asks the share store and the keeper of the master key again;
- a patient with keys but without a share is erased, and stays so.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from keys import contexts, keyring
from keys.database import Database
from keys.errors import KeyConflict, NoSuchKey, PatientErased
from keys.ids import Generation, PatientRef, TenantId, new_key_id
from keys.keyring import KeyState, PatientKeyRow
from keys.master.protocol import Master
from keys.patient import join_halves, pseudonym
from keys.secret import ErasureShare, MasterHalf
from keys.session import GrantedKey
from keys.shares import ShareStore

# States whose keys a new session carries; while one generation drains, only its successor is handed out.
_CARRIED = frozenset({KeyState.PREPARED, KeyState.ACTIVE})


@dataclass(frozen=True, slots=True, eq=False)
class OpenedPatient:
    """A patient's keys, open in this process for the length of one request."""

    tenant: TenantId
    patient: PatientRef
    pseudonym: str
    active: GrantedKey
    carried: tuple[GrantedKey, ...]


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
            raise NoSuchKey("this patient has no key yet")
        share = await self.shares.find(tenant, patient)
        if share is None:
            raise PatientErased("this patient was erased")
        return await self._opened(tenant, patient, rows, share)

    async def open_or_make(self, tenant: TenantId, patient: PatientRef, *, now: dt.datetime) -> OpenedPatient:
        """A patient's keys, the first generation made now where there was none."""
        async with self.catalog.reading() as connection:
            rows = await keyring.generations(connection, tenant, patient)
        if not rows:
            await self._make_first(tenant, patient, now=now)
        return await self.open(tenant, patient)

    async def _make_first(self, tenant: TenantId, patient: PatientRef, *, now: dt.datetime) -> None:
        # The share first: a crash in between leaves a share without keys, which the next call uses.
        await self.shares.find_or_make(tenant, patient, now=now)
        key_id, generation = new_key_id(), Generation(1)
        context = contexts.patient_key_context(
            tenant=tenant,
            patient=patient,
            key_id=key_id,
            generation=generation,
        )
        row = PatientKeyRow(
            tenant=tenant,
            patient=patient,
            generation=generation,
            key_id=key_id,
            state=KeyState.ACTIVE,
            wrap=await self.master.wrap(MasterHalf.generate(), context=context),
            created_at=now,
        )
        try:
            async with self.catalog.writing() as connection:
                await keyring.add_generation(connection, row)
        except KeyConflict:
            return  # another request made it first; the caller opens theirs

    async def _opened(
        self,
        tenant: TenantId,
        patient: PatientRef,
        rows: tuple[PatientKeyRow, ...],
        share: ErasureShare,
    ) -> OpenedPatient:
        opened = {row.state: await self._join(row, share) for row in rows if row.state in _CARRIED}
        if KeyState.ACTIVE not in opened:
            raise NoSuchKey("this patient has no active key")
        return OpenedPatient(
            tenant=tenant,
            patient=patient,
            pseudonym=pseudonym(share, tenant=tenant, patient=patient),
            active=opened[KeyState.ACTIVE],
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
