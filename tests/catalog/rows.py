"""Short words for the tests: recordings, in any state and number."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from keys.database import Database
from keys.ids import (
    RecordingId,
    new_key_id,
    new_recording_id,
    parse_consultation,
    parse_patient,
    parse_tenant,
)
from vault.catalog.recordings import NewRecording, create
from vault.catalog.states import RecordingState
from vault.catalog.tables import recordings

TENANT, PATIENT, OTHER = parse_tenant("clinic"), parse_patient("patient-1"), parse_patient("patient-2")
NOW = dt.datetime(2026, 3, 1, 9, 30, 0, 123_456, tzinfo=dt.UTC)
SECOND = dt.timedelta(seconds=1)


def new_recording(**changed: Any) -> NewRecording:
    """A recording of the patient, with some fields changed."""
    fields: dict[str, Any] = {
        "recording_id": new_recording_id(),
        "tenant": TENANT,
        "patient": PATIENT,
        "consultation": parse_consultation("consultation-1"),
        "key_id": new_key_id(),
        "metadata": b"sealed",
        "idempotency": None,
        "created_at": NOW,
    }
    return NewRecording(**{**fields, **changed})


async def add_recording(
    database: Database, state: RecordingState = RecordingState.CREATED, **changed: Any
) -> RecordingId:
    """Insert a recording as it would stand in `state`."""
    new = new_recording(**changed)
    async with database.writing() as connection:
        await create(connection, new)
        if state is not RecordingState.CREATED:
            change = recordings.update().where(recordings.c.id == new.recording_id)
            await connection.execute(change.values(state=state.value))
    return new.recording_id


async def state_of(connection: AsyncConnection, recording_id: RecordingId) -> RecordingState:
    """The state, also of a deleted recording."""
    question = select(recordings.c.state).where(recordings.c.id == recording_id)
    return RecordingState(await connection.scalar(question))


def row_values(
    *, patient: str, created_at: dt.datetime, state: RecordingState = RecordingState.PUBLISHED
) -> dict[str, Any]:
    """A row for a bulk insert."""
    return {
        "id": uuid.uuid4(),
        "tenant": TENANT,
        "patient": patient,
        "consultation": "consultation-1",
        "key_id": uuid.uuid4(),
        "state": state.value,
        "created_at": created_at,
        "metadata": b"sealed",
    }


async def add_rows(
    database: Database, table: Any, rows: Iterable[dict[str, Any]]
) -> Sequence[dict[str, Any]]:
    """Insert many rows at once."""
    values = list(rows)
    async with database.writing() as connection:
        await connection.execute(insert(table), values)
    return values
