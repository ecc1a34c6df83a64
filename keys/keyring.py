"""Patient keys as rows, and the only questions and changes that they allow.

Every function takes the connection, and so the transaction, of its caller.

Invariants: inserts never overwrite; two makers of the same generation end with the row that came first.
"""

from __future__ import annotations

import datetime as dt
import enum
from dataclasses import dataclass

from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from keys.errors import KeyConflict
from keys.ids import Generation, KeyId, PatientRef, TenantId
from keys.master.protocol import MasterWrap
from keys.tables import patient_keys


class KeyState(enum.Enum):
    """Where a generation of a patient key stands in its life (NIST SP 800-57, part 1, section 7)."""

    PREPARED = "prepared"
    ACTIVE = "active"
    DRAINING = "draining"
    RETIRED = "retired"


@dataclass(frozen=True, slots=True)
class PatientKeyRow:
    """One generation of a patient key, its master half wrapped."""

    tenant: TenantId
    patient: PatientRef
    generation: Generation
    key_id: KeyId
    state: KeyState
    wrap: MasterWrap
    created_at: dt.datetime


async def generations(
    connection: AsyncConnection, tenant: TenantId, patient: PatientRef
) -> tuple[PatientKeyRow, ...]:
    """Every generation of a patient's key that is not retired, oldest first."""
    question = (
        select(patient_keys)
        .where(
            patient_keys.c.tenant == tenant,
            patient_keys.c.patient == patient,
            patient_keys.c.state != KeyState.RETIRED.value,
        )
        .order_by(patient_keys.c.generation)
    )
    rows = (await connection.execute(question)).mappings()
    return tuple(
        PatientKeyRow(
            tenant=TenantId(row["tenant"]),
            patient=PatientRef(row["patient"]),
            generation=Generation(row["generation"]),
            key_id=KeyId(row["key_id"]),
            state=KeyState(row["state"]),
            wrap=MasterWrap(
                provider=row["provider"],
                key_name=row["master_name"],
                key_version=row["master_version"],
                blob=row["wrapped_half"],
            ),
            created_at=row["created_at"],
        )
        for row in rows
    )


async def add_generation(connection: AsyncConnection, row: PatientKeyRow) -> None:
    """Insert one generation; raises `KeyConflict` when it stands there already."""
    values = {
        "tenant": row.tenant,
        "patient": row.patient,
        "generation": row.generation,
        "key_id": row.key_id,
        "state": row.state.value,
        "provider": row.wrap.provider,
        "master_name": row.wrap.key_name,
        "master_version": row.wrap.key_version,
        "wrapped_half": row.wrap.blob,
        "created_at": row.created_at,
    }
    try:
        async with connection.begin_nested():
            await connection.execute(insert(patient_keys).values(values))
    except IntegrityError:
        raise KeyConflict("another writer made this generation first") from None
