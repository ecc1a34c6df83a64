"""The share store: a small database of erasure shares, kept and backed up apart from the catalog.

Invariants:
- a patient has at most one share, made once and never changed;
- making one is idempotent: of two makers at once, both get the share that was stored first;
- only the control role holds this store.
"""

from __future__ import annotations

import contextlib
import datetime as dt
from dataclasses import dataclass

from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError

from keys.database import Database
from keys.errors import DatabaseUnavailable
from keys.ids import PatientRef, TenantId
from keys.secret import ErasureShare
from keys.tables import erasure_shares


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
        """The patient's share, made now where there was none."""
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
                await connection.execute(insert(erasure_shares).values(row))
        stored = await self.find(tenant, patient)
        if stored is None:
            raise DatabaseUnavailable("the share store did not keep a new share")
        return stored
