"""What a rotation of patient keys asks and changes, beyond one patient's generations (`keys.keyring`).

Every function takes the connection, and so the transaction, of its caller.

Invariants: patients come by keyset, so that a page costs the same wherever it is; wraps are held while they are
replaced, so that neither another runner nor a deletion comes between reading and writing.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Integer,
    LargeBinary,
    Select,
    Uuid,
    bindparam,
    case,
    column,
    exists,
    func,
    not_,
    select,
    tuple_,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.types import TypeEngine

from keys.ids import Generation, KeyId, PatientRef, RecordingId, TenantId, parse_patient, parse_tenant
from keys.lifecycle import KeyState
from keys.recording_wraps import RecordingWrap
from keys.tables import patient_keys, recording_wraps
from vault.catalog.key_jobs import JobId
from vault.catalog.tables import key_job_errors, recordings

_HALF_WAY: Final = (KeyState.PREPARED.value, KeyState.DEACTIVATED.value)


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose keys: everybody's, a tenant's, or one patient's."""

    tenant: TenantId | None = None
    patient: PatientRef | None = None


@dataclass(frozen=True, slots=True, order=True)
class Patient:
    """One patient, and where a page ends; as text `tenant/patient`."""

    tenant: TenantId
    patient: PatientRef

    def __str__(self) -> str:
        return f"{self.tenant}/{self.patient}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """From its text; raises `MalformedId`."""
        tenant, _, patient = text.partition("/")
        return cls(parse_tenant(tenant), parse_patient(patient))


@dataclass(frozen=True, slots=True)
class KeysInState:
    """How many patient keys stand in one state, and how many recordings are wrapped under them."""

    state: str
    keys: int
    recordings: int


@dataclass(frozen=True, slots=True)
class HeldWrap:
    """A wrap, and the id of the recording key inside it."""

    wrap: RecordingWrap
    recording_key_id: KeyId


async def unrotated(
    connection: AsyncConnection,
    scope: Scope,
    *,
    requested_at: dt.datetime,
    job_id: JobId,
    after: Patient | None,
    limit: int,
) -> tuple[Patient, ...]:
    """Patients whose newest key is older than the request, or who stand half-way, in order.

    Those whom the job has named in its errors are left out: it is done with them.
    """
    named = exists().where(
        key_job_errors.c.job_id == job_id,
        key_job_errors.c.item == patient_keys.c.tenant + "/" + patient_keys.c.patient,
    )
    question = (
        _unrotated(scope, requested_at)
        .where(not_(named))
        .order_by(patient_keys.c.tenant, patient_keys.c.patient)
    )
    if after is not None:
        place = tuple_(patient_keys.c.tenant, patient_keys.c.patient)
        question = question.where(place > (after.tenant, after.patient))
    rows = await connection.execute(question.limit(limit))
    return tuple(Patient(TenantId(row.tenant), PatientRef(row.patient)) for row in rows)


async def count_unrotated(connection: AsyncConnection, scope: Scope, *, requested_at: dt.datetime) -> int:
    """How many `unrotated` would give."""
    inner = _unrotated(scope, requested_at).subquery()
    return int(await connection.scalar(select(func.count()).select_from(inner)) or 0)


async def count_wraps(connection: AsyncConnection, scope: Scope) -> int:
    """How many recording wraps stand under active keys of these patients: what a rotation moves."""
    question = (
        select(func.count())
        .select_from(
            recording_wraps.join(patient_keys, patient_keys.c.key_id == recording_wraps.c.patient_key_id)
        )
        .where(patient_keys.c.state == KeyState.ACTIVE.value, *within(scope))
    )
    return int(await connection.scalar(question) or 0)


async def census(connection: AsyncConnection, *, tenant: TenantId | None = None) -> tuple[KeysInState, ...]:
    """How many patient keys, of one tenant or of all, stand in each state, and how many recording wraps under them."""
    wraps = (
        select(recording_wraps.c.patient_key_id, func.count().label("wraps"))
        .group_by(recording_wraps.c.patient_key_id)
        .subquery()
    )
    question = (
        select(
            patient_keys.c.state,
            func.count().label("keys"),
            func.coalesce(func.sum(wraps.c.wraps), 0).label("recordings"),
        )
        .select_from(patient_keys.outerjoin(wraps, wraps.c.patient_key_id == patient_keys.c.key_id))
        .where(*within(Scope(tenant)))
        .group_by(patient_keys.c.state)
    )
    found = {
        row.state: KeysInState(row.state, row[1], int(row[2])) for row in await connection.execute(question)
    }
    return tuple(found[state.value] for state in KeyState if state.value in found)


async def seals_anything(connection: AsyncConnection, key_id: KeyId) -> bool:
    """Whether a recording is wrapped under this patient key."""
    question = select(exists().where(recording_wraps.c.patient_key_id == key_id))
    return bool(await connection.scalar(question))


async def hold_wraps(
    connection: AsyncConnection, key_id: KeyId, *, after: RecordingId | None, limit: int
) -> tuple[HeldWrap, ...]:
    """Wraps under one patient key, by recording, held until the caller's transaction ends."""
    question = (
        select(recording_wraps, recordings.c.key_id)
        .join(recordings, recordings.c.id == recording_wraps.c.recording_id)
        .where(recording_wraps.c.patient_key_id == key_id)
        .order_by(recording_wraps.c.recording_id)
        .limit(limit)
        .with_for_update(of=recording_wraps)
    )
    if after is not None:
        question = question.where(recording_wraps.c.recording_id > after)
    return tuple(
        HeldWrap(
            RecordingWrap(
                recording_id=RecordingId(row["recording_id"]),
                patient_key_id=KeyId(row["patient_key_id"]),
                generation=Generation(row["generation"]),
                wrapped=row["wrapped"],
            ),
            KeyId(row["key_id"]),
        )
        for row in (await connection.execute(question)).mappings()
    )


