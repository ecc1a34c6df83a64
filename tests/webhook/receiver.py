"""A real HTTP server that takes messages, or does not.

Set `answers` to what the next requests get (204 for ever after them), `delay_s` to let them wait, and await
`receiver.next("breaker.opened")`.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from vault.api.server import Runner

SECRET = "whsec_" + base64.b64encode(b"a secret that only tests have").decode()


@dataclass(frozen=True, slots=True)
class Received:
    """One request, as it came."""

    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """Its document."""
        return json.loads(self.body)

    def is_signed(self, secret: str = SECRET) -> bool:
        """Whether the signature is right, worked out here anew (Standard Webhooks 1.0)."""
        key = base64.b64decode(secret.removeprefix("whsec_"))
        signed = f"{self.headers['webhook-id']}.{self.headers['webhook-timestamp']}.".encode() + self.body
        expected = base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
        return self.headers.get("webhook-signature") == f"v1,{expected}"


@dataclass(slots=True)
class Receiver:
    """What came, and what the next requests get."""

    url: str = ""
    answers: list[int] = field(default_factory=list)
    delay_s: float = 0.0
    received: list[Received] = field(default_factory=list)
    came: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    async def take(self, request: web.Request) -> web.Response:
        """Keep a request and answer it."""
        self.received.append(Received(request.headers.copy(), await request.read()))
        self.came.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.delay_s):
                await self.ended.wait()
        status = self.answers.pop(0) if self.answers else 204
        headers = {"Location": f"{self.url}/elsewhere"} if status in {302, 307} else {}
        return web.Response(status=status, headers=headers)

    def of(self, kind: str) -> list[Received]:
        """What came of one type."""
        return [each for each in self.received if each.json["type"] == kind]

    async def next(self, kind: str, *, count: int = 1, timeout_s: float = 8.0) -> Received:
        """The latest of a type, once there are `count` of them."""
        async with asyncio.timeout(timeout_s):
            while len(self.of(kind)) < count:
                self.came.clear()
                await self.came.wait()
        return self.of(kind)[-1]


@contextlib.asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    """A receiver for the length of the block."""
    receiver, app = Receiver(), web.Application()
    app.router.add_route("*", "/{rest:.*}", receiver.take)
    runner = Runner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield receiver
    finally:
        receiver.ended.set()
        await runner.cleanup()
