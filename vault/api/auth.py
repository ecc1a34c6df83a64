"""Who is calling: bearer token, cookie or ticket path, each admitted by what it opens.

Invariants: the kind of a credential picks a route and grants nothing; a session token is taken from the
Authorization header or, for GET and HEAD, the `__Host-` cookie; never from a URL. A refusal is one constant 401.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from keys.database import Database
from keys.errors import InvalidToken
from keys.records import Kind
from keys.service_token import PREFIX, ServiceScope, hash_service_token
from vault.api.binding import Access, AccessKind
from vault.api.problems import Code, Problem
from vault.catalog import service_tokens
from vault.catalog.service_tokens import ServiceTokenRow
from vault.sessions.admission import Admission
from vault.sessions.holder import SessionHolder, TicketHolder

COOKIE: Final = "__Host-replayvault"
_BEARER: Final = "Bearer "
_KINDS: Final = {Kind.SESSION.value: AccessKind.SESSION, PREFIX: AccessKind.SERVICE}


@dataclass(frozen=True, slots=True)
class Service:
    """A tenant's backend."""

    token: ServiceTokenRow

    @property
    def actor(self) -> str:
        """The backend's name in the audit log and the registry."""
        return f"service:{self.token.token_id}"


@dataclass(frozen=True, slots=True)
class Gatekeeper:
    """Admits sessions and tickets where `admission` is given, services where `catalog` is."""

    admission: Admission
    catalog: Database
    clock: Callable[[], dt.datetime]

    def kind(self, request: web.Request) -> AccessKind | None:
        """By place and prefix only."""
        if "ticket" in request.match_info:
            return AccessKind.TICKET
        text = _bearer(request)
        if text is None:
            return AccessKind.SESSION if _cookie(request) is not None else None
        return _KINDS.get(text.partition("_")[0])

    async def admit(self, request: web.Request, access: Access) -> SessionHolder | TicketHolder | Service:
        """The holder or service behind the credential; raises `InvalidToken`, `UnknownToken` or `Problem`."""
        if access.kind is AccessKind.TICKET:
            return await self.admission.ticket(request.match_info["ticket"])
        text = _bearer(request) or _cookie(request)
        if text is None:
            raise InvalidToken("no credential")
        if access.kind is AccessKind.SESSION:
            return await self.admission.session(text)
        return await self._service(text, access.scope)

    async def _service(self, text: str, scope: str | None) -> Service:
        async with self.catalog.reading() as connection:
            row = await service_tokens.by_hash(connection, hash_service_token(text), now=self.clock())
        if scope is not None and not row.may(ServiceScope(scope)):
            raise Problem(Code.FORBIDDEN, detail=f"The token lacks the scope {scope}.")
        return Service(row)


def _cookie(request: web.Request) -> str | None:
    """The cookie reads and does nothing else: a script that may send it must not get a token out of it."""
    return request.cookies.get(COOKIE) if request.method in {"GET", "HEAD"} else None


def presented(request: web.Request) -> str | None:
    """The bearer token or the cookie, as it was sent."""
    return _bearer(request) or request.cookies.get(COOKIE)


def _bearer(request: web.Request) -> str | None:
    header = request.headers.get("Authorization")
    if header is None or header[: len(_BEARER)].lower() != _BEARER.lower():
        return None
    return header[len(_BEARER) :].strip()
