"""Leaks that were declared, and the steps that answer them, as far as they are.

Every function takes the connection, and so the transaction, of its caller.

Invariants: a step that is done stays done; a step that is a job is written down in the transaction that asks for it.
"""

from __future__ import annotations

import datetime as dt
import enum
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NewType

from sqlalchemy import func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from keys.ids import PatientRef, RecordingId, TenantId
from vault.catalog.errors import UnknownCompromise
from vault.catalog.key_jobs import JobId
from vault.catalog.tables import compromise_steps, compromises

CompromiseId = NewType("CompromiseId", uuid.UUID)


class Leak(enum.Enum):
    """What leaked."""

    MASTER = "master"  # a version of the master key, by itself
    VAULT = "vault"  # the master key together with the catalog and the share store
    PATIENT = "patient"  # one patient's key
    RECORDING = "recording"  # one recording's key
    TIER = "tier"  # the tier secret
    TOKEN = "token"  # noqa: S105 - a backend's service token


@dataclass(frozen=True, slots=True, kw_only=True)
class Compromise:
    """One declared leak. Which of the narrowing fields are set depends on `leak`."""

    compromise_id: CompromiseId
    leak: Leak
    reason: str
    declared_by: str
    declared_at: dt.datetime
    tenant: TenantId | None = None
    patient: PatientRef | None = None
    recording_id: RecordingId | None = None
    token_id: uuid.UUID | None = None
    master_version: int | None = None
    answered_at: dt.datetime | None = None


@dataclass(frozen=True, slots=True)
class BegunStep:
    """A step of an answer that was begun, and its job where it is one."""

    name: str
    job_id: JobId | None
    done_at: dt.datetime | None


async def declare(connection: AsyncConnection, compromise: Compromise) -> None:
    """Write a leak down."""
    await connection.execute(
        insert(compromises).values(
            id=compromise.compromise_id,
            leak=compromise.leak.value,
            tenant=compromise.tenant,
            patient=compromise.patient,
            recording_id=compromise.recording_id,
            token_id=compromise.token_id,
            master_version=compromise.master_version,
            reason=compromise.reason,
            declared_by=compromise.declared_by,
            declared_at=compromise.declared_at,
        )
    )


async def find(connection: AsyncConnection, compromise_id: CompromiseId) -> Compromise:
    """One leak; raises `UnknownCompromise`."""
    question = select(compromises).where(compromises.c.id == compromise_id)
    row = (await connection.execute(question)).mappings().one_or_none()
    if row is None:
        raise UnknownCompromise(
            "no such leak: `replayvault keys compromise ls` shows those that were declared"
        )
    return _compromise(row)


async def hold(connection: AsyncConnection, compromise_id: CompromiseId) -> None:
    """Keep others from beginning steps of its answer until the transaction ends."""
    await connection.execute(
        select(compromises.c.id).where(compromises.c.id == compromise_id).with_for_update()
    )


async def count_unanswered(connection: AsyncConnection, tenant: TenantId) -> int:
    """How many leaks of a tenant are not answered yet."""
    question = select(func.count()).where(compromises.c.tenant == tenant, compromises.c.answered_at.is_(None))
    return int(await connection.scalar(question) or 0)


async def latest(
    connection: AsyncConnection, *, limit: int, tenant: TenantId | None = None
) -> tuple[Compromise, ...]:
    """Leaks, of one tenant or all of them, the latest first."""
    question = select(compromises).order_by(compromises.c.declared_at.desc(), compromises.c.id).limit(limit)
    if tenant is not None:
        question = question.where(compromises.c.tenant == tenant)
    return tuple(_compromise(row) for row in (await connection.execute(question)).mappings())


async def steps_of(connection: AsyncConnection, compromise_id: CompromiseId) -> dict[str, BegunStep]:
    """The steps that were begun, by name."""
    question = select(compromise_steps).where(compromise_steps.c.compromise_id == compromise_id)
    return {
        row.name: BegunStep(row.name, None if row.job_id is None else JobId(row.job_id), row.done_at)
        for row in await connection.execute(question)
    }


async def begin_step(
    connection: AsyncConnection,
    compromise_id: CompromiseId,
    name: str,
    *,
    job_id: JobId | None,
    now: dt.datetime,
    is_done: bool = False,
) -> None:
    """Write a step down, or give one that was begun another job."""
    values = {"job_id": job_id, "begun_at": now, "done_at": now if is_done else None}
    changed = await connection.execute(
        update(compromise_steps)
        .where(compromise_steps.c.compromise_id == compromise_id, compromise_steps.c.name == name)
        .values(values)
        .returning(compromise_steps.c.name)
    )
    if changed.one_or_none() is None:
        await connection.execute(
            insert(compromise_steps).values(compromise_id=compromise_id, name=name, **values)
        )


async def end_step(
    connection: AsyncConnection, compromise_id: CompromiseId, name: str, *, now: dt.datetime
) -> None:
    """A step came to its end."""
    await connection.execute(
        update(compromise_steps)
        .where(
            compromise_steps.c.compromise_id == compromise_id,
            compromise_steps.c.name == name,
            compromise_steps.c.done_at.is_(None),
        )
        .values(done_at=now)
    )


async def answer(connection: AsyncConnection, compromise_id: CompromiseId, *, now: dt.datetime) -> None:
    """All that this release does by itself is done."""
    await connection.execute(
        update(compromises)
        .where(compromises.c.id == compromise_id, compromises.c.answered_at.is_(None))
        .values(answered_at=now)
    )


def _compromise(row: Mapping[Any, Any]) -> Compromise:
    return Compromise(
        compromise_id=CompromiseId(row["id"]),
        leak=Leak(row["leak"]),
        reason=row["reason"],
        declared_by=row["declared_by"],
        declared_at=row["declared_at"],
        tenant=None if row["tenant"] is None else TenantId(row["tenant"]),
        patient=None if row["patient"] is None else PatientRef(row["patient"]),
        recording_id=None if row["recording_id"] is None else RecordingId(row["recording_id"]),
        token_id=row["token_id"],
        master_version=row["master_version"],
        answered_at=row["answered_at"],
    )
