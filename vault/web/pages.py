"""Serves the plain page from the package's own resources.

Invariants:
- resources are read once, when the routes are made; no request touches the file system;
- the policy allows this origin's scripts and styles and nothing inline; `blob:` only as a source of media, which is
  how hls.js hands segments to the browser; no workers, no frames, no other host.
"""

from __future__ import annotations

from importlib import resources
from typing import Final

from aiohttp import web

from vault.api.binding import OPEN, AnyRoute, Call, MediaAnswer, Route

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "media-src 'self' blob:; worker-src 'none'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'"
)

_HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}

# path, resource of the package, content type
_PAGES: Final = (
    ("/", "index.html", "text/html"),
    ("/web/app.js", "app.js", "text/javascript"),
    ("/web/style.css", "style.css", "text/css"),
    ("/web/icon.svg", "icon.svg", "image/svg+xml"),
    ("/web/hls.min.js", "vendor/hls.min.js", "text/javascript"),
)


def page_routes() -> tuple[AnyRoute, ...]:
    """The rows that serve the page; reads the resources, so call it before the loop runs or at start."""
    return tuple(_route(path, resource=resource, kind=kind) for path, resource, kind in _PAGES)


def _route(path: str, *, resource: str, kind: str) -> AnyRoute:
    body = resources.files("vault.web").joinpath(resource).read_bytes()

    async def serve(_: Call[None, None, None]) -> web.StreamResponse:
        return web.Response(body=body, content_type=kind, charset="utf-8", headers=_HEADERS)

    return Route(
        method="GET",
        path=path,
        handler=serve,
        access=OPEN,
        summary=f"The plain page: {resource}",
        answers={200: MediaAnswer((kind,))},
        head=True,
    )