async def replace_wraps(
    connection: AsyncConnection, old: KeyId, new: Sequence[RecordingWrap], *, now: dt.datetime
) -> None:
    """Put each of these in the place of its recording's wrap under `old`; the caller holds them."""
    if not new:
        return
    if connection.dialect.name == "postgresql":
        await _replace_in_one(connection, old, new, now=now)
        return
    change = (
        update(recording_wraps)
        .where(
            recording_wraps.c.recording_id == bindparam("of_recording"),
            recording_wraps.c.patient_key_id == bindparam("old_key"),
        )
        .values(
            patient_key_id=bindparam("new_key"),
            generation=bindparam("new_generation"),
            wrapped=bindparam("new_wrapped"),
            created_at=bindparam("moved_at"),
        )
    )
    values = [
        {
            "of_recording": wrap.recording_id,
            "old_key": old,
            "new_key": wrap.patient_key_id,
            "new_generation": wrap.generation,
            "new_wrapped": wrap.wrapped,
            "moved_at": now,
        }
        for wrap in new
    ]
    await connection.execute(change, values)


async def _replace_in_one(
    connection: AsyncConnection, old: KeyId, new: Sequence[RecordingWrap], *, now: dt.datetime
) -> None:
    """One statement for all rows: one for each costs as much as opening and wrapping the key does."""
    columns: dict[str, tuple[TypeEngine[Any], list[Any]]] = {
        "recording_id": (Uuid(), [wrap.recording_id for wrap in new]),
        "patient_key_id": (Uuid(), [wrap.patient_key_id for wrap in new]),
        "generation": (Integer(), [wrap.generation for wrap in new]),
        "wrapped": (LargeBinary(), [wrap.wrapped for wrap in new]),
    }
    arrays: list[Any] = [bindparam(None, values, type_=ARRAY(kind)) for kind, values in columns.values()]
    named: list[Any] = [column(name, kind) for name, (kind, _) in columns.items()]
    fresh = func.unnest(*arrays).table_valued(*named, name="fresh").render_derived()
    change = (
        update(recording_wraps)
        .where(
            recording_wraps.c.recording_id == fresh.c.recording_id, recording_wraps.c.patient_key_id == old
        )
        .values(
            patient_key_id=fresh.c.patient_key_id,
            generation=fresh.c.generation,
            wrapped=fresh.c.wrapped,
            created_at=now,
        )
    )
    await connection.execute(change)


def _unrotated(scope: Scope, requested_at: dt.datetime) -> Select[tuple[str, str]]:
    half_way = func.sum(case((patient_keys.c.state.in_(_HALF_WAY), 1), else_=0))
    return (
        select(patient_keys.c.tenant, patient_keys.c.patient)
        .where(patient_keys.c.state != KeyState.RETIRED.value, *within(scope))
        .group_by(patient_keys.c.tenant, patient_keys.c.patient)
        .having((func.max(patient_keys.c.created_at) < requested_at) | (half_way > 0))
    )


def within(scope: Scope) -> tuple[ColumnElement[bool], ...]:
    """Conditions on `patient_keys` that leave these patients' rows."""
    limits = []
    if scope.tenant is not None:
        limits.append(patient_keys.c.tenant == scope.tenant)
    if scope.patient is not None:
        limits.append(patient_keys.c.patient == scope.patient)
    return tuple(limits)
