"""A real HTTP proxy in front of an S3 service that fails on request, and remembers what passed.

`proxy.fail(is_part, reset, times=2)`: the next two requests that `is_part` matches are answered by `reset`.
What a fault does to the upstream service is real: `lost_reply` lets the request through and drops the answer.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, Self

import aiohttp
from aiohttp import web
from yarl import URL

_HOP_BY_HOP: Final = frozenset(
    {"connection", "transfer-encoding", "keep-alive", "content-length", "date", "server"}
)


@dataclass
class Seen:
    """A request as it arrived."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes = field(repr=False)


@dataclass
class Answer:
    """The upstream service's answer."""

    status: int
    headers: dict[str, str]
    body: bytes = field(repr=False)


Forward = Callable[[], Awaitable[Answer]]
Fault = Callable[[web.Request, Forward], Awaitable[web.StreamResponse]]
Match = Callable[[Seen], bool]


def is_get(seen: Seen) -> bool:
    return seen.method == "GET" and "list-type" not in seen.query


def is_put(seen: Seen) -> bool:
    return seen.method == "PUT" and "partNumber" not in seen.query


def is_part(seen: Seen) -> bool:
    return seen.method == "PUT" and "partNumber" in seen.query


def is_complete(seen: Seen) -> bool:
    return seen.method == "POST" and "uploadId" in seen.query


def status(code: int, word: str = "InternalError") -> Fault:
    """Answer an error without asking the service."""

    async def fault(_request: web.Request, _forward: Forward) -> web.StreamResponse:
        text = f"<?xml version='1.0'?><Error><Code>{word}</Code><Message>no</Message></Error>"
        return web.Response(status=code, text=text, content_type="application/xml")

    return fault


async def reset(request: web.Request, _forward: Forward) -> web.StreamResponse:
    """Close the connection without an answer."""
    return _drop(request)


async def nonsense(request: web.Request, _forward: Forward) -> web.StreamResponse:
    """Answer something that is not HTTP."""
    assert request.transport is not None
    request.transport.write(b"220 mail.example.org ready\r\n\r\n")
    await asyncio.sleep(0.02)
    return _drop(request)


async def lost_reply(request: web.Request, forward: Forward) -> web.StreamResponse:
    """Let the request take effect and close the connection without an answer."""
    await forward()
    return _drop(request)


async def short(request: web.Request, forward: Forward) -> web.StreamResponse:
    """Announce the whole body and close the connection half-way."""
    answer = await forward()
    response = web.StreamResponse(status=answer.status, headers=answer.headers)
    response.content_length = len(answer.body)
    await response.prepare(request)
    await response.write(answer.body[: len(answer.body) // 2])
    return _drop(request, response)


async def long(_request: web.Request, forward: Forward) -> web.StreamResponse:
    """Send more than the range has."""
    answer = await forward()
    return web.Response(status=answer.status, headers=answer.headers, body=answer.body + b"more")


async def less(_request: web.Request, forward: Forward) -> web.StreamResponse:
    """Send less than the range has, and announce just that."""
    answer = await forward()
    return web.Response(status=answer.status, headers=answer.headers, body=answer.body[:-1])


async def whole(_request: web.Request, forward: Forward) -> web.StreamResponse:
    """Ignore Range, as some services do."""
    answer = await forward()
    return web.Response(status=200, headers=answer.headers, body=answer.body)


async def elsewhere(_request: web.Request, forward: Forward) -> web.StreamResponse:
    """Claim another range."""
    answer = await forward()
    headers = answer.headers | {"Content-Range": "bytes 1-2/3"}
    return web.Response(status=answer.status, headers=headers, body=answer.body)


async def altered(_request: web.Request, forward: Forward) -> web.StreamResponse:
    """Flip a bit of the body."""
    answer = await forward()
    body = bytearray(answer.body)
    body[len(body) // 2] ^= 1
    return web.Response(status=answer.status, headers=answer.headers, body=bytes(body))


async def moved(_request: web.Request, _forward: Forward) -> web.StreamResponse:
    """Redirect to somewhere else."""
    return web.Response(status=307, headers={"Location": "http://127.0.0.1:9/stolen"})


def held(until: asyncio.Event, *, took_effect: asyncio.Event | None = None) -> Fault:
    """Forward, and keep the answer back until `until`."""

    async def fault(_request: web.Request, forward: Forward) -> web.StreamResponse:
        answer = await forward()
        if took_effect is not None:
            took_effect.set()
        await until.wait()
        return web.Response(status=answer.status, headers=answer.headers, body=answer.body)

    return fault


class FaultyProxy:
    """Use as an async context manager."""

    def __init__(self, upstream: str) -> None:
        self._upstream = upstream
        self._plan: list[tuple[Match, Fault]] = []
        self._arrival = asyncio.Condition()
        self.seen: list[Seen] = []
        self.endpoint = ""
        self.puts_under_way = 0
        self.most_puts_under_way = 0

    def fail(self, match: Match, fault: Fault, *, times: int = 1) -> None:
        """Answer the next `times` requests that match by `fault`."""
        self._plan += [(match, fault)] * times

    def heal(self) -> None:
        """Forget the faults that are still to come."""
        self._plan.clear()

    def matching(self, match: Match) -> list[Seen]:
        """The requests so far that match."""
        return [seen for seen in self.seen if match(seen)]

    async def reached(self, match: Match, *, times: int = 1) -> None:
        """Wait until `times` requests that match have arrived."""
        async with asyncio.timeout(20), self._arrival:
            await self._arrival.wait_for(lambda: len(self.matching(match)) >= times)

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(auto_decompress=False)
        app = web.Application(client_max_size=64 << 20)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        port = self._runner.addresses[0][1]
        self.endpoint = f"http://127.0.0.1:{port}"
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self._runner.cleanup()
        await self._session.close()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.puts_under_way += request.method == "PUT"
        self.most_puts_under_way = max(self.most_puts_under_way, self.puts_under_way)
        try:
            return await self._answer(request)
        finally:
            self.puts_under_way -= request.method == "PUT"

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        headers = {name.lower(): value for name, value in request.headers.items()}
        seen = Seen(request.method, request.path, dict(request.query), headers, body)
        async with self._arrival:
            self.seen.append(seen)
            self._arrival.notify_all()

        async def forward() -> Answer:
            url = URL(self._upstream + request.raw_path, encoded=True)
            async with self._session.request(
                request.method,
                url,
                headers=_passed(request.headers),
                data=io.BytesIO(body),
                allow_redirects=False,
            ) as reply:
                return Answer(reply.status, _passed(reply.headers), await reply.read())

        fault = self._next(seen)
        if fault is not None:
            return await fault(request, forward)
        answer = await forward()
        return web.Response(status=answer.status, headers=answer.headers, body=answer.body)

    def _next(self, seen: Seen) -> Fault | None:
        for at, (match, fault) in enumerate(self._plan):
            if match(seen):
                del self._plan[at]
                return fault
        return None


def _passed(headers: object) -> dict[str, str]:
    assert hasattr(headers, "items")
    return {name: value for name, value in headers.items() if name.lower() not in _HOP_BY_HOP}


def _drop(request: web.Request, response: web.StreamResponse | None = None) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return response or web.Response()
