"""The catalog and the audit log, for operators' commands that change something: what they do is on record first."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from keys.database import Database
from vault.app.audited import operator_log
from vault.app.databases import opened_catalog
from vault.app.ground import utc_now
from vault.audit.log import AuditLog
from vault.settings import AllSettings


@contextlib.asynccontextmanager
async def recorded_catalog(settings: AllSettings) -> AsyncIterator[tuple[Database, AuditLog]]:
    """Both, for the length of the block; raises as `opened_catalog` and `operator_log` do."""
    async with opened_catalog(settings) as catalog, operator_log(settings, clock=utc_now) as audit:
        yield catalog, audit
