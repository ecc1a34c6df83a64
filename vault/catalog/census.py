"""What the catalog says of objects, for whoever holds it against the store.

Every function takes the connection of its caller.

Invariant: objects come by keyset, in the order in which a store lists them; a sample is drawn without reading the rest.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, func, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from keys.ids import FileId, KeyId, RecordingId, TenantId
from vault.catalog.drafts import KEPT
from vault.catalog.rows import RecordingRow, recording_row
from vault.catalog.states import RecordingState
from vault.catalog.tables import objects, recordings


@dataclass(frozen=True, slots=True)
class KnownObject:
    """An object that the catalog knows. `is_kept`: it has to be in the store; others are on their way in or out."""

    recording_id: RecordingId
    file_id: FileId
    is_kept: bool

    @property
    def place(self) -> tuple[uuid.UUID, uuid.UUID]:
        """What objects are ordered by."""
        return self.recording_id, self.file_id


async def published(
    connection: AsyncConnection, *, pivot: uuid.UUID, limit: int, tenant: TenantId | None
) -> tuple[RecordingRow, ...]:
    """Published recordings from an id on, and from the first id on where those do not suffice.

    Ids are random and say nothing of what they name: whoever stands behind a random pivot is a fair sample.
    """
    behind = await _published(connection, recordings.c.id >= pivot, limit=limit, tenant=tenant)
    before = await _published(connection, recordings.c.id < pivot, limit=limit - len(behind), tenant=tenant)
    return (*behind, *before)


async def kept_of(
    connection: AsyncConnection, recording_ids: Collection[RecordingId]
) -> Mapping[RecordingId, frozenset[FileId]]:
    """The files that have to be in the store, of each of these recordings."""
    question = select(objects.c.recording_id, objects.c.file_id).where(
        objects.c.recording_id.in_(recording_ids), objects.c.kept == KEPT
    )
    found: dict[RecordingId, set[FileId]] = {each: set() for each in recording_ids}
    for row in await connection.execute(question):
        found[RecordingId(row.recording_id)].add(FileId(row.file_id))
    return {recording_id: frozenset(files) for recording_id, files in found.items()}


async def known(
    connection: AsyncConnection, *, after: tuple[uuid.UUID, uuid.UUID] | None, limit: int
) -> Sequence[KnownObject]:
    """A page of all objects, by recording and file."""
    order = (objects.c.recording_id, objects.c.file_id)
    question = select(*order, objects.c.kept).order_by(*order).limit(limit)
    if after is not None:
        question = question.where(tuple_(*order) > after)
    return [_known(*row) for row in await connection.execute(question)]


async def among(connection: AsyncConnection, file_ids: Collection[FileId]) -> Mapping[FileId, KnownObject]:
    """Those of these files that the catalog knows now."""
    question = select(objects.c.recording_id, objects.c.file_id, objects.c.kept).where(
        objects.c.file_id.in_(file_ids)
    )
    return {each.file_id: each for each in (_known(*row) for row in await connection.execute(question))}


async def count(connection: AsyncConnection) -> int:
    """How many objects the catalog knows."""
    return int(await connection.scalar(select(func.count()).select_from(objects)) or 0)


async def keys_of(
    connection: AsyncConnection, recording_ids: Collection[RecordingId]
) -> Mapping[RecordingId, KeyId]:
    """The recording keys of those of these recordings that are published now."""
    question = select(recordings.c.id, recordings.c.key_id).where(
        recordings.c.id.in_(recording_ids), recordings.c.state == RecordingState.PUBLISHED.value
    )
    return {RecordingId(row.id): KeyId(row.key_id) for row in await connection.execute(question)}


async def _published(
    connection: AsyncConnection, which: ColumnElement[bool], *, limit: int, tenant: TenantId | None
) -> tuple[RecordingRow, ...]:
    question = (
        select(recordings)
        .where(which, recordings.c.state == RecordingState.PUBLISHED.value)
        .order_by(recordings.c.id)
        .limit(limit)
    )
    if tenant is not None:
        question = question.where(recordings.c.tenant == tenant)
    return tuple(recording_row(row) for row in (await connection.execute(question)).mappings())


def _known(recording_id: uuid.UUID, file_id: uuid.UUID, kept: int) -> KnownObject:
    return KnownObject(RecordingId(recording_id), FileId(file_id), kept == KEPT)
