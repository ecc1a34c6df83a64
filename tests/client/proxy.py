"""A reverse proxy between the client and the service that fails as networks and proxies do.

    async with Proxy.before(world.url) as proxy:
        proxy.cut_after_bytes = 100_000      # the next connection ends after so many bytes of the answer
        proxy.away = 2                       # the next two connections get a 503 page of the proxy's own
        async with ReplayVault(proxy.url, token) as vault: ...

`proxy.heads` holds the first line of every request that reached the service, `proxy.turned_away` counts the others.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator
from typing import Self

import yarl

_PIECE_BYTES = 16 * 1024
_AWAY = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/html\r\nRetry-After: %d\r\n"
    b"Content-Length: 4\r\nConnection: close\r\n\r\naway"
)


@dataclasses.dataclass
class Proxy:
    """One listener on loopback. Settings hold for connections that are made after them."""

    upstream: yarl.URL
    url: str = ""
    heads: list[str] = dataclasses.field(default_factory=list)
    turned_away: int = 0
    away: int = 0
    retry_after_s: int = 0
    refuse: int = 0
    """So many connections are closed without an answer, their requests unread."""
    swallow: int = 0
    """So many requests are passed on, and their answers lost."""
    cut_after_bytes: int | None = None
    """The next connection's answer ends here: no more bytes come, and then it is cut, or when `cut_now` is set."""
    cut_now: asyncio.Event | None = None
    """What a cut waits for. A reset throws away what the client has received and not read yet."""
    cut_upload_after_bytes: int | None = None
    """The next connection's request ends here."""
    _clients: set[asyncio.StreamWriter] = dataclasses.field(default_factory=set)

    @classmethod
    @contextlib.asynccontextmanager
    async def before(cls, url: str) -> AsyncIterator[Self]:
        """Listen for the length of the block."""
        proxy = cls(yarl.URL(url))
        server = await asyncio.start_server(proxy._serve, "127.0.0.1", 0)
        proxy.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield proxy
        finally:
            server.close()
            while proxy._clients:
                for writer in proxy._clients:
                    writer.transport.abort()
                await asyncio.sleep(0.01)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._clients.add(writer)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await self._answer(reader, writer)
        finally:
            writer.transport.abort()
            self._clients.discard(writer)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if self.refuse > 0:
            self.refuse -= 1
            self.turned_away += 1
            return
        if self.away > 0:
            self.away -= 1
            self.turned_away += 1
            writer.write(_AWAY % self.retry_after_s)
            await writer.drain()
            return
        self.heads.append(head.partition(b"\r\n")[0].decode())
        up_reader, up_writer = await asyncio.open_connection(self.upstream.host, self.upstream.port)
        try:
            up_writer.write(head)
            await self._carry(reader, writer, up_reader, up_writer)
        finally:
            up_writer.transport.abort()

    async def _carry(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        up_reader: asyncio.StreamReader,
        up_writer: asyncio.StreamWriter,
    ) -> None:
        down_limit, self.cut_after_bytes = self.cut_after_bytes, None
        up_limit, self.cut_upload_after_bytes = self.cut_upload_after_bytes, None
        if self.swallow > 0:
            self.swallow -= 1
            down_limit = 0
        ways = [
            asyncio.create_task(_pass(reader, up_writer, up_limit)),
            asyncio.create_task(_pass(up_reader, writer, down_limit, cut_now=self.cut_now)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)


async def _pass(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    limit_bytes: int | None,
    *,
    cut_now: asyncio.Event | None = None,
) -> None:
    """Carry bytes until there are no more, or more than the limit allows; then wait for `cut_now` where it is given."""
    left = limit_bytes
    while piece := await reader.read(_PIECE_BYTES):
        if left is None:
            writer.write(piece)
        elif left > 0:
            writer.write(piece[:left])
            left -= len(piece[:left])
        else:
            if cut_now is not None:
                await cut_now.wait()
            return
        await writer.drain()
