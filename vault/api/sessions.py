"""Sessions and tickets: opened by a tenant's backend, refreshed and shared by their holders, ended by either.

Invariants: a token appears in the answer that creates it and nowhere else; each change is audited before it is
answered; the tenant comes from the credential, never from the request.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

from keys.database import Database
from keys.errors import KeyMismatch
from keys.ids import RecordingId, TenantId, parse_patient
from keys.records import Kind, parse_record_id
from keys.service_token import ServiceScope
from keys.session import SessionScope
from vault.alarm import Alarm
from vault.api import models
from vault.api.auth import Service
from vault.api.binding import SESSION, AnyRoute, Call, Route, service
from vault.api.middleware import request_id
from vault.api.problems import Code, Problem
from vault.audit.entry import Action, Decision, Event, Reason
from vault.catalog import registry
from vault.catalog.errors import UnknownRecording
from vault.catalog.registry import Registered
from vault.sessions.errors import NotYours
from vault.sessions.holder import SessionHolder
from vault.sessions.minting import Mint, Minted

SESSIONS: Final = service(ServiceScope.SESSIONS.value)
TICKETS: Final = service(ServiceScope.TICKETS.value)

_MAX_LISTED: Final = 1000


@dataclass(frozen=True, slots=True)
class SessionsApi:
    """Handlers of sessions and tickets."""

    mint: Mint
    catalog: Database
    alarm: Alarm
    clock: Callable[[], dt.datetime]

    async def open_session(self, call: Call[Service, None, models.NewSession]) -> models.SessionCreated:
        """A session for a patient whom the backend has authenticated."""
        minted = await self.mint.session(
            call.principal.token.tenant,
            parse_patient(call.body.patient),
            ttl=dt.timedelta(seconds=call.body.ttl_s),
            scopes=frozenset(SessionScope(each) for each in call.body.scopes),
            issuer=call.principal.actor,
        )
        await self._audit(call, Action.SESSION_MINT, minted)
        return _session(minted)

    async def refresh_session(
        self, call: Call[SessionHolder, None, models.RefreshSession]
    ) -> models.SessionCreated:
        """The next token of a session."""
        minted = await self.mint.refresh(call.principal, ttl=dt.timedelta(seconds=call.body.ttl_s))
        await self._audit(call, Action.SESSION_REFRESH, minted)
        return _session(minted)

    async def list_sessions(self, call: Call[Service, models.SessionsQuery, None]) -> models.SessionList:
        """Live sessions and tickets."""
        patient = None if call.query.patient is None else parse_patient(call.query.patient)
        async with self.catalog.reading() as connection:
            entries = await registry.alive(
                connection,
                call.principal.token.tenant,
                patient=patient,
                now=self.clock(),
                limit=_MAX_LISTED,
            )
        return models.SessionList(sessions=tuple(_view(entry) for entry in entries))

    async def revoke_session(self, call: Call[Service, None, None]) -> models.Revoked:
        """End one session and its tickets."""
        record_id = call.parsed("session_id", by=parse_record_id)
        ended = await self.mint.revoke(call.principal.token.tenant, record_id)
        if ended == 0:
            raise Problem(Code.NOT_FOUND)
        await self._audit_revoke(call, note=f"{ended} ended", session=record_id.hex())
        return models.Revoked(revoked=ended)

    async def revoke_sessions(self, call: Call[Service, models.RevokeQuery, None]) -> models.Revoked:
        """End every session of a patient, or of the tenant."""
        if (call.query.patient is None) == (not call.query.all):
            raise Problem(Code.INVALID_QUERY, detail="Give either patient=… or all=true.")
        patient = None if call.query.patient is None else parse_patient(call.query.patient)
        ended = await self.mint.revoke_all(call.principal.token.tenant, patient)
        await self._audit_revoke(call, note=f"{ended} ended", session="")
        return models.Revoked(revoked=ended)

    async def ticket(self, call: Call[Service, None, models.NewServiceTicket]) -> models.TicketCreated:
        """A ticket by a backend's right, with its purpose on record."""
        tenant = call.principal.token.tenant
        return await self._ticket(call, call.body, tenant, holder=None, purpose=call.body.purpose)

    async def own_ticket(self, call: Call[SessionHolder, None, models.NewTicket]) -> models.TicketCreated:
        """A ticket from a patient's own session, for a device that can send no header."""
        holder = call.principal
        holder.require(SessionScope.SHARE)
        return await self._ticket(call, call.body, holder.tenant, holder=holder, purpose="patient")

    async def _ticket(
        self,
        call: Call[Any, None, Any],
        body: models.NewTicket,
        tenant: TenantId,
        *,
        holder: SessionHolder | None,
        purpose: str,
    ) -> models.TicketCreated:
        denied = _no_ticket(call, holder, str(body.recording))
        try:
            minted = await self.mint.ticket(
                tenant,
                RecordingId(body.recording),
                holder=holder,
                roles=frozenset(body.files),
                ttl=dt.timedelta(seconds=body.ttl_s),
                purpose=purpose,
                issuer=call.principal.actor,
            )
        except KeyMismatch:
            await self.alarm.key_mismatch(replace(denied, reason=Reason.KEY_MISMATCH))
            raise
        except (NotYours, UnknownRecording) as error:
            reason = Reason.NOT_YOURS if isinstance(error, NotYours) else Reason.NOT_FOUND
            await self.alarm.audit.write(replace(denied, reason=reason))
            raise
        await self._audit(call, Action.TICKET_MINT, minted, recording=str(body.recording), note=purpose)
        text = minted.token.reveal(to="its holder")
        url = f"/v1/t/{text}/master.m3u8"
        return models.TicketCreated(ticket=text, url=url, expires_at=minted.expires_at)

    async def _audit(
        self,
        call: Call[Any, Any, Any],
        action: Action,
        minted: Minted,
        *,
        recording: str = "",
        note: str = "",
    ) -> None:
        await self.alarm.audit.write(
            Event(
                action=action,
                decision=Decision.ALLOW,
                actor=call.principal.actor,
                patient=minted.pseudonym,
                recording=recording,
                session=minted.record_id.hex(),
                request=request_id(call.request),
                note=note,
            )
        )

    async def _audit_revoke(self, call: Call[Service, Any, Any], *, note: str, session: str) -> None:
        await self.alarm.audit.write(
            Event(
                action=Action.SESSION_REVOKE,
                decision=Decision.ALLOW,
                actor=call.principal.actor,
                session=session,
                request=request_id(call.request),
                note=note,
            )
        )

    def routes(self) -> tuple[AnyRoute, ...]:
        """The rows of sessions and tickets."""
        away = (Code.UNAVAILABLE,)
        return (
            Route(
                method="POST",
                path="/v1/sessions",
                handler=self.open_session,
                access=SESSIONS,
                summary="Open a session for a patient whom you have authenticated",
                body=models.NewSession,
                answers={201: models.SessionCreated},
                problems=(Code.NOT_FOUND, Code.PATIENT_ERASED, *away),
            ),
            Route(
                method="POST",
                path="/v1/sessions/refresh",
                handler=self.refresh_session,
                access=SESSION,
                summary="The next token of a session; the old one ends within a minute",
                body=models.RefreshSession,
                answers={201: models.SessionCreated},
                problems=(Code.PATIENT_ERASED, *away),
            ),
            Route(
                method="GET",
                path="/v1/sessions",
                handler=self.list_sessions,
                access=SESSIONS,
                summary="Live sessions and tickets",
                query=models.SessionsQuery,
                answers={200: models.SessionList},
                problems=(Code.INVALID_QUERY, *away),
            ),
            Route(
                method="DELETE",
                path="/v1/sessions/{session_id}",
                handler=self.revoke_session,
                access=SESSIONS,
                summary="End one session and its tickets",
                answers={200: models.Revoked},
                problems=(Code.NOT_FOUND, *away),
            ),
            Route(
                method="DELETE",
                path="/v1/sessions",
                handler=self.revoke_sessions,
                access=SESSIONS,
                summary="End every session of a patient, or of the tenant",
                query=models.RevokeQuery,
                answers={200: models.Revoked},
                problems=(Code.INVALID_QUERY, *away),
            ),
            Route(
                method="POST",
                path="/v1/tickets",
                handler=self.ticket,
                access=TICKETS,
                summary="A ticket for one recording, with its purpose on record",
                body=models.NewServiceTicket,
                answers={201: models.TicketCreated},
                problems=(Code.NOT_FOUND, Code.NOT_READY, Code.PATIENT_ERASED, *away),
            ),
            Route(
                method="POST",
                path="/v1/tickets",
                handler=self.own_ticket,
                access=SESSION,
                summary="A ticket from a session, for a device that can send no header",
                body=models.NewTicket,
                answers={201: models.TicketCreated},
                problems=(Code.NOT_FOUND, Code.NOT_READY, *away),
            ),
        )


def _no_ticket(call: Call[Any, None, Any], holder: SessionHolder | None, recording: str) -> Event:
    return Event(
        action=Action.TICKET_MINT,
        decision=Decision.DENY,
        actor=call.principal.actor,
        patient="" if holder is None else holder.pseudonym,
        recording=recording,
        session="" if holder is None else holder.record_id.hex(),
        request=request_id(call.request),
    )


def _session(minted: Minted) -> models.SessionCreated:
    return models.SessionCreated(
        id=minted.record_id.hex(),
        token=minted.token.reveal(to="its holder"),
        expires_at=minted.expires_at,
        absolute_at=minted.absolute_at,
        refresh="/v1/sessions/refresh",
    )


def _view(entry: Registered) -> models.SessionView:
    return models.SessionView(
        id=entry.record_id.hex(),
        kind="session" if entry.kind is Kind.SESSION else "ticket",
        patient=entry.patient,
        issuer=entry.issuer,
        issued_at=entry.issued_at,
        expires_at=entry.expires_at,
    )
