"""Whoever reads: a session or a ticket, admitted. Access as a value that playback asks for.

Invariant: a holder is made by `admission` alone, after its record opened and its epoch was checked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from keys.ids import PatientRef, TenantId
from keys.records import RecordId
from keys.session import Session, SessionScope
from keys.ticket import Ticket
from vault.sessions.errors import ScopeMissing


@dataclass(frozen=True, slots=True, eq=False)
class SessionHolder:
    """A patient's app with a session."""

    record_id: RecordId
    session: Session

    @property
    def actor(self) -> str:
        """The holder's name in the audit log."""
        return "session"

    @property
    def tenant(self) -> TenantId:
        """Whose organisation."""
        return self.session.tenant

    @property
    def patient(self) -> PatientRef:
        """Whose recordings."""
        return self.session.patient

    @property
    def pseudonym(self) -> str:
        """The patient's name in the audit log."""
        return self.session.pseudonym

    @property
    def epoch(self) -> int:
        """The patient's epoch when the session was minted."""
        return self.session.epoch

    @property
    def ends_at(self) -> int:
        """Seconds since 1970 when the session is over."""
        return min(self.session.expires_at, self.session.absolute_at)

    @property
    def idle_s(self) -> int:
        """Seconds without use after which the session is over."""
        return self.session.idle_s

    @property
    def record_ids(self) -> tuple[RecordId, ...]:
        """Records that must stand."""
        return (self.record_id,)

    def require(self, scope: SessionScope) -> None:
        """Raises `ScopeMissing` unless the session has `scope`."""
        if scope not in self.session.scopes:
            raise ScopeMissing(f"the session lacks the scope {scope.value}")


@dataclass(frozen=True, slots=True, eq=False)
class TicketHolder:
    """A player with a ticket."""

    record_id: RecordId
    ticket: Ticket

    @property
    def actor(self) -> str:
        """The holder's name in the audit log."""
        return "ticket"

    @property
    def tenant(self) -> TenantId:
        """Whose organisation."""
        return self.ticket.tenant

    @property
    def patient(self) -> PatientRef:
        """Whose recording."""
        return self.ticket.patient

    @property
    def pseudonym(self) -> str:
        """The patient's name in the audit log."""
        return self.ticket.pseudonym

    @property
    def epoch(self) -> int:
        """The patient's epoch when the ticket was made."""
        return self.ticket.epoch

    @property
    def ends_at(self) -> int:
        """Seconds since 1970 when the ticket is over."""
        return self.ticket.expires_at

    @property
    def idle_s(self) -> int:
        """A ticket has no idle limit of its own: it lives for minutes."""
        return max(self.ticket.expires_at - self.ticket.issued_at, 1)

    @property
    def record_ids(self) -> tuple[RecordId, ...]:
        """Records that must stand: the ticket's, and that of the session it was made from."""
        parent = self.ticket.parent
        return (self.record_id,) if parent is None else (self.record_id, parent)

    def require(self, scope: SessionScope) -> None:
        """Raises `ScopeMissing`: a ticket plays and does nothing else."""
        if scope is not SessionScope.PLAY:
            raise ScopeMissing("a ticket plays one recording and does nothing else")


Holder: TypeAlias = SessionHolder | TicketHolder
