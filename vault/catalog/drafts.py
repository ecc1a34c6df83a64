"""Objects that are being written: announced before their first byte, kept or discarded afterwards.

Every function takes the connection, and so the transaction, of its caller.

Invariants: an object in the store without a row here was written by nobody of ours; a draft that is not touched for
`ABANDONED_AFTER` belongs to a process that is gone; what is condemned is never kept, so that a writer that
wakes up late cannot publish what was deleted.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import ColumnElement, CursorResult, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from keys.ids import FileId, RecordingId
from vault.catalog.errors import LostClaim
from vault.catalog.tables import objects

ABANDONED_AFTER: Final = dt.timedelta(minutes=2)
DRAFT: Final = 0
KEPT: Final = 1
CONDEMNED: Final = -1


@dataclass(frozen=True, slots=True)
class ObjectRow:
    """One object of a recording."""

    recording_id: RecordingId
    file_id: FileId


async def announce(
    connection: AsyncConnection, row: ObjectRow, *, run_id: uuid.UUID, now: dt.datetime
) -> None:
    """Say that an object is about to be written."""
    await connection.execute(
        insert(objects).values(
            file_id=row.file_id,
            recording_id=row.recording_id,
            run_id=run_id,
            kept=DRAFT,
            touched_at=now,
        ),
    )


async def touch(connection: AsyncConnection, run_id: uuid.UUID, *, now: dt.datetime) -> None:
    """Say that the writer of a run's drafts is alive."""
    await connection.execute(
        update(objects).where(objects.c.run_id == run_id, objects.c.kept == DRAFT).values(touched_at=now),
    )


async def keep(connection: AsyncConnection, file_ids: Sequence[FileId]) -> None:
    """These objects belong to what is published or acknowledged; raises `LostClaim` if one was given up."""
    change = (
        update(objects)
        .where(objects.c.file_id.in_(file_ids), objects.c.kept != CONDEMNED)
        .values(kept=KEPT)
        .returning(objects.c.file_id)
    )
    if len((await connection.execute(change)).all()) != len(file_ids):
        raise LostClaim("an object of this run was given up as abandoned")


async def condemn_run(connection: AsyncConnection, run_id: uuid.UUID) -> tuple[ObjectRow, ...]:
    """Give up a run's drafts; they can't be kept from here on."""
    return await _condemn(connection, objects.c.run_id == run_id)


async def condemn_abandoned(
    connection: AsyncConnection, *, now: dt.datetime, limit: int
) -> tuple[ObjectRow, ...]:
    """Give up drafts whose writer is gone, and name again what was given up but not yet forgotten.

    What is named goes to the end of the line, so that objects that cannot be deleted now keep nobody waiting.
    """
    oldest = (
        select(objects.c.file_id)
        .where(objects.c.kept != KEPT, objects.c.touched_at < now - ABANDONED_AFTER)
        .order_by(objects.c.touched_at)
        .limit(limit)
    )
    return await _condemn(connection, objects.c.file_id.in_(oldest), touched_at=now)


async def condemn_recording(connection: AsyncConnection, recording_id: RecordingId) -> tuple[ObjectRow, ...]:
    """Give up every object of a recording, as it is deleted."""
    change = (
        update(objects)
        .where(objects.c.recording_id == recording_id)
        .values(kept=CONDEMNED)
        .returning(objects.c.recording_id, objects.c.file_id)
    )
    return _rows(await connection.execute(change))


async def forget(connection: AsyncConnection, file_ids: Sequence[FileId]) -> None:
    """These objects are gone from the store."""
    await connection.execute(delete(objects).where(objects.c.file_id.in_(file_ids)))


async def _condemn(
    connection: AsyncConnection, which: ColumnElement[bool], **changes: dt.datetime
) -> tuple[ObjectRow, ...]:
    change = (
        update(objects)
        .where(which, objects.c.kept != KEPT)
        .values(kept=CONDEMNED, **changes)
        .returning(objects.c.recording_id, objects.c.file_id)
    )
    return _rows(await connection.execute(change))


def _rows(result: CursorResult[tuple[uuid.UUID, uuid.UUID]]) -> tuple[ObjectRow, ...]:
    return tuple(ObjectRow(RecordingId(row.recording_id), FileId(row.file_id)) for row in result)
