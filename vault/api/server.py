"""The server around the application: what aiohttp would answer and log before any middleware can run.

Invariants:
- a request that is not HTTP, or expects what nobody knows, gets a constant problem: aiohttp's own answers quote it;
- aiohttp logs nothing itself: its messages hold pieces of requests, tokens included; what it has to report is told
  here by class and place, and the access line comes from `vault.api.middleware`;
- a failure after the first byte of an answer closes the connection and adds nothing to what was sent.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import structlog
from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from vault.api.middleware import HEADERS, Aborted
from vault.api.problems import Code, Problem, Translator
from vault.api.traces import describe

# Longer than the 60 s for which nginx keeps idle upstream connections. Also bounds how long a connection may take
# to send its first request.
KEEPALIVE_TIMEOUT_S: Final = 75.0

_log = structlog.get_logger("replayvault.http")


class Runner(web.AppRunner):
    """`web.AppRunner` with answers of ours to what never becomes a request; starts and stops in the same way."""

    def __init__(self, app: web.Application, *, shutdown_timeout_s: float = 10.0) -> None:
        super().__init__(
            app,
            access_log=None,
            keepalive_timeout=KEEPALIVE_TIMEOUT_S,
            shutdown_timeout=shutdown_timeout_s,
        )

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        return _Server(
            _without_quotes(made.request_handler),
            request_factory=made.request_factory,
            **made._kwargs,  # noqa: SLF001 -- aiohttp has no public way to another protocol class
        )


class _Server(web.Server):
    def __call__(self) -> RequestHandler:
        return _Protocol(self, loop=self._loop, **self._kwargs)


class _Protocol(RequestHandler):
    """One connection."""

    __slots__ = ()

    def log_exception(self, *_: object, exc_info: BaseException | None = None, **__: object) -> None:
        """What aiohttp caught around a request; a body that does not decode is the caller's business."""
        if not isinstance(exc_info, web.RequestPayloadError | ConnectionError):
            _log.error("connection failed", **({} if exc_info is None else describe(exc_info)))

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 -- aiohttp's sentence, which quotes the request
    ) -> web.StreamResponse:
        """The answer to what the parser refused (4xx) or the middleware let through (500, a bug of ours)."""
        if request.writer.output_size > 0 or isinstance(exc, Aborted):
            raise ConnectionError("nothing may be added to this answer")
        internal = status >= web.HTTPInternalServerError.status_code
        if internal and exc is not None:
            _log.error("request failed outside the middleware", **describe(exc))
        response = Problem(Code.INTERNAL if internal else Code.MALFORMED_REQUEST).response()
        response.headers.update(HEADERS)
        response.force_close()
        return response


_Handle = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


def _without_quotes(handle: _Handle) -> _Handle:
    """The only refusal of aiohttp that no middleware sees: an unknown Expect on a path that has no route."""

    async def handled(request: web.BaseRequest) -> web.StreamResponse:
        try:
            return await handle(request)
        except web.HTTPException as refused:
            return Translator().translate(refused).response()

    return handled
