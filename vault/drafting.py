"""The life of objects that nobody points at yet: announced, kept alive, and removed when they come to nothing.

Ingest, the worker and the reconciler all write or clear drafts; this is how.

Invariants: an object is removed from the store before its row is forgotten; what cannot be removed now is named again
by the next `clear_abandoned`; removing is never interrupted half-way by whoever has gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Final

import structlog

from keys.database import Database
from keys.errors import DatabaseUnavailable, KeysError
from keys.ids import FileId, RecordingId
from vault.catalog import drafts, recordings
from vault.catalog.drafts import ObjectRow
from vault.catalog.errors import UnknownRecording
from vault.objects.errors import ObjectsError
from vault.objects.store import ObjectName, ObjectStore

_TOUCH_EVERY_S: Final = drafts.ABANDONED_AFTER.total_seconds() / 4

_log = structlog.get_logger("replayvault.drafts")


@dataclass(frozen=True, slots=True)
class Drafting:
    """Drafts in the catalog and their objects in the store."""

    catalog: Database
    store: ObjectStore
    clock: Callable[[], dt.datetime]

    async def announce(self, recording_id: RecordingId, file_id: FileId, *, run_id: uuid.UUID) -> None:
        """Say that an object is about to be written; raises `DatabaseUnavailable`."""
        async with self.catalog.writing() as connection:
            row = ObjectRow(recording_id, file_id)
            await drafts.announce(connection, row, run_id=run_id, now=self.clock())

    @contextlib.asynccontextmanager
    async def kept_or_gone(self, recording_id: RecordingId, run_id: uuid.UUID) -> AsyncIterator[None]:
        """Keep a run's drafts alive while the block runs; where it fails, leave nothing of them."""
        alive = asyncio.create_task(self._keep_touching(run_id), name="drafts-alive")
        try:
            yield
        except BaseException:
            # Shielded: also when the client has gone, nothing of its half upload may stay.
            await asyncio.shield(asyncio.ensure_future(self.give_up(recording_id, run_id)))
            raise
        finally:
            alive.cancel()

    async def give_up(self, recording_id: RecordingId, run_id: uuid.UUID) -> None:
        """Remove what a run wrote and nothing points at; what cannot be removed now is left to the reconciler."""
        try:
            async with self.catalog.writing() as connection:
                condemned = await drafts.condemn_run(connection, run_id)
            await self.discard(condemned)
            await self._purge_if_deleted(recording_id)
        except (KeysError, ObjectsError) as error:
            _log.warning("drafts stay for the reconciler", error=type(error).__name__)

    async def _purge_if_deleted(self, recording_id: RecordingId) -> None:
        """Deleting a recording forgets the rows of its drafts: what was finished after that is known to nobody else."""
        try:
            async with self.catalog.reading() as connection:
                await recordings.by_id(connection, recording_id)
        except UnknownRecording:
            await self.store.purge(recording_id)

    async def clear_abandoned(self, *, limit: int) -> int:
        """Remove drafts whose writer is gone; how many. Raises `DatabaseUnavailable` or `StoreUnavailable`."""
        async with self.catalog.writing() as connection:
            condemned = await drafts.condemn_abandoned(connection, now=self.clock(), limit=limit)
        await self.discard(condemned)
        return len(condemned)

    async def discard(self, condemned: tuple[ObjectRow, ...]) -> None:
        """Remove condemned objects, then forget them; raises `DatabaseUnavailable` or `StoreUnavailable`."""
        if not condemned:
            return
        await self.store.delete([ObjectName(each.recording_id, each.file_id) for each in condemned])
        async with self.catalog.writing() as connection:
            await drafts.forget(connection, [each.file_id for each in condemned])

    async def _keep_touching(self, run_id: uuid.UUID) -> None:
        while True:
            await asyncio.sleep(_TOUCH_EVERY_S)
            # A catalog that is away for a moment ends no upload; the next turn comes well before it is given up.
            with contextlib.suppress(DatabaseUnavailable):
                async with self.catalog.writing() as connection:
                    await drafts.touch(connection, run_id, now=self.clock())
