"""Delivers alarms: one task, a bounded queue, a few tries. Nobody who raises an alarm waits for it.

Invariants:
- `tell` and `count` return at once, whatever the receiver does;
- at most one message of a kind that comes in storms each `CALM_S`, with the count of all since the last;
- no redirect is followed; what could not be delivered is counted and logged, without the URL's path or query.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import secrets
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Final

import aiohttp
import structlog
import yarl
from prometheus_client import Counter

from vault.webhook.address import WebhookSecret, origin
from vault.webhook.message import Kind, Message, Tally, headers

CALM_S: Final = 10.0
TIMEOUT_S: Final = 5.0
# A receiver that restarts is back within these; whatever takes longer has the metric and the log.
WAITS_S: Final = (1.0, 2.0, 4.0)
QUEUE_MESSAGES: Final = 32
DRAIN_S: Final = 2.0
_FIRST_NOT_OK: Final = 300

Clock = Callable[[], dt.datetime]
_log = structlog.get_logger("replayvault.webhook")


class Undelivered(Exception):
    """The receiver did not take a message, whatever the reason was."""


@dataclass(slots=True)
class Webhook:
    """Use `delivering` for the length of a process."""

    url: str = field(repr=False)
    secret: WebhookSecret | None
    release: str
    audit: str
    outcomes: Counter
    clock: Clock
    waits_s: tuple[float, ...] = WAITS_S
    calm_s: float = CALM_S
    _queue: deque[Message] = field(default_factory=deque, init=False)
    _tallies: dict[Kind, Tally] = field(default_factory=dict, init=False)
    _calm_until_s: dict[Kind, float] = field(default_factory=dict, init=False)
    _wake: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _closing: asyncio.Event = field(default_factory=asyncio.Event, init=False)

    def tell(self, kind: Kind, *, place: str, count: int, release: str, opening: str) -> None:
        """Queue a message of a kind that does not come in storms."""
        if len(self._queue) >= QUEUE_MESSAGES:
            self._failed(kind, "dropped", why="the queue is full")
            return
        self._queue.append(
            Message(
                kind=kind,
                at=self.clock(),
                release=release,
                places={place: count},
                audit=self.audit,
                opening=opening,
            )
        )
        self._wake.set()

    def count(self, kind: Kind, *, place: str, recording: str) -> None:
        """Count something that may come in storms; it is told soon, with others of its kind."""
        self._tallies.setdefault(kind, Tally()).add(place, recording)
        self._wake.set()

    @contextlib.asynccontextmanager
    async def delivering(self) -> AsyncIterator[None]:
        """Deliver for the length of the block; at its end what is left has `DRAIN_S`."""
        task = asyncio.create_task(self._run(), name="webhook")
        try:
            yield
        finally:
            self._closing.set()
            self._wake.set()
            await asyncio.wait([task], timeout=DRAIN_S)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            for kind in (*(each.kind for each in self._queue), *self._tallies):
                self._failed(kind, "dropped", why="the process ended first")

    async def deliver(self, message: Message) -> None:
        """Send one message now, with a few tries; raises `Undelivered`."""
        async with _client() as http:
            await self._deliver(http, message)

    async def _run(self) -> None:
        async with _client() as http:
            while not (self._closing.is_set() and not self._queue and not self._tallies):
                message = self._next()
                if message is None:
                    await self._rest()
                    continue
                with contextlib.suppress(Undelivered):
                    await self._deliver(http, message)

    def _next(self) -> Message | None:
        if self._queue:
            return self._queue.popleft()
        now_s = time.monotonic()
        for kind in self._tallies:
            if self._closing.is_set() or self._calm_until_s.get(kind, now_s) <= now_s:
                self._calm_until_s[kind] = now_s + self.calm_s
                return self._told(kind, self._tallies.pop(kind))
        return None

    def _told(self, kind: Kind, tally: Tally) -> Message:
        return Message(
            kind=kind,
            at=self.clock(),
            release=self.release,
            places=dict(tally.places),
            audit=self.audit,
            recordings=tuple(tally.recordings),
        )

    async def _rest(self) -> None:
        """Until something new comes, or what is counted is due."""
        due_s = min((self._calm_until_s[kind] for kind in self._tallies), default=None)
        self._wake.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(None if due_s is None else max(due_s - time.monotonic(), 0.01)):
                await self._wake.wait()

    async def _deliver(self, http: aiohttp.ClientSession, message: Message) -> None:
        body, message_id = message.body(), f"msg_{secrets.token_hex(16)}"
        try:
            await self._tried(http, body, message_id)
        except Undelivered as error:
            self._failed(message.kind, "failed", why=str(error))
            raise
        except asyncio.CancelledError:
            self._failed(message.kind, "failed", why="the process ended first")
            raise
        self.outcomes.labels(outcome="delivered").inc()

    async def _tried(self, http: aiohttp.ClientSession, body: bytes, message_id: str) -> None:
        for wait_s in self.waits_s:
            with contextlib.suppress(Undelivered):
                return await self._send(http, body, message_id)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._closing.wait()  # at the end there is no time to wait
        return await self._send(http, body, message_id)

    async def _send(self, http: aiohttp.ClientSession, body: bytes, message_id: str) -> None:
        signed = headers(body, message_id=message_id, at=self.clock(), secret=self.secret)
        try:
            async with http.post(
                yarl.URL(self.url), data=body, headers=signed, allow_redirects=False
            ) as answer:
                status = answer.status
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise Undelivered(type(error).__name__) from None
        if status >= _FIRST_NOT_OK:
            raise Undelivered(f"status {status}")

    def _failed(self, kind: Kind, outcome: str, *, why: str) -> None:
        self.outcomes.labels(outcome=outcome).inc()
        _log.error("an alarm was not delivered", kind=kind.value, to=origin(self.url), why=why)


def _client() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=TIMEOUT_S),
        headers={"User-Agent": "replayvault-alarm"},
    )
