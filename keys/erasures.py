"""Erasures and legal holds as rows of the share store, beside the shares that they end.

Every function takes the connection, and so the transaction, of its caller.

Invariants:
- a patient has one erasure that is not cancelled;
- every change is a compare-and-swap along `erasure.MOVES`; whoever comes second is told so;
- the share goes in the transaction that says so, and a patient under a legal hold never comes near it.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NewType

from sqlalchemy import delete, exists, insert, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from keys.erasure import FINAL, ErasureState, sources_of
from keys.errors import ErasureRefused, OnLegalHold, UnknownErasure
from keys.ids import PatientRef, TenantId
from keys.tables import erasure_shares, erasures, legal_holds

ErasureId = NewType("ErasureId", uuid.UUID)


@dataclass(frozen=True, slots=True, kw_only=True)
class ErasureRow:
    """One erasure. `evidence` and `certificate` are JSON texts of `vault.erasure`."""

    erasure_id: ErasureId
    tenant: TenantId
    patient: PatientRef
    state: ErasureState
    reason: str
    requested_by: str
    requested_at: dt.datetime
    hold_s: int
    approved_by: str | None = None
    hold_until: dt.datetime | None = None
    destroyed_at: dt.datetime | None = None
    backups_expire_at: dt.datetime | None = None
    ended_at: dt.datetime | None = None
    evidence: str | None = None
    certificate: str | None = None


@dataclass(frozen=True, slots=True)
class LegalHold:
    """Somebody's duty to keep what a patient's recordings show."""

    tenant: TenantId
    patient: PatientRef
    reason: str
    placed_by: str
    placed_at: dt.datetime


async def ask(connection: AsyncConnection, row: ErasureRow) -> None:
    """Insert a request; raises `ErasureRefused` under a legal hold, and where an erasure of the patient stands."""
    await require_no_hold(connection, row.tenant, row.patient)
    values = {name: getattr(row, name) for name in ErasureRow.__slots__ if name != "erasure_id"}
    try:
        async with connection.begin_nested():
            await connection.execute(
                insert(erasures).values(values | {"id": row.erasure_id, "state": row.state.value})
            )
    except IntegrityError:
        raise ErasureRefused(
            "an erasure of this patient stands already: `replayvault keys erase status` shows it"
        ) from None


async def find(connection: AsyncConnection, erasure_id: ErasureId, *, held: bool = False) -> ErasureRow:
    """One erasure, which stays as it is where it is `held`; raises `UnknownErasure`."""
    question = select(erasures).where(erasures.c.id == erasure_id)
    if held:
        question = question.with_for_update()
    row = (await connection.execute(question)).mappings().one_or_none()
    if row is None:
        raise UnknownErasure("no such erasure: `replayvault keys erase status` shows those there are")
    return _erasure(row)


async def of_patient(
    connection: AsyncConnection, tenant: TenantId, patient: PatientRef, *, held: bool = False
) -> ErasureRow | None:
    """The patient's erasure that is not cancelled; None where there is none.

    Where it is `held`, it stays as it is until the caller's transaction ends.
    """
    question = select(erasures).where(
        erasures.c.tenant == tenant,
        erasures.c.patient == patient,
        erasures.c.state != ErasureState.CANCELLED.value,
    )
    if held:
        question = question.with_for_update()
    row = (await connection.execute(question)).mappings().one_or_none()
    return None if row is None else _erasure(row)


async def is_decided(connection: AsyncConnection, tenant: TenantId, patient: PatientRef) -> bool:
    """Whether the patient was erased, or is being erased for good."""
    found = await of_patient(connection, tenant, patient)
    return found is not None and found.state in FINAL


async def latest(
    connection: AsyncConnection, *, tenant: TenantId | None = None, limit: int
) -> tuple[ErasureRow, ...]:
    """Erasures, the latest request first."""
    question = select(erasures).order_by(erasures.c.requested_at.desc(), erasures.c.id).limit(limit)
    if tenant is not None:
        question = question.where(erasures.c.tenant == tenant)
    return tuple(_erasure(row) for row in (await connection.execute(question)).mappings())


async def due(
    connection: AsyncConnection, *, now: dt.datetime, but: Iterable[ErasureId] = (), limit: int
) -> tuple[ErasureRow, ...]:
    """Erasures whose next step can be taken, the oldest request first; those in `but` are passed over."""
    state = erasures.c.state
    held = exists().where(
        legal_holds.c.tenant == erasures.c.tenant, legal_holds.c.patient == erasures.c.patient
    )
    ready = or_(
        (state == ErasureState.HELD.value) & (erasures.c.hold_until <= now) & ~held,
        state.in_((ErasureState.DESTROYING.value, ErasureState.DESTROYED.value)),
        (state == ErasureState.DELETED.value) & (erasures.c.backups_expire_at <= now),
    )
    waiting: list[uuid.UUID] = list(but)
    question = select(erasures).where(ready, erasures.c.id.not_in(waiting))
    question = question.order_by(erasures.c.requested_at, erasures.c.id).limit(limit)
    return tuple(_erasure(row) for row in (await connection.execute(question)).mappings())


async def postpone(
    connection: AsyncConnection, *, now: dt.datetime, until: dt.datetime
) -> tuple[ErasureId, ...]:
    """Hold until then what was due before now and was not begun; which those are."""
    change = (
        update(erasures)
        .where(erasures.c.state == ErasureState.HELD.value, erasures.c.hold_until <= now)
        .values(hold_until=until)
        .returning(erasures.c.id)
    )
    return tuple(ErasureId(each) for each in await connection.scalars(change))


async def of_states(
    connection: AsyncConnection, states: Iterable[ErasureState], *, after: ErasureId | None, limit: int
) -> tuple[ErasureRow, ...]:
    """Erasures in these states, by id."""
    wanted = [state.value for state in states]
    question = select(erasures).where(erasures.c.state.in_(wanted)).order_by(erasures.c.id).limit(limit)
    if after is not None:
        question = question.where(erasures.c.id > after)
    return tuple(_erasure(row) for row in (await connection.execute(question)).mappings())


async def resting(connection: AsyncConnection) -> frozenset[ErasureId]:
    """Erasures that are decided and whose patient has no share, or will have none once the next step is taken."""
    has_share = exists().where(
        erasure_shares.c.tenant == erasures.c.tenant, erasure_shares.c.patient == erasures.c.patient
    )
    gone = [state.value for state in FINAL - {ErasureState.DESTROYING}]
    question = select(erasures.c.id).where(
        or_(erasures.c.state == ErasureState.DESTROYING.value, erasures.c.state.in_(gone) & ~has_share)
    )
    return frozenset(ErasureId(each) for each in await connection.scalars(question))


async def move(
    connection: AsyncConnection, erasure_id: ErasureId, target: ErasureState, **changes: Any
) -> None:
    """One step of `erasure.MOVES`; raises `ErasureRefused` when the erasure does not stand before it."""
    change = (
        update(erasures)
        .where(erasures.c.id == erasure_id, erasures.c.state.in_(sources_of(target)))
        .values(state=target.value, **changes)
        .returning(erasures.c.tenant, erasures.c.patient)
    )
    moved = (await connection.execute(change)).one_or_none()
    if moved is None:
        found = await find(connection, erasure_id)
        raise ErasureRefused(f"the erasure is {found.state.value} and cannot become {target.value}")
    if target is ErasureState.DESTROYING:
        await require_no_hold(connection, TenantId(moved.tenant), PatientRef(moved.patient))


async def note(connection: AsyncConnection, erasure_id: ErasureId, **changes: Any) -> None:
    """Change what is known of an erasure, and not where it stands."""
    await connection.execute(update(erasures).where(erasures.c.id == erasure_id).values(**changes))


async def destroy_share(connection: AsyncConnection, tenant: TenantId, patient: PatientRef) -> bool:
    """Delete the patient's share; whether there was one."""
    change = (
        delete(erasure_shares)
        .where(erasure_shares.c.tenant == tenant, erasure_shares.c.patient == patient)
        .returning(erasure_shares.c.patient)
    )
    return (await connection.execute(change)).one_or_none() is not None


