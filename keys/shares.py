"""The share store: a small database of erasure shares and of who was erased, kept and backed up apart from the catalog.

Invariants:
- a patient has at most one share, made once and never changed;
- making one is idempotent: of two makers at once, both get the share that was stored first;
- nobody whose erasure is decided is given a share again;
- only the control role holds this store.
"""

from __future__ import annotations

import contextlib
import datetime as dt
from dataclasses import dataclass
from typing import Final

from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from keys import erasures
from keys.database import Database
from keys.erasure import ErasureState
from keys.errors import DatabaseUnavailable, ErasurePending, PatientErased
from keys.ids import PatientRef, TenantId
from keys.secret import ErasureShare, TombstoneKey
from keys.tables import erasure_shares, tombstone_keys

_ONLY: Final = 1


@dataclass(frozen=True, slots=True)
class ShareStore:
    """Erasure shares by tenant and patient. Raises `DatabaseUnavailable` when the database does not answer."""

    database: Database

    async def find(self, tenant: TenantId, patient: PatientRef) -> ErasureShare | None:
        """The patient's share, or None where there is none (never made, or erased)."""
        question = select(erasure_shares.c.share).where(
            erasure_shares.c.tenant == tenant,
            erasure_shares.c.patient == patient,
        )
        async with self.database.reading() as connection:
            raw = await connection.scalar(question)
        return None if raw is None else ErasureShare(raw)

    async def find_or_make(self, tenant: TenantId, patient: PatientRef, *, now: dt.datetime) -> ErasureShare:
        """The patient's share, made now where there was none; raises `PatientErased`."""
        found = await self.find(tenant, patient)
        if found is not None:
            return found
        row = {
            "tenant": tenant,
            "patient": patient,
            "share": ErasureShare.generate().reveal(to="share store"),
            "created_at": now,
        }
        # Where another maker was first, theirs counts.
        with contextlib.suppress(IntegrityError):
            async with self.database.writing() as connection:
                await _require_not_erased(connection, tenant, patient)
                await connection.execute(insert(erasure_shares).values(row))
        stored = await self.find(tenant, patient)
        if stored is None:
            raise DatabaseUnavailable("the share store did not keep a new share")
        return stored

    async def require_not_erased(self, tenant: TenantId, patient: PatientRef) -> None:
        """Raises `PatientErased` for whoever was erased, also where nothing else is left that says so."""
        async with self.database.reading() as connection:
            await _require_not_erased(connection, tenant, patient)

    async def require_takes_in(self, tenant: TenantId, patient: PatientRef) -> None:
        """Raises `PatientErased`, or `ErasurePending` where what is taken in now would be lost."""
        async with self.database.reading() as connection:
            found = await erasures.of_patient(connection, tenant, patient)
        if found is None or found.state is ErasureState.REQUESTED:
            return
        if found.state is ErasureState.HELD:
            raise ErasurePending("the patient is about to be erased, and takes in nothing new")
        raise PatientErased("this patient was erased")

    async def require_no_legal_hold(self, tenant: TenantId, patient: PatientRef) -> None:
        """Raises `OnLegalHold`, for whoever is about to destroy something of a patient."""
        async with self.database.reading() as connection:
            await erasures.require_no_hold(connection, tenant, patient)

    async def find_tombstone_key(self) -> TombstoneKey | None:
        """What this store's tombstones are sealed under; None where none was ever made."""
        question = select(tombstone_keys.c.key).where(tombstone_keys.c.number == _ONLY)
        async with self.database.reading() as connection:
            raw = await connection.scalar(question)
        return None if raw is None else TombstoneKey(raw)

    async def tombstone_key(self) -> TombstoneKey:
        """As `find_tombstone_key`, made now where there was none."""
        if (found := await self.find_tombstone_key()) is not None:
            return found
        fresh = TombstoneKey.generate().reveal(to="share store")
        with contextlib.suppress(IntegrityError):  # where another maker was first, theirs counts
            async with self.database.writing() as connection:
                await connection.execute(insert(tombstone_keys).values(number=_ONLY, key=fresh))
        stored = await self.find_tombstone_key()
        if stored is None:
            raise DatabaseUnavailable("the share store did not keep a new key")
        return stored

    async def scrub(self) -> None:
        """Let the engine drop what it still keeps of shares that were deleted."""
        await self.database.scrub(erasure_shares.name)


async def _require_not_erased(connection: AsyncConnection, tenant: TenantId, patient: PatientRef) -> None:
    if await erasures.is_decided(connection, tenant, patient):
        raise PatientErased("this patient was erased")
