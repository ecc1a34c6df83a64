"""A loopback gateway for tests: GET of one source with Range, PUT of named outputs into memory.

It plays the part that the product's gateway plays between ffmpeg and the sealed objects, and nothing more:
whatever ffmpeg may ask of it is counted, so that a test can say what happened on the wire.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import web

_RANGE = re.compile(r"bytes=(\d+)-(\d*)")


@dataclass
class Gateway:
    """One job's listener; `outputs` holds every PUT by name, `finished` those whose body ended properly."""

    source: bytes
    fail_source_from: int | None = None
    refuse_put: str | None = None
    stall_source: bool = False
    outputs: dict[str, bytearray] = field(default_factory=dict)
    finished: set[str] = field(default_factory=set)
    source_errors: int = 0
    gets: int = 0
    port: int = 0
    handlers: set[asyncio.Task[Any]] = field(default_factory=set)

    @property
    def source_url(self) -> str:
        """Where ffmpeg reads."""
        return f"http://127.0.0.1:{self.port}/i/secret"

    @property
    def output_url(self) -> str:
        """The folder ffmpeg writes to; it ends without a slash."""
        return f"http://127.0.0.1:{self.port}/o/secret"

    @classmethod
    @asynccontextmanager
    async def serving(cls, source: bytes, **options: object) -> AsyncIterator[Self]:
        """Start on a free loopback port, stop on leaving; options are the fields of the class."""
        gateway = cls(source, **options)  # type: ignore[arg-type]
        app = web.Application(client_max_size=1 << 30)
        app.router.add_get("/i/secret", gateway._get)
        app.router.add_put("/o/secret/{name}", gateway._put)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        gateway.port = runner.addresses[0][1]
        try:
            yield gateway
        finally:
            await runner.cleanup()

    async def drained(self) -> None:
        """Wait until the last body is in: ffmpeg may exit before we have read it."""
        while pending := {task for task in self.handlers if not task.done()}:
            await asyncio.wait(pending, timeout=5.0)

    async def _get(self, request: web.Request) -> web.StreamResponse:
        self.gets += 1
        start, stop = self._range(request)
        if start >= len(self.source):
            return web.Response(status=416, headers={"Content-Range": f"bytes */{len(self.source)}"})
        response = web.StreamResponse(status=206 if "Range" in request.headers else 200)
        response.content_length = stop - start
        response.headers["Accept-Ranges"] = "bytes"
        if response.status == 206:
            response.headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(self.source)}"
        await response.prepare(request)
        await self._send(request, response, start, stop)
        return response

    async def _send(self, request: web.Request, response: web.StreamResponse, start: int, stop: int) -> None:
        if self.stall_source:
            await asyncio.sleep(60)
        for offset in range(start, stop, 65536):
            end = min(offset + 65536, stop)
            if self.fail_source_from is not None and end > self.fail_source_from:
                self.source_errors += 1
                if request.transport is not None:
                    request.transport.abort()
                return
            try:
                await response.write(self.source[offset:end])
            except ConnectionError:
                return

    def _range(self, request: web.Request) -> tuple[int, int]:
        size = len(self.source)
        found = _RANGE.fullmatch(request.headers.get("Range", ""))
        if found is None:
            return 0, size
        return int(found[1]), min(int(found[2]) + 1 if found[2] else size, size)

    async def _put(self, request: web.Request) -> web.Response:
        task = asyncio.current_task()
        assert task is not None
        self.handlers.add(task)
        name = request.match_info["name"]
        if name == self.refuse_put:
            return web.Response(status=500)
        body = self.outputs.setdefault(name, bytearray())
        body.clear()
        self.finished.discard(name)
        async for chunk in request.content.iter_any():
            body += chunk
        self.finished.add(name)
        return web.Response(status=201)
