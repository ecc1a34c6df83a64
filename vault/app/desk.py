"""What an operator does with the listing breaker: look, open, close.

Invariants: a move is on the audit log before it holds; what is closed is what was looked at, and nothing that was
opened since; a webhook that is away changes nothing.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from vault.alarm import breaker_event
from vault.app.alarms import open_webhook
from vault.app.audited import operator_log
from vault.app.ground import utc_now
from vault.audit.entry import Action, Decision, Event
from vault.audit.log import AuditLog
from vault.breaker.shared import SharedBreaker
from vault.breaker.window import OPERATOR, Opening, Record
from vault.metrics import Metrics
from vault.redis_client import connect_redis
from vault.settings import CommonSettings
from vault.webhook.delivery import Undelivered, Webhook
from vault.webhook.message import Kind, Message

Warn = Callable[[str], None]


async def read_breaker(settings: CommonSettings) -> Record | None:
    """What all replicas share; raises `BreakerUnavailable`."""
    async with _shared(settings) as shared:
        return await shared.read()


async def close_breaker(settings: CommonSettings, opening: Opening, *, reason: str, warn: Warn) -> None:
    """Close what `opening` opened; raises `AnotherOpening`, `BreakerUnavailable` or `AuditUnavailable`."""
    async with _desk(settings) as desk:
        await desk.audit.write(breaker_event(Action.BREAKER_CLOSE, opening, actor=OPERATOR, reason=reason))
        await desk.shared.close(opening)
        await desk.tell(Kind.BREAKER_CLOSED, opening, warn)


async def clear_breaker(settings: CommonSettings, *, reason: str) -> None:
    """Remove a record that cannot be read; raises `AnotherOpening`, `BreakerUnavailable` or `AuditUnavailable`."""
    async with _desk(settings) as desk:
        note = f"a record that could not be read: {reason}"
        await desk.audit.write(
            Event(action=Action.BREAKER_CLOSE, decision=Decision.ALLOW, actor=OPERATOR, note=note)
        )
        await desk.shared.clear()


async def open_breaker(settings: CommonSettings, *, reason: str, warn: Warn) -> Opening | None:
    """Open it by hand, None where it is open; raises `BreakerUnavailable` or `AuditUnavailable`."""
    async with _desk(settings) as desk:
        at_ms = await desk.shared.now_ms()
        opening = Opening.new(at_ms=at_ms, release=settings.release, place=OPERATOR, count=0)
        await desk.audit.write(breaker_event(Action.BREAKER_OPEN, opening, actor=OPERATOR, reason=reason))
        if not await desk.shared.open(opening):
            return None
        await desk.tell(Kind.BREAKER_OPENED, opening, warn)
        return opening


@dataclass(frozen=True, slots=True)
class _Desk:
    """What a move needs."""

    shared: SharedBreaker
    audit: AuditLog
    webhook: Webhook | None

    async def tell(self, kind: Kind, opening: Opening, warn: Warn) -> None:
        """Send the message before the command ends; that nobody took it is said, and changes nothing."""
        if self.webhook is None:
            return
        message = Message(
            kind=kind,
            at=utc_now(),
            release=opening.release,
            places={opening.place: opening.count},
            audit=str(self.audit.path),
            opening=opening.opening_id,
        )
        try:
            await self.webhook.deliver(message)
        except Undelivered as error:
            warn(f"the webhook was not told: {error}")


@contextlib.asynccontextmanager
async def _desk(settings: CommonSettings) -> AsyncIterator[_Desk]:
    async with operator_log(settings, clock=utc_now) as audit:
        webhook = await open_webhook(settings, audit, Metrics(), clock=utc_now)
        async with _shared(settings) as shared:
            yield _Desk(shared, audit, webhook)


@contextlib.asynccontextmanager
async def _shared(settings: CommonSettings) -> AsyncIterator[SharedBreaker]:
    client = connect_redis(settings.redis)
    try:
        yield SharedBreaker(client)
    finally:
        await client.aclose()
