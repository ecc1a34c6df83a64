"""Sets right what crashes, lost queues and unreachable stores leave behind; the catalog says what is owed.

Invariants: every step is idempotent, so any number of reconcilers may run; a job that nobody holds is woken again; a
draft whose writer is gone is deleted from the store before its row is.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog

from keys.database import Database
from keys.errors import KeysError
from vault.catalog import jobs
from vault.drafting import Drafting
from vault.objects.errors import ObjectsError
from vault.objects.store import ObjectStore
from vault.queue import WakeUps

INTERVAL_S: Final = 3.0
_BATCH: Final = 100
# An upload to the store that is older than this belongs to no process that lives.
_SWEEP_AFTER: Final = dt.timedelta(hours=24)
_SWEEP_EVERY: Final = dt.timedelta(hours=1)

_log = structlog.get_logger("replayvault.reconciler")


@dataclass(slots=True)
class Reconciler:
    """Runs beside the worker."""

    catalog: Database
    store: ObjectStore
    wake_ups: WakeUps
    clock: Callable[[], dt.datetime]
    _swept_at: dt.datetime | None = None

    async def run(self) -> None:
        """Reconcile for ever; whatever is down is tried again at the next turn."""
        while True:
            try:
                await self.once()
            except (KeysError, ObjectsError) as error:
                _log.warning("reconciling waits", error=type(error).__name__)
            await asyncio.sleep(INTERVAL_S)

    async def once(self) -> None:
        """One turn; raises `DatabaseUnavailable` or `StoreUnavailable`."""
        now = self.clock()
        async with self.catalog.reading() as connection:
            owed = await jobs.owed(connection, now=now, limit=_BATCH)
        for job in owed:
            await self.wake_ups.transcode(job.recording_id, attempt=job.attempts)
        cleared = await Drafting(self.catalog, self.store, self.clock).clear_abandoned(limit=_BATCH)
        if cleared:
            _log.info("abandoned objects removed", count=cleared)
        if self._swept_at is None or now - self._swept_at > _SWEEP_EVERY:
            self._swept_at = now
            await self.store.sweep(before=now - _SWEEP_AFTER)
