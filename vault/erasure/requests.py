"""What people decide about an erasure: ask for it, approve it, take it back; and legal holds.

Invariants: every decision is on the audit log before it holds; where two persons have to agree, they are two; up to the
end of the hold nothing is lost by cancelling.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from keys import erasures, keyring
from keys.database import Database
from keys.erasure import ErasureState
from keys.erasures import ErasureId, ErasureRow, LegalHold
from keys.errors import ErasureRefused, UnknownErasure
from keys.ids import PatientRef, TenantId
from vault.audit.entry import Action, Decision, Event
from vault.audit.log import AuditLog

DEFAULT_HOLD: Final = dt.timedelta(hours=72)
LONGEST_HOLD: Final = dt.timedelta(days=366)
_LISTED: Final = 1000
_LONGEST_REASON: Final = 200


@dataclass(frozen=True, slots=True)
class Register:
    """Who is to be erased, who was, and who is under a legal hold. Methods raise `DatabaseUnavailable`."""

    catalog: Database
    shares: Database

    async def find(self, erasure_id: ErasureId, *, tenant: TenantId | None = None) -> ErasureRow:
        """One erasure, of one tenant where that is given."""
        async with self.shares.reading() as connection:
            row = await erasures.find(connection, erasure_id)
        if tenant is not None and row.tenant != tenant:
            raise UnknownErasure("no such erasure")
        return row

    async def latest(self, *, tenant: TenantId | None = None) -> tuple[ErasureRow, ...]:
        """Erasures, the latest request first."""
        async with self.shares.reading() as connection:
            return await erasures.latest(connection, tenant=tenant, limit=_LISTED)

    async def legal_holds(self) -> tuple[LegalHold, ...]:
        """Legal holds, by tenant and patient."""
        async with self.shares.reading() as connection:
            return await erasures.legal_holds_of(connection, limit=_LISTED)

    async def require_known(self, tenant: TenantId, patient: PatientRef) -> None:
        """Raises `UnknownErasure` where there is nobody to erase."""
        async with self.catalog.reading() as connection:
            rows = await keyring.generations(connection, tenant, patient)
        async with self.shares.reading() as connection:
            standing = await erasures.of_patient(connection, tenant, patient)
        if not rows and standing is None:
            raise UnknownErasure(
                "there is no such patient: nothing to erase (references are compared exactly)"
            )


@dataclass(frozen=True, slots=True)
class Requests:
    """Decisions. Methods raise `ErasureRefused`, `UnknownErasure`, `DatabaseUnavailable` or `AuditUnavailable`."""

    register: Register
    audit: AuditLog
    clock: Callable[[], dt.datetime]
    two_persons: bool

    async def ask(
        self, tenant: TenantId, patient: PatientRef, *, reason: str, hold: dt.timedelta, actor: str
    ) -> ErasureRow:
        """Ask for an erasure: it is held from now on, or waits for a second person."""
        _require_reason(reason)
        if not dt.timedelta() <= hold <= LONGEST_HOLD:
            raise ErasureRefused(f"a hold lasts at most {LONGEST_HOLD.days} days")
        await self.register.require_known(tenant, patient)
        now = self.clock()
        row = ErasureRow(
            erasure_id=ErasureId(uuid.uuid4()),
            tenant=tenant,
            patient=patient,
            state=ErasureState.REQUESTED if self.two_persons else ErasureState.HELD,
            reason=reason,
            requested_by=actor,
            requested_at=now,
            hold_s=int(hold.total_seconds()),
            hold_until=None if self.two_persons else now + hold,
        )
        await self._tell(Action.ERASE_REQUEST, row, actor)
        async with self.register.shares.writing() as connection:
            await erasures.ask(connection, row)
        return row

    async def approve(self, erasure_id: ErasureId, *, actor: str) -> ErasureRow:
        """Agree to what another person asked for: the hold begins."""
        row = await self._found(erasure_id)
        if row.requested_by == actor:
            raise ErasureRefused("whoever asked for an erasure cannot approve it: a second person has to")
        await self._tell(Action.ERASE_APPROVE, row, actor)
        until = self.clock() + dt.timedelta(seconds=row.hold_s)
        async with self.register.shares.writing() as connection:
            await erasures.move(
                connection, erasure_id, ErasureState.HELD, approved_by=actor, hold_until=until
            )
        return await self._found(erasure_id)

    async def cancel(self, erasure_id: ErasureId, *, actor: str) -> ErasureRow:
        """Take an erasure back while it is held: everything is as it was."""
        row = await self._found(erasure_id)
        await self._tell(Action.ERASE_CANCEL, row, actor)
        async with self.register.shares.writing() as connection:
            await erasures.move(connection, erasure_id, ErasureState.CANCELLED, ended_at=self.clock())
        return await self._found(erasure_id)

    async def place_hold(
        self, tenant: TenantId, patient: PatientRef, *, reason: str, actor: str
    ) -> LegalHold:
        """Keep a patient from being erased until the hold is lifted."""
        _require_reason(reason)
        hold = LegalHold(tenant, patient, reason, actor, self.clock())
        await self.audit.write(_event(Action.HOLD_PLACE, actor, f"a legal hold: {reason}"))
        async with self.register.shares.writing() as connection:
            await erasures.place_hold(connection, hold)
        return hold

    async def lift_hold(self, tenant: TenantId, patient: PatientRef, *, actor: str) -> None:
        """Lift a legal hold: an erasure that waited for it goes on."""
        await self.audit.write(_event(Action.HOLD_LIFT, actor, "a legal hold is lifted"))
        async with self.register.shares.writing() as connection:
            await erasures.lift_hold(connection, tenant, patient)

    async def _found(self, erasure_id: ErasureId) -> ErasureRow:
        return await self.register.find(erasure_id)

    async def _tell(self, action: Action, row: ErasureRow, actor: str) -> None:
        await self.audit.write(_event(action, actor, f"erasure {row.erasure_id}"))


def _require_reason(reason: str) -> None:
    if not reason.strip() or len(reason) > _LONGEST_REASON or not reason.isprintable():
        raise ErasureRefused(f"a reason is a sentence of at most {_LONGEST_REASON} printable characters")


def _event(action: Action, actor: str, note: str) -> Event:
    return Event(action=action, decision=Decision.ALLOW, actor=actor, note=note)
