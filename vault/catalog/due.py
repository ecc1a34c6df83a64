"""What is old enough to be replaced: patient keys, and generations that are drained.

Every function takes the connection of its caller.

Invariant: a question reads what is due and no more, up to `COUNTED` rows of it.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Final

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.schema import Column

from keys.ids import TenantId
from keys.lifecycle import KeyState
from keys.tables import patient_keys

COUNTED: Final = 10_000


@dataclass(frozen=True, slots=True)
class Aged:
    """How many keys are due, counted up to `COUNTED`, and since when the oldest stands where it stands."""

    count: int
    oldest_at: dt.datetime | None


async def old_patient_keys(
    connection: AsyncConnection, *, before: dt.datetime, tenant: TenantId | None
) -> Aged:
    """Active patient keys that were made before a moment."""
    age = patient_keys.c.created_at
    return await _aged(connection, age, KeyState.ACTIVE, age < before, tenant=tenant)


async def drained_keys(connection: AsyncConnection, *, before: dt.datetime, tenant: TenantId | None) -> Aged:
    """Former generations that have wrapped nothing since before a moment, and are kept all the same."""
    age = patient_keys.c.state_since
    return await _aged(connection, age, KeyState.DRAINING, age < before, tenant=tenant)


async def _aged(
    connection: AsyncConnection,
    age: Column[dt.datetime],
    state: KeyState,
    is_due: ColumnElement[bool],
    *,
    tenant: TenantId | None,
) -> Aged:
    found = select(age.label("since")).where(patient_keys.c.state == state.value, is_due)
    if tenant is not None:
        found = found.where(patient_keys.c.tenant == tenant)
    due = found.order_by(age).limit(COUNTED).subquery()
    row = (await connection.execute(select(func.count(), func.min(due.c.since)).select_from(due))).one()
    return Aged(int(row[0]), row[1])
