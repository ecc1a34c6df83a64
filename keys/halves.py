"""Master halves in bulk: which stand under which master key, and how they come under another one.

Every function takes the connection, and so the transaction, of its caller.

Invariants: a half is replaced by compare-and-swap on its old wrap, so that two runners never undo each other's work;
retired generations have no half and are counted nowhere.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, and_, bindparam, func, not_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from keys.ids import KeyId, TenantId
from keys.keyring import PatientKeyRow, patient_key_row
from keys.lifecycle import KeyState
from keys.master.protocol import MasterWrap
from keys.tables import patient_keys


@dataclass(frozen=True, slots=True, order=True)
class MasterPlace:
    """One version of one master key, wherever it lives."""

    provider: str
    key_name: str
    key_version: int


@dataclass(frozen=True, slots=True)
class HalvesUnder:
    """How many halves stand under one version of a master key, and the oldest of them."""

    place: MasterPlace
    count: int
    oldest_at: dt.datetime


async def elsewhere(
    connection: AsyncConnection, current: MasterPlace, *, after: KeyId | None, limit: int
) -> tuple[PatientKeyRow, ...]:
    """Rows whose half is not under `current`, by key id."""
    question = select(patient_keys).where(_is_elsewhere(current)).order_by(patient_keys.c.key_id).limit(limit)
    if after is not None:
        question = question.where(patient_keys.c.key_id > after)
    return tuple(patient_key_row(row) for row in (await connection.execute(question)).mappings())


async def count_elsewhere(connection: AsyncConnection, current: MasterPlace) -> int:
    """How many halves are not under `current`."""
    question = select(func.count()).select_from(patient_keys).where(_is_elsewhere(current))
    return int(await connection.scalar(question) or 0)


async def count_under(connection: AsyncConnection, place: MasterPlace) -> int:
    """How many halves are under `place`."""
    question = select(func.count()).select_from(patient_keys).where(_is_under(place), _has_half())
    return int(await connection.scalar(question) or 0)


async def count_up_to(connection: AsyncConnection, place: MasterPlace) -> int:
    """How many halves are under `place` and the versions before it."""
    question = select(func.count()).select_from(patient_keys).where(_is_up_to(place), _has_half())
    return int(await connection.scalar(question) or 0)


async def some_up_to(connection: AsyncConnection, place: MasterPlace, *, limit: int) -> tuple[KeyId, ...]:
    """A few patient keys whose half is under `place` or a version before it."""
    question = (
        select(patient_keys.c.key_id)
        .where(_is_up_to(place), _has_half())
        .order_by(patient_keys.c.key_id)
        .limit(limit)
    )
    return tuple(KeyId(each) for each in await connection.scalars(question))


async def replace(connection: AsyncConnection, changes: Sequence[tuple[PatientKeyRow, MasterWrap]]) -> None:
    """Put each row's new wrap in the place of the one that was read; rows that changed meanwhile stay."""
    change = (
        update(patient_keys)
        .where(
            patient_keys.c.key_id == bindparam("of_key"), patient_keys.c.wrapped_half == bindparam("old_half")
        )
        .values(
            provider=bindparam("new_provider"),
            master_name=bindparam("new_name"),
            master_version=bindparam("new_version"),
            wrapped_half=bindparam("new_half"),
        )
    )
    values = [
        {
            "of_key": row.key_id,
            "old_half": row.wrap.blob,
            "new_provider": wrap.provider,
            "new_name": wrap.key_name,
            "new_version": wrap.key_version,
            "new_half": wrap.blob,
        }
        for row, wrap in changes
    ]
    if values:
        await connection.execute(change, values)


async def census(connection: AsyncConnection, *, tenant: TenantId | None = None) -> tuple[HalvesUnder, ...]:
    """How many halves, of one tenant or of all, stand under each version of each master key."""
    columns = (patient_keys.c.provider, patient_keys.c.master_name, patient_keys.c.master_version)
    question = (
        select(*columns, func.count().label("halves"), func.min(patient_keys.c.created_at).label("oldest"))
        .where(_has_half())
        .group_by(*columns)
        .order_by(*columns)
    )
    if tenant is not None:
        question = question.where(patient_keys.c.tenant == tenant)
    return tuple(
        HalvesUnder(MasterPlace(row.provider, row.master_name, row.master_version), row.halves, row.oldest)
        for row in await connection.execute(question)
    )


async def one_under(connection: AsyncConnection, place: MasterPlace) -> PatientKeyRow | None:
    """Any one row whose half is under `place`; None where there is none."""
    question = select(patient_keys).where(_is_under(place), _has_half()).limit(1)
    row = (await connection.execute(question)).mappings().one_or_none()
    return None if row is None else patient_key_row(row)


def _has_half() -> ColumnElement[bool]:
    return patient_keys.c.state != KeyState.RETIRED.value


def _is_under(place: MasterPlace) -> ColumnElement[bool]:
    return and_(
        patient_keys.c.provider == place.provider,
        patient_keys.c.master_name == place.key_name,
        patient_keys.c.master_version == place.key_version,
    )


def _is_up_to(place: MasterPlace) -> ColumnElement[bool]:
    return and_(
        patient_keys.c.provider == place.provider,
        patient_keys.c.master_name == place.key_name,
        patient_keys.c.master_version <= place.key_version,
    )


def _is_elsewhere(current: MasterPlace) -> ColumnElement[bool]:
    return not_(_is_under(current)) & _has_half()
