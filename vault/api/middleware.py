"""The one middleware: request id, errors to problems, headers that every answer has, and the access line.

Invariants:
- errors become HTTP here and nowhere else; once a response has begun, a failure aborts the connection, so that a
  short stream never ends cleanly, and a declared Content-Length that was not met is such a failure;
- an access line holds the pattern of the route, never the path or the query: tickets travel in paths;
- an exception is logged by class and places in the code; its message may hold input and is not logged;
- nothing decrypted is cached: `Cache-Control: no-store` on every answer.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Final

import structlog
from aiohttp import web

from vault.api.problems import Code, Translator
from vault.api.traces import describe

_REQUEST_ID: Final = web.RequestKey("replayvault.request_id", str)
_BEGUN: Final = web.RequestKey("replayvault.begun", web.StreamResponse)
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

HEADERS: Final = {
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Server": "replayvault",
    "X-Content-Type-Options": "nosniff",
}
# Not on media: a browser that opens a film directly builds a page around it and would apply the policy there.
_DOCUMENT_CSP: Final = "default-src 'none'; frame-ancestors 'none'"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_log = structlog.get_logger("replayvault.http")


class Aborted(ConnectionAbortedError):
    """No answer can follow: the client left, or the answer had begun when it failed and the connection is cut."""


def guard(app: web.Application, *, translator: Translator, hsts_max_age_s: int | None = None) -> None:
    """Put the middleware and the headers on an application; once, before it starts.

    `hsts_max_age_s` is for installations that are reached by https (RFC 6797); None sends no such header.
    """

    @web.middleware
    async def outermost(request: web.Request, handler: Handler) -> web.StreamResponse:
        request[_REQUEST_ID] = secrets.token_hex(8)
        structlog.contextvars.bind_contextvars(request_id=request[_REQUEST_ID])
        started_s = time.monotonic()
        outcome: int | str = "cancelled"
        try:
            response = await _answered(request, handler=handler, translator=translator)
            outcome = response.status
        except Aborted:
            outcome = "aborted"
            raise
        finally:
            _access_line(request, outcome=outcome, duration_s=time.monotonic() - started_s)
        return response

    async def on_prepare(request: web.Request, response: web.StreamResponse) -> None:
        request[_BEGUN] = response
        _dress(request, response=response, hsts_max_age_s=hsts_max_age_s)

    app.middlewares.insert(0, outermost)
    app.on_response_prepare.append(on_prepare)


def request_id(request: web.Request) -> str:
    """The id of a request, as X-Request-Id, the access line and the audit log have it."""
    found: str = request.get(_REQUEST_ID, "-")
    return found


async def _answered(request: web.Request, *, handler: Handler, translator: Translator) -> web.StreamResponse:
    try:
        response = await handler(request)
    except Exception as failure:  # noqa: BLE001 -- the one place where everything becomes an answer
        if _left(request) and isinstance(failure, ConnectionError | web.RequestPayloadError):
            raise Aborted("the client left") from None
        if _BEGUN in request:
            raise _cut(request, why=failure) from None
        return _problem(request, failure=failure, translator=translator)
    if _BEGUN in request and not _left(request) and _owed_bytes(request):
        raise _cut(request, why=None)
    return response


def _problem(request: web.Request, *, failure: Exception, translator: Translator) -> web.StreamResponse:
    problem = translator.translate(failure)
    if problem.code is Code.INTERNAL:
        _log.error("request failed", request_id=request[_REQUEST_ID], **describe(failure))
    return problem.response()


def _owed_bytes(request: web.Request) -> int:
    """Bytes of a declared Content-Length that the handler did not write; aiohttp counts none for HEAD and chunks."""
    return getattr(request.writer, "length", None) or 0


def _left(request: web.Request) -> bool:
    return request.transport is None or request.transport.is_closing()


def _cut(request: web.Request, *, why: Exception | None) -> Aborted:
    """Abort the connection at once: what is buffered is dropped, and no terminator follows."""
    cause = {"exception": "short answer"} if why is None else describe(why)
    _log.error("answer cut", request_id=request[_REQUEST_ID], **cause)
    if request.transport is not None:
        request.transport.abort()
    return Aborted("the answer failed after it had begun")


def _dress(request: web.Request, *, response: web.StreamResponse, hsts_max_age_s: int | None) -> None:
    response.headers.update(HEADERS)
    response.headers["X-Request-Id"] = request.get(_REQUEST_ID, "-")
    if response.content_type.startswith("application/"):
        response.headers.setdefault("Content-Security-Policy", _DOCUMENT_CSP)
    if hsts_max_age_s is not None:
        response.headers["Strict-Transport-Security"] = f"max-age={hsts_max_age_s}"


def _access_line(request: web.Request, *, outcome: int | str, duration_s: float) -> None:
    resource = request.match_info.route.resource
    _log.info(
        "request",
        request_id=request[_REQUEST_ID],
        method=request.method if request.method in _METHODS else "other",
        route=resource.canonical if resource is not None else "none",
        outcome=outcome,
        duration_ms=round(duration_s * 1000, 1),
    )
