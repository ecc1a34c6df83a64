"""A run's hold on its job while it works.

Invariant: when the catalog says that another run holds the job, this run is cancelled before anything else happens.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
from collections.abc import Callable, Coroutine
from typing import Any, Final

from keys.database import Database
from keys.errors import DatabaseUnavailable
from keys.ids import FileId
from vault.catalog import drafts, jobs
from vault.catalog.drafts import ObjectRow
from vault.catalog.jobs import Claim
from vault.work.making import Made

# Often enough for a progress bar; a lease lasts fifteen times as long.
RENEW_EVERY_S: Final = 2.0


class Lease:
    """Keeps a claim alive while a run works, and ends the run when the claim is lost."""

    def __init__(self, catalog: Database, claim: Claim, clock: Callable[[], dt.datetime]) -> None:
        self._catalog = catalog
        self._claim = claim
        self._clock = clock
        self._progress: float | None = None

    def on_progress(self, fraction: float | None, _speed: float | None) -> None:
        """Remember how far the run is; the next renewal tells the catalog."""
        self._progress = fraction

    async def announce(self, file_id: FileId) -> None:
        """Announce a draft of this run; raises `DatabaseUnavailable`."""
        row = ObjectRow(self._claim.recording_id, file_id)
        async with self._catalog.writing() as connection:
            await drafts.announce(connection, row, run_id=self._claim.run_id, now=self._clock())

    async def hold(self, work: Coroutine[Any, Any, Made]) -> Made:
        """Await `work` while renewing; raises `LostClaim`, and then `work` has ended."""
        run = asyncio.create_task(work)
        renewing = asyncio.create_task(self._renew())
        try:
            await asyncio.wait({run, renewing}, return_when=asyncio.FIRST_COMPLETED)
            if renewing.done():
                renewing.result()
            return await run
        finally:
            for task in (run, renewing):
                task.cancel()
            await asyncio.gather(run, renewing, return_exceptions=True)

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(RENEW_EVERY_S)
            # An unreachable catalog ends no run: publishing is a compare-and-swap on the claim anyway.
            with contextlib.suppress(DatabaseUnavailable):
                async with self._catalog.writing() as connection:
                    now = self._clock()
                    await jobs.renew(connection, self._claim, progress=self._progress, now=now)
                    await drafts.touch(connection, self._claim.run_id, now=now)
