"""The desk at which an operator's command rotates this machine's tier secret."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from vault.app.audited import operator_log
from vault.app.databases import opened_catalog
from vault.app.ground import utc_now
from vault.audit.log import AuditLog
from vault.redis_client import connect_redis
from vault.sessions.tier_rotation import TierDesk
from vault.settings import ControlSettings


@contextlib.asynccontextmanager
async def tier_desk(settings: ControlSettings, *, writing: bool) -> AsyncIterator[TierDesk]:
    """The desk of this machine's tier file; with an audit log where it is to be changed."""
    async with contextlib.AsyncExitStack() as stack:
        catalog = await stack.enter_async_context(opened_catalog(settings))
        redis = connect_redis(settings.redis)
        stack.push_async_callback(redis.aclose)
        audit: AuditLog | None = None
        if writing:
            audit = await stack.enter_async_context(operator_log(settings, clock=utc_now))
        yield TierDesk(settings.tier_file, catalog, redis, audit, utc_now)
