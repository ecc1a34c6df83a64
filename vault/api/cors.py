"""Browser apps on other origins: exact origins, no wildcard, no cookies (Fetch standard, CORS protocol).

Invariants: an origin that was not named gets no header; credentials travel in the Authorization header alone, so
`Access-Control-Allow-Credentials` is never sent and the `__Host-` cookie never leaves its own origin.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import web

MAX_AGE_S: Final = 600
_METHODS: Final = "GET, HEAD, POST, PUT, DELETE"
_REQUEST_HEADERS: Final = (
    "Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, If-Range, Range"
)
_SHOWN_HEADERS: Final = "Accept-Ranges, Content-Length, Content-Range, ETag, Retry-After, X-Request-Id"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def allow_origins(app: web.Application, origins: frozenset[str]) -> None:
    """Answer preflights of these origins, and let their scripts read answers; once, before the app starts."""

    @web.middleware
    async def preflight(request: web.Request, handler: Handler) -> web.StreamResponse:
        asked = request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers
        if not asked or request.headers.get("Origin") not in origins:
            return await handler(request)
        return web.Response(
            status=204,
            headers={
                "Access-Control-Allow-Methods": _METHODS,
                "Access-Control-Allow-Headers": _REQUEST_HEADERS,
                "Access-Control-Max-Age": str(MAX_AGE_S),
            },
        )

    async def on_prepare(request: web.Request, response: web.StreamResponse) -> None:
        origin = request.headers.get("Origin")
        response.headers["Vary"] = "Origin"
        if origin in origins:
            response.headers["Access-Control-Allow-Origin"] = str(origin)
            response.headers["Access-Control-Expose-Headers"] = _SHOWN_HEADERS

    app.middlewares.append(preflight)
    app.on_response_prepare.append(on_prepare)
