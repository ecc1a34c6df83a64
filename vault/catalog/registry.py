"""Which sessions and tickets were handed out: the registry that rotation waits on and that revocation writes.

Holds record ids (hashes of tokens) and no token. Every function takes the connection of its caller.

Invariant: a session is registered before its token leaves, so none is unknown here.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, case, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from keys.ids import Generation, PatientRef, TenantId
from keys.records import Kind, RecordId
from vault.catalog.tables import sessions


@dataclass(frozen=True, slots=True)
class Registered:
    """One session or ticket. `issuer` names who asked for it, `parent` the session that it came of."""

    record_id: RecordId
    kind: Kind
    tenant: TenantId
    patient: PatientRef
    parent: RecordId | None
    issuer: str
    generation: Generation
    issued_at: dt.datetime
    expires_at: dt.datetime
    revoked_at: dt.datetime | None = None


async def register(connection: AsyncConnection, entry: Registered) -> None:
    """Write down a session or ticket before its token leaves."""
    await connection.execute(
        insert(sessions).values(
            id=entry.record_id,
            kind=entry.kind.value,
            tenant=entry.tenant,
            patient=entry.patient,
            parent=entry.parent,
            issuer=entry.issuer,
            generation=entry.generation,
            issued_at=entry.issued_at,
            expires_at=entry.expires_at,
        ),
    )


async def standing(connection: AsyncConnection, record_ids: Sequence[RecordId], *, now: dt.datetime) -> bool:
    """Whether all of these are registered and not ended, whatever Redis says."""
    question = (
        select(func.count())
        .select_from(sessions)
        .where(sessions.c.id.in_(record_ids), sessions.c.revoked_at.is_(None), sessions.c.expires_at > now)
    )
    return await connection.scalar(question) == len(record_ids)


async def lacking(
    connection: AsyncConnection,
    tenant: TenantId,
    patient: PatientRef,
    *,
    generation: Generation,
    now: dt.datetime,
) -> dt.datetime | None:
    """When the last live session that lacks a generation of its patient's key ends; None where none lacks it.

    Tickets do not count: they carry the key of their recording.
    """
    question = select(func.max(sessions.c.expires_at)).where(
        sessions.c.tenant == tenant,
        sessions.c.patient == patient,
        sessions.c.kind == Kind.SESSION.value,
        sessions.c.generation < generation,
        sessions.c.revoked_at.is_(None),
        sessions.c.expires_at > now,
    )
    end: dt.datetime | None = await connection.scalar(question)
    return end


async def alive(
    connection: AsyncConnection,
    tenant: TenantId,
    *,
    patient: PatientRef | None,
    now: dt.datetime,
    limit: int,
) -> tuple[Registered, ...]:
    """Sessions and tickets that have not ended, the latest to expire first."""
    question = (
        select(sessions)
        .where(sessions.c.tenant == tenant, sessions.c.expires_at > now, sessions.c.revoked_at.is_(None))
        .order_by(sessions.c.expires_at.desc(), sessions.c.id)
        .limit(limit)
    )
    if patient is not None:
        question = question.where(sessions.c.patient == patient)
    return tuple(
        Registered(
            record_id=RecordId(row["id"]),
            kind=Kind(row["kind"]),
            tenant=TenantId(row["tenant"]),
            patient=PatientRef(row["patient"]),
            parent=None if row["parent"] is None else RecordId(row["parent"]),
            issuer=row["issuer"],
            generation=Generation(row["generation"]),
            issued_at=row["issued_at"],
            expires_at=row["expires_at"],
        )
        for row in (await connection.execute(question)).mappings()
    )


async def count_alive(
    connection: AsyncConnection,
    tenant: TenantId | None,
    patient: PatientRef | None,
    *,
    now: dt.datetime,
) -> int:
    """How many sessions and tickets have not ended: anybody's, a tenant's or one patient's."""
    question = (
        select(func.count())
        .select_from(sessions)
        .where(sessions.c.expires_at > now, sessions.c.revoked_at.is_(None))
    )
    if tenant is not None:
        question = question.where(sessions.c.tenant == tenant)
    if patient is not None:
        question = question.where(sessions.c.patient == patient)
    return int(await connection.scalar(question) or 0)


