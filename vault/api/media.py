"""Answers a media request: decide by RFC 9110, verify the first window, then send.

Invariants:
- nothing is promised before it is known to hold: status and headers leave only after the first window verified and
  the view is on record;
- a window that fails later cuts the connection: a stream never ends cleanly when it is short;
- when the audit log can't be written any more, no further window leaves;
- a slow client holds two windows of memory and no thread.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from aiohttp import web

from vault.api.problems import Code, Problem
from vault.metrics import Metrics
from vault.playback.files import Media
from vault.playback.ranges import (
    Asked,
    NotModified,
    Partial,
    PreconditionFailed,
    Unsatisfiable,
    Whole,
    decide,
    strong_etag,
)
from vault.playback.reader import stream
from vault.playback.views import View, Views
from vault.sessions.admission import Watch


@dataclass(frozen=True, slots=True)
class Sender:
    """Sends media of one view."""

    metrics: Metrics
    views: Views

    async def send(
        self, request: web.Request, media: Media, *, view: View, watch: Watch
    ) -> web.StreamResponse:
        """The whole answer; raises what reading raises, before the first byte as a problem, after it as a cut."""
        started_s = time.monotonic()
        etag = strong_etag(media.tag)
        decision = decide(_asked(request), size_bytes=media.size_bytes, etag=etag)
        headers = {"Accept-Ranges": "bytes", "ETag": etag}
        if isinstance(decision, NotModified):
            return web.Response(status=304, headers=headers)
        if isinstance(decision, PreconditionFailed):
            raise Problem(Code.PRECONDITION_FAILED)
        if isinstance(decision, Unsatisfiable):
            shown = decision.content_range(size_bytes=media.size_bytes)
            raise Problem(
                Code.RANGE_NOT_SATISFIABLE, headers={"Content-Range": shown, "Accept-Ranges": "bytes"}
            )
        response = _head(media, decision, headers)
        if request.method == "HEAD":
            return response
        first, last = (
            (0, media.size_bytes - 1) if isinstance(decision, Whole) else (decision.first, decision.last)
        )
        await self._body(
            request, response, media, first=first, last=last, view=view, watch=watch, at_s=started_s
        )
        return response

    async def _body(
        self,
        request: web.Request,
        response: web.StreamResponse,
        media: Media,
        *,
        first: int,
        last: int,
        view: View,
        watch: Watch,
        at_s: float,
    ) -> None:
        windows = stream(media.pieces(first, last), watch)
        view.streams += 1
        self.metrics.open_streams.inc()
        try:
            async for window in windows:
                await self.views.audit.require_writable()
                if not response.prepared:
                    await response.prepare(request)
                    self.metrics.first_byte_s.observe(time.monotonic() - at_s)
                await response.write(window)
                self.views.sent(view, len(window))
                self.metrics.streamed_bytes.inc(len(window))
        finally:
            view.streams -= 1
            self.metrics.open_streams.dec()
            await windows.aclose()


def _head(media: Media, decision: Whole | Partial, headers: dict[str, str]) -> web.StreamResponse:
    if isinstance(decision, Whole):
        response = web.StreamResponse(status=200, headers=headers)
        response.content_length = media.size_bytes
    else:
        shown = {"Content-Range": decision.content_range(size_bytes=media.size_bytes)}
        response = web.StreamResponse(status=206, headers=headers | shown)
        response.content_length = decision.size_bytes
    response.content_type = media.content_type
    return response


def _asked(request: web.Request) -> Asked:
    headers = request.headers
    return Asked(
        method=request.method,
        range=headers.get("Range"),
        if_range=headers.get("If-Range"),
        if_match=headers.get("If-Match"),
        if_none_match=headers.get("If-None-Match"),
    )
