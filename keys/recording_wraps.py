"""Recording keys under patient keys, as rows of the catalog.

Every function takes the connection, and so the transaction, of its caller.

Invariants: a wrap is found by recording and patient key id, never by trying; a recording without wraps is opened
by nobody.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from keys.ids import Generation, KeyId, RecordingId
from keys.tables import recording_wraps


@dataclass(frozen=True, slots=True)
class RecordingWrap:
    """A recording key under one patient key."""

    recording_id: RecordingId
    patient_key_id: KeyId
    generation: Generation
    wrapped: bytes


async def add_wrap(connection: AsyncConnection, wrap: RecordingWrap, *, now: dt.datetime) -> None:
    """Insert the wrap of a new recording."""
    await connection.execute(
        insert(recording_wraps).values(
            recording_id=wrap.recording_id,
            patient_key_id=wrap.patient_key_id,
            generation=wrap.generation,
            wrapped=wrap.wrapped,
            created_at=now,
        ),
    )


async def wraps_of(
    connection: AsyncConnection, recording_ids: Iterable[RecordingId]
) -> dict[RecordingId, tuple[RecordingWrap, ...]]:
    """The wraps of each of these recordings; one or two each, the second during a rotation."""
    wanted: list[uuid.UUID] = list(recording_ids)
    question = select(recording_wraps).where(recording_wraps.c.recording_id.in_(wanted))
    found: dict[RecordingId, tuple[RecordingWrap, ...]] = {RecordingId(each): () for each in wanted}
    for row in (await connection.execute(question)).mappings():
        wrap = RecordingWrap(
            recording_id=RecordingId(row["recording_id"]),
            patient_key_id=KeyId(row["patient_key_id"]),
            generation=Generation(row["generation"]),
            wrapped=row["wrapped"],
        )
        found[wrap.recording_id] += (wrap,)
    return found


async def drop_wraps(connection: AsyncConnection, recording_id: RecordingId) -> None:
    """Delete every wrap of a recording: from here on nothing opens it."""
    await connection.execute(delete(recording_wraps).where(recording_wraps.c.recording_id == recording_id))
