"""What every role stands on: catalog, Redis, object store, audit log, metrics."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import AsyncIterator
from dataclasses import dataclass

from redis.asyncio import Redis

from keys.database import Database, open_database
from vault.alarm import Alarm
from vault.app.alarms import ringing
from vault.app.audited import audited
from vault.audit.log import AuditLog
from vault.metrics import Metrics
from vault.objects.location import make_store
from vault.objects.store import ObjectStore
from vault.redis_client import connect_redis
from vault.sessions.records import RecordStore
from vault.settings import CommonSettings


@dataclass(frozen=True, slots=True)
class Ground:
    """Open connections of one process."""

    catalog: Database
    redis: Redis
    store: ObjectStore
    audit: AuditLog
    metrics: Metrics
    alarm: Alarm

    @property
    def records(self) -> RecordStore:
        """Sealed session records."""
        return RecordStore(self.redis)


def utc_now() -> dt.datetime:
    """The clock of every role."""
    return dt.datetime.now(tz=dt.UTC)


@contextlib.asynccontextmanager
async def lay_ground(settings: CommonSettings, *, role: str) -> AsyncIterator[Ground]:
    """Open what every role needs and close it at the end.

    Raises `AuditUnavailable`, `StoreMisconfigured` or `SettingsError`.
    """
    async with contextlib.AsyncExitStack() as stack:
        store = make_store(settings.objects)
        stack.push_async_callback(store.aclose)
        metrics = Metrics()
        recording = audited(settings, role=role, store=store, clock=utc_now, metrics=metrics)
        audit = await stack.enter_async_context(recording)
        catalog = open_database(settings.catalog)
        stack.push_async_callback(catalog.aclose)
        redis = connect_redis(settings.redis)
        stack.push_async_callback(redis.aclose)
        alarm = await stack.enter_async_context(ringing(settings, audit, metrics, redis, clock=utc_now))
        yield Ground(catalog, redis, store, audit, metrics, alarm)
