"""Patient keys as rows, and the only questions and changes that they allow.

Every function takes the connection, and so the transaction, of its caller.

Invariants:
- inserts never overwrite; two makers of the same generation end with the row that came first;
- every change is a compare-and-swap along `lifecycle.MOVES`; whoever comes second is told so;
- whoever relies on how a patient's generations stand, while it writes, holds them (`hold`): a rotation waits for it,
  or it sees what the rotation did.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from keys.errors import KeyConflict
from keys.ids import Generation, KeyId, PatientRef, TenantId
from keys.lifecycle import KeyState, sources_of
from keys.master.protocol import MasterWrap
from keys.tables import patient_keys


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
    return tuple(patient_key_row(row) for row in (await connection.execute(question)).mappings())


async def hold(
    connection: AsyncConnection, tenant: TenantId, patient: PatientRef, *, to_change: bool = False
) -> tuple[PatientKeyRow, ...]:
    """As `generations`, which stay as they are until the caller's transaction ends.

    Those who rely on them hold them together; whoever changes them holds them alone.
    """
    lock = select(patient_keys.c.key_id).where(
        patient_keys.c.tenant == tenant, patient_keys.c.patient == patient
    )
    # A statement of its own: what it waited for is seen by the next one only. SQLite has one writer at a time anyway.
    await connection.execute(lock.with_for_update(read=not to_change))
    return await generations(connection, tenant, patient)


async def move(connection: AsyncConnection, key_id: KeyId, target: KeyState, *, now: dt.datetime) -> None:
    """One step of `lifecycle.MOVES`; raises `KeyConflict` when the generation does not stand before it."""
    values: dict[str, Any] = {"state": target.value, "state_since": now}
    if target is KeyState.RETIRED:
        values["wrapped_half"] = b""
    change = (
        update(patient_keys)
        .where(patient_keys.c.key_id == key_id, patient_keys.c.state.in_(sources_of(target)))
        .values(values)
        .returning(patient_keys.c.key_id)
    )
    if (await connection.execute(change)).one_or_none() is None:
        raise KeyConflict(f"a generation cannot become {target.value} from where it stands")


def patient_key_row(row: Mapping[Any, Any]) -> PatientKeyRow:
    """A row of the table as a value."""
    return PatientKeyRow(
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
        "state_since": row.created_at,
    }
    try:
        async with connection.begin_nested():
            await connection.execute(insert(patient_keys).values(values))
    except IntegrityError:
        raise KeyConflict("another writer made this generation first") from None
