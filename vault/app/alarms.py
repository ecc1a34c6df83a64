"""The alarm of one process: audit, metrics, the listing breaker that all replicas share, and the operator's webhook."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from redis.asyncio import Redis

from keys.keyfile import read_private_file
from vault.alarm import Alarm
from vault.app.background import background
from vault.audit.log import AuditLog
from vault.breaker.process import Breaker
from vault.breaker.shared import SharedBreaker
from vault.breaker.window import Limit
from vault.metrics import Metrics
from vault.settings import CommonSettings, SettingsError
from vault.webhook.address import UnusableWebhook, WebhookSecret, parse_secret
from vault.webhook.delivery import Clock, Webhook


@contextlib.asynccontextmanager
async def ringing(
    settings: CommonSettings, audit: AuditLog, metrics: Metrics, redis: Redis, *, clock: Clock
) -> AsyncIterator[Alarm]:
    """The alarm for the length of the block; raises `SettingsError` or `MasterUnusable` for a secret file."""
    limit = Limit(settings.breaker_threshold, settings.breaker_window_s * 1000)
    breaker = Breaker(SharedBreaker(redis), limit, settings.release, metrics.listing_breaker_open)
    async with contextlib.AsyncExitStack() as stack:
        webhook = await open_webhook(settings, audit, metrics, clock=clock)
        if webhook is not None:
            await stack.enter_async_context(webhook.delivering())
        await stack.enter_async_context(background(breaker.run(), name="breaker"))
        yield Alarm(audit, metrics, settings.release, breaker, webhook)


async def open_webhook(
    settings: CommonSettings, audit: AuditLog, metrics: Metrics, *, clock: Clock
) -> Webhook | None:
    """The operator's webhook, None without one; raises `SettingsError` or `MasterUnusable`."""
    if settings.alarm_webhook_url is None:
        return None
    secret = await asyncio.to_thread(_secret, settings.alarm_webhook_secret_file)
    return Webhook(
        url=settings.alarm_webhook_url,
        secret=secret,
        release=settings.release,
        audit=str(audit.path),
        outcomes=metrics.alarm_webhook,
        clock=clock,
    )


def _secret(path: Path | None) -> WebhookSecret | None:
    if path is None:
        return None
    try:
        return parse_secret(read_private_file(path).decode("utf-8", "replace"))
    except UnusableWebhook as refused:
        raise SettingsError(f"REPLAYVAULT_ALARM_WEBHOOK_SECRET_FILE: a secret file {refused}") from None
