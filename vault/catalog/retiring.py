"""What retiring asks about patient keys that drain.

Every function takes the connection, and so the transaction, of its caller.

Invariant: a session counts as carrying a generation unless it was surely begun after that was handed out no more.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Final

from sqlalchemy import ColumnElement, and_, exists, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from keys.ids import KeyId
from keys.keyring import PatientKeyRow, patient_key_row
from keys.lifecycle import KeyState
from keys.records import Kind
from keys.tables import patient_keys, recording_wraps
from vault.catalog.rotation import Scope, within
from vault.catalog.tables import sessions

# Clocks of two hosts may differ: one dates sessions, another one the end of a rotation.
_SKEW: Final = dt.timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Draining:
    """A generation that is handed out no more, and since when."""

    row: PatientKeyRow
    since: dt.datetime


@dataclass(frozen=True, slots=True)
class DrainingCount:
    """How many generations drain: for long enough, and not yet; `sealing` of the former still seal a recording."""

    due: int
    soaking: int
    sealing: int


async def draining(
    connection: AsyncConnection, scope: Scope, *, before: dt.datetime, after: KeyId | None, limit: int
) -> tuple[Draining, ...]:
    """Generations of these patients that drain since `before` or earlier, by key id."""
    question = (
        select(patient_keys)
        .where(*_drains(scope), patient_keys.c.state_since <= before)
        .order_by(patient_keys.c.key_id)
        .limit(limit)
    )
    if after is not None:
        question = question.where(patient_keys.c.key_id > after)
    rows = (await connection.execute(question)).mappings()
    return tuple(Draining(patient_key_row(row), row["state_since"]) for row in rows)


async def count_draining(connection: AsyncConnection, scope: Scope, *, before: dt.datetime) -> DrainingCount:
    """How many of them there are."""
    sealing = exists().where(recording_wraps.c.patient_key_id == patient_keys.c.key_id)
    return DrainingCount(
        due=await _count(connection, *_drains(scope), patient_keys.c.state_since <= before),
        soaking=await _count(connection, *_drains(scope), patient_keys.c.state_since > before),
        sealing=await _count(connection, *_drains(scope), patient_keys.c.state_since <= before, sealing),
    )


async def is_carried(connection: AsyncConnection, key: Draining, *, now: dt.datetime) -> bool:
    """Whether a live session may carry it. Tickets do not count: they carry the key of their recording."""
    carries = and_(
        sessions.c.tenant == key.row.tenant,
        sessions.c.patient == key.row.patient,
        sessions.c.kind == Kind.SESSION.value,
        sessions.c.generation >= key.row.generation,
        sessions.c.issued_at <= key.since + _SKEW,
        sessions.c.revoked_at.is_(None),
        sessions.c.expires_at > now,
    )
    return bool(await connection.scalar(select(exists().where(carries))))


async def _count(connection: AsyncConnection, *conditions: ColumnElement[bool]) -> int:
    return int(
        await connection.scalar(select(func.count()).select_from(patient_keys).where(*conditions)) or 0
    )


def _drains(scope: Scope) -> tuple[ColumnElement[bool], ...]:
    return (patient_keys.c.state == KeyState.DRAINING.value, *within(scope))