async def revoke_one(
    connection: AsyncConnection, tenant: TenantId, record_id: RecordId, *, now: dt.datetime
) -> tuple[RecordId, ...]:
    """End one session and all that came of it: tickets, refreshed sessions, and theirs. Empty where there is none."""
    family = (
        select(sessions.c.id)
        .where(sessions.c.tenant == tenant, sessions.c.id == record_id)
        .cte("family", recursive=True)
    )
    family = family.union(select(sessions.c.id).where(sessions.c.parent == family.c.id))
    ended: tuple[RecordId, ...] = ()
    # Once more after each success: a refresh that was under way may have added one meanwhile.
    while more := await _revoke(connection, tenant, sessions.c.id.in_(select(family.c.id)), now=now):
        ended += more
    return ended


async def revoke_patient(
    connection: AsyncConnection, tenant: TenantId, patient: PatientRef, *, now: dt.datetime
) -> tuple[RecordId, ...]:
    """End every session and ticket of a patient."""
    return await _revoke(connection, tenant, sessions.c.patient == patient, now=now)


async def revoke_tenant(
    connection: AsyncConnection, tenant: TenantId, *, now: dt.datetime
) -> tuple[RecordId, ...]:
    """End every session and ticket of a tenant."""
    return await _revoke(connection, tenant, sessions.c.tenant == tenant, now=now)


async def last_ticket_end(
    connection: AsyncConnection, record_id: RecordId, *, now: dt.datetime
) -> dt.datetime | None:
    """When the last live ticket of a session ends; None where it has none."""
    question = select(func.max(sessions.c.expires_at)).where(
        sessions.c.parent == record_id,
        sessions.c.kind == Kind.TICKET.value,
        sessions.c.revoked_at.is_(None),
        sessions.c.expires_at > now,
    )
    end: dt.datetime | None = await connection.scalar(question)
    return end


async def last_end(
    connection: AsyncConnection, *, issued_by: dt.datetime, now: dt.datetime
) -> dt.datetime | None:
    """When the last live session or ticket ends, anybody's, that was issued by a moment; None where there is none."""
    question = select(func.max(sessions.c.expires_at)).where(
        sessions.c.issued_at <= issued_by, sessions.c.revoked_at.is_(None), sessions.c.expires_at > now
    )
    end: dt.datetime | None = await connection.scalar(question)
    return end


async def shorten(
    connection: AsyncConnection, record_id: RecordId, *, now: dt.datetime, expires_at: dt.datetime
) -> bool:
    """Let a session that is being refreshed end by `expires_at`; False where it has ended meanwhile.

    Its row stays locked until the caller's transaction ends: a revoke comes wholly before it or wholly after.
    """
    change = (
        update(sessions)
        .where(sessions.c.id == record_id, sessions.c.revoked_at.is_(None), sessions.c.expires_at > now)
        .values(
            expires_at=case((sessions.c.expires_at > expires_at, expires_at), else_=sessions.c.expires_at)
        )
        .returning(sessions.c.id)
    )
    return (await connection.execute(change)).one_or_none() is not None


async def _revoke(
    connection: AsyncConnection, tenant: TenantId, which: ColumnElement[bool], *, now: dt.datetime
) -> tuple[RecordId, ...]:
    change = (
        update(sessions)
        .where(
            sessions.c.tenant == tenant, which, sessions.c.revoked_at.is_(None), sessions.c.expires_at > now
        )
        .values(revoked_at=now)
        .returning(sessions.c.id)
    )
    revoked: Sequence[bytes] = (await connection.scalars(change)).all()
    return tuple(RecordId(each) for each in revoked)


async def tenants(connection: AsyncConnection) -> tuple[TenantId, ...]:
    """Every tenant that was ever given a session or ticket."""
    found = await connection.scalars(select(sessions.c.tenant).distinct().order_by(sessions.c.tenant))
    return tuple(TenantId(each) for each in found)