async def put_again(connection: AsyncConnection, row: ErasureRow) -> None:
    """Write an erasure down that a restored share store has forgotten or knows in an earlier state."""
    await connection.execute(
        delete(erasures).where(
            erasures.c.tenant == row.tenant,
            erasures.c.patient == row.patient,
            erasures.c.state != ErasureState.CANCELLED.value,
        )
    )
    await connection.execute(delete(erasures).where(erasures.c.id == row.erasure_id))
    values = {name: getattr(row, name) for name in ErasureRow.__slots__ if name != "erasure_id"}
    await connection.execute(
        insert(erasures).values(values | {"id": row.erasure_id, "state": row.state.value})
    )


async def place_hold(connection: AsyncConnection, hold: LegalHold) -> None:
    """Place a legal hold; raises `ErasureRefused` where one stands, or where the share is going or gone."""
    # Held: the end of an erasure's time and a hold that is being placed come one after the other.
    standing = await of_patient(connection, hold.tenant, hold.patient, held=True)
    if standing is not None and standing.state not in {ErasureState.REQUESTED, ErasureState.HELD}:
        raise ErasureRefused("nothing is left to be held: the patient was erased")
    try:
        async with connection.begin_nested():
            await connection.execute(
                insert(legal_holds).values({name: getattr(hold, name) for name in LegalHold.__slots__})
            )
    except IntegrityError:
        raise ErasureRefused("this patient is under a legal hold already") from None


async def lift_hold(connection: AsyncConnection, tenant: TenantId, patient: PatientRef) -> None:
    """End a legal hold; raises `UnknownErasure` where there is none."""
    change = (
        delete(legal_holds)
        .where(legal_holds.c.tenant == tenant, legal_holds.c.patient == patient)
        .returning(legal_holds.c.patient)
    )
    if (await connection.execute(change)).one_or_none() is None:
        raise UnknownErasure("this patient is under no legal hold")


async def legal_holds_of(connection: AsyncConnection, *, limit: int) -> tuple[LegalHold, ...]:
    """Legal holds, by tenant and patient."""
    question = select(legal_holds).order_by(legal_holds.c.tenant, legal_holds.c.patient).limit(limit)
    return tuple(LegalHold(**row) for row in (await connection.execute(question)).mappings())


async def require_no_hold(connection: AsyncConnection, tenant: TenantId, patient: PatientRef) -> None:
    """Raises `OnLegalHold`."""
    held = exists().where(legal_holds.c.tenant == tenant, legal_holds.c.patient == patient)
    if await connection.scalar(select(held)):
        raise OnLegalHold("this patient is under a legal hold: `replayvault keys hold ls` shows it")


def _erasure(row: Mapping[Any, Any]) -> ErasureRow:
    values = {name: row[name] for name in ErasureRow.__slots__ if name not in {"erasure_id", "state"}}
    return ErasureRow(erasure_id=ErasureId(row["id"]), state=ErasureState(row["state"]), **values)
