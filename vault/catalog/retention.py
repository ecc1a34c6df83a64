"""How long recordings are to be kept: classes of a tenant, patients in them, and who is past theirs.

Every function takes the connection, and so the transaction, of its caller.

Invariants: whoever is past a class is named here and erased nowhere; a tenant has at most one default class; patients
come by keyset, each page in one bounded statement.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, insert, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from keys.ids import PatientRef, TenantId
from vault.catalog.errors import UnknownClass, UnknownPatient
from vault.catalog.rotation import Patient
from vault.catalog.states import RecordingState
from vault.catalog.tables import patients, recordings, retention_classes


@dataclass(frozen=True, slots=True)
class RetentionClass:
    """Recordings are kept for `keep_days` after the patient's newest one. The default holds for whoever has none."""

    tenant: TenantId
    name: str
    keep_days: int
    is_default: bool


@dataclass(frozen=True, slots=True)
class LastSeen:
    """A patient, the class that was named for them, and when their newest recording was made (None: has none)."""

    patient: Patient
    retention_class: str | None
    newest_at: dt.datetime | None


async def set_class(connection: AsyncConnection, wanted: RetentionClass) -> None:
    """Make or change a class; a new default takes the place of the old one."""
    of_tenant = retention_classes.c.tenant == wanted.tenant
    if wanted.is_default:
        await connection.execute(update(retention_classes).where(of_tenant).values(is_default=False))
    values = {"keep_days": wanted.keep_days, "is_default": wanted.is_default}
    change = update(retention_classes).where(of_tenant, retention_classes.c.name == wanted.name)
    changed = await connection.execute(change.values(values).returning(retention_classes.c.name))
    if changed.one_or_none() is None:
        row = {"tenant": wanted.tenant, "name": wanted.name, **values}
        await connection.execute(insert(retention_classes).values(row))


async def classes(
    connection: AsyncConnection, *, tenant: TenantId | None = None
) -> tuple[RetentionClass, ...]:
    """Classes of a tenant, or of all, by name."""
    question = select(retention_classes).order_by(retention_classes.c.tenant, retention_classes.c.name)
    if tenant is not None:
        question = question.where(retention_classes.c.tenant == tenant)
    return tuple(
        RetentionClass(TenantId(row.tenant), row.name, row.keep_days, row.is_default)
        for row in await connection.execute(question)
    )


async def assign(
    connection: AsyncConnection, tenant: TenantId, patient: PatientRef, name: str | None
) -> None:
    """Put a patient into a class, or back into the default; raises `UnknownClass` or `UnknownPatient`."""
    if name is not None and name not in {each.name for each in await classes(connection, tenant=tenant)}:
        raise UnknownClass(
            "the tenant has no such class: `replayvault keys retention ls` shows those there are"
        )
    change = (
        update(patients)
        .where(patients.c.tenant == tenant, patients.c.patient == patient)
        .values(retention_class=name)
        .returning(patients.c.patient)
    )
    if (await connection.execute(change)).one_or_none() is None:
        raise UnknownPatient("the tenant has no such patient: nothing was ever announced for one")


async def last_seen(
    connection: AsyncConnection, tenant: TenantId, *, after: PatientRef | None, limit: int
) -> Sequence[LastSeen]:
    """A page of a tenant's patients, in order."""
    newest = (
        select(func.max(recordings.c.created_at))
        .where(
            recordings.c.tenant == patients.c.tenant,
            recordings.c.patient == patients.c.patient,
            recordings.c.state != RecordingState.DELETED.value,
        )
        .scalar_subquery()
        .label("newest")
    )
    question = (
        select(patients.c.tenant, patients.c.patient, patients.c.retention_class, newest)
        .where(patients.c.tenant == tenant)
        .order_by(patients.c.tenant, patients.c.patient)
        .limit(limit)
    )
    if after is not None:
        question = question.where(tuple_(patients.c.tenant, patients.c.patient) > (tenant, after))
    return [
        LastSeen(Patient(tenant, PatientRef(row.patient)), row.retention_class, row.newest)
        for row in await connection.execute(question)
    ]
