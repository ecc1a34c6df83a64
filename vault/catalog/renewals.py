"""Recordings that are to be encrypted anew, and the one exchange that makes a new key theirs.

Every function takes the connection, and so the transaction, of its caller.

Invariants:
- the recordings themselves say which of them are due: those whose key is older than the request;
- an exchange is a compare-and-swap on key and state, and changes key, wraps, details, manifest, source and objects in
  one transaction: whoever reads sees all of the old or all of the new;
- what the old key sealed is condemned with the time until which it stays; the reconciler leaves it alone until then.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import ColumnElement, and_, exists, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from keys import recording_wraps
from keys.ids import FileId, KeyId, PatientRef, RecordingId, TenantId
from keys.recording_wraps import RecordingWrap
from vault.catalog import drafts
from vault.catalog.drafts import CONDEMNED, DRAFT, KEPT, ObjectRow
from vault.catalog.key_jobs import JobId
from vault.catalog.rows import RecordingRow, StoredFile, recording_row
from vault.catalog.states import RecordingState
from vault.catalog.tables import former_keys, key_job_errors, objects, recordings

# A worker has their key, and may be writing: they are encrypted anew once they are published or failed.
IN_FLIGHT: Final = frozenset({RecordingState.QUEUED, RecordingState.PROCESSING})


@dataclass(frozen=True, slots=True)
class Extent:
    """Which recordings: a tenant's, a patient's, or one."""

    tenant: TenantId | None = None
    patient: PatientRef | None = None
    recording_id: RecordingId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewal:
    """What takes the place of `old`: everything sealed under the key `key_id`, which `wrap` holds.

    `made_at` is the moment of the key, `ends_at` that until which what it replaces stays.
    """

    old: RecordingRow
    key_id: KeyId
    wrap: RecordingWrap
    metadata: bytes
    summary: bytes | None
    source: StoredFile | None
    manifest: StoredFile | None
    file_ids: tuple[FileId, ...]
    made_at: dt.datetime
    ends_at: dt.datetime


@dataclass(frozen=True, slots=True)
class FormerKey:
    """A key that a recording had, the manifest that it opens, and until when."""

    key_id: KeyId
    manifest: StoredFile | None
    ends_at: dt.datetime


@dataclass(frozen=True, slots=True)
class Due:
    """How many recordings are due, and how many objects they have."""

    recordings: int
    objects: int
    in_flight: int


async def count_due(connection: AsyncConnection, extent: Extent, *, requested_at: dt.datetime) -> Due:
    """How much there is to encrypt anew."""
    due = _is_due(extent, requested_at)
    flying = recordings.c.state.in_([state.value for state in IN_FLIGHT])
    total = await connection.scalar(select(func.count()).select_from(recordings).where(due))
    kept = (
        select(func.count())
        .select_from(objects.join(recordings, recordings.c.id == objects.c.recording_id))
        .where(due, objects.c.kept == KEPT)
    )
    in_flight = select(func.count()).select_from(recordings).where(due, flying)
    return Due(
        int(total or 0), int(await connection.scalar(kept) or 0), int(await connection.scalar(in_flight) or 0)
    )


async def due(
    connection: AsyncConnection,
    extent: Extent,
    *,
    requested_at: dt.datetime,
    after: RecordingId | None,
    limit: int,
) -> tuple[RecordingRow, ...]:
    """Recordings whose key is older than the request, by id."""
    question = select(recordings).where(_is_due(extent, requested_at)).order_by(recordings.c.id).limit(limit)
    if after is not None:
        question = question.where(recordings.c.id > after)
    return tuple(recording_row(row) for row in (await connection.execute(question)).mappings())


async def named(
    connection: AsyncConnection, job_id: JobId, recording_ids: Sequence[RecordingId]
) -> frozenset[RecordingId]:
    """Those of these recordings that a job has named in its errors: it is done with them."""
    question = select(key_job_errors.c.item).where(
        key_job_errors.c.job_id == job_id, key_job_errors.c.item.in_([str(each) for each in recording_ids])
    )
    return frozenset(RecordingId(uuid.UUID(item)) for item in await connection.scalars(question))


async def is_same(connection: AsyncConnection, row: RecordingRow) -> bool:
    """Whether a recording still has the key and the state that were read; it is held until the transaction ends."""
    question = select(recordings.c.key_id, recordings.c.state).where(recordings.c.id == row.recording_id)
    found = (await connection.execute(question.with_for_update())).one_or_none()
    return found is not None and (found.key_id, found.state) == (row.key_id, row.state.value)


async def is_being_written(connection: AsyncConnection, recording_id: RecordingId) -> bool:
    """Whether an upload of this recording is under way."""
    draft = exists().where(objects.c.recording_id == recording_id, objects.c.kept == DRAFT)
    return bool(await connection.scalar(select(draft)))


async def exchange(connection: AsyncConnection, renewal: Renewal, *, now: dt.datetime) -> bool:
    """Make the new key and all that it seals the recording's; False where the recording changed meanwhile.

    Raises `LostClaim` when one of the new objects was given up.
    """
    recording_id = renewal.old.recording_id
    if not await is_same(connection, renewal.old):
        return False
    if renewal.old.source is None and await is_being_written(connection, recording_id):
        return False  # an upload, under the old key
    await connection.execute(
        update(objects)
        .where(objects.c.recording_id == recording_id, objects.c.kept == KEPT)
        .values(kept=CONDEMNED, touched_at=renewal.ends_at)
    )
    await drafts.keep(connection, renewal.file_ids)
    await connection.execute(
        update(recordings).where(recordings.c.id == recording_id).values(_new_values(renewal))
    )
    await recording_wraps.drop_wraps(connection, recording_id)
    await recording_wraps.add_wrap(connection, renewal.wrap, now=now)
    manifest = renewal.old.manifest
    await connection.execute(
        insert(former_keys).values(
            key_id=renewal.old.key_id,
            recording_id=recording_id,
            manifest_file_id=None if manifest is None else manifest.file_id,
            manifest_size_bytes=None if manifest is None else manifest.size_bytes,
            ends_at=renewal.ends_at,
        )
    )
    return True


async def former_key(
    connection: AsyncConnection, recording_id: RecordingId, key_id: KeyId
) -> FormerKey | None:
    """A key that the recording had before; None where it never had it."""
    question = select(former_keys).where(
        former_keys.c.recording_id == recording_id, former_keys.c.key_id == key_id
    )
    row = (await connection.execute(question)).one_or_none()
    if row is None:
        return None
    manifest = (
        None
        if row.manifest_file_id is None
        else StoredFile(FileId(row.manifest_file_id), row.manifest_size_bytes)
    )
    return FormerKey(key_id, manifest, row.ends_at)


async def replaced(
    connection: AsyncConnection,
    extent: Extent,
    *,
    requested_at: dt.datetime,
    until: dt.datetime,
    limit: int,
) -> tuple[ObjectRow, ...]:
    """Objects of former keys whose time was over by `until`."""
    question = (
        select(objects.c.recording_id, objects.c.file_id)
        .select_from(objects.join(recordings, recordings.c.id == objects.c.recording_id))
        .where(_is_replaced(extent, requested_at), objects.c.touched_at <= until)
        .order_by(objects.c.touched_at)
        .limit(limit)
    )
    rows = await connection.execute(question)
    return tuple(ObjectRow(RecordingId(row.recording_id), FileId(row.file_id)) for row in rows)


async def next_end(
    connection: AsyncConnection, extent: Extent, *, requested_at: dt.datetime
) -> dt.datetime | None:
    """When the time of the next object of a former key is over; None where none is left."""
    question = (
        select(func.min(objects.c.touched_at))
        .select_from(objects.join(recordings, recordings.c.id == objects.c.recording_id))
        .where(_is_replaced(extent, requested_at))
    )
    end: dt.datetime | None = await connection.scalar(question)
    return end


def _new_values(renewal: Renewal) -> dict[str, object]:
    source, manifest = renewal.source, renewal.manifest
    return {
        "key_id": renewal.key_id,
        "key_since": renewal.made_at,
        "metadata": renewal.metadata,
        "summary": renewal.summary,
        "source_file_id": None if source is None else source.file_id,
        "source_size_bytes": None if source is None else source.size_bytes,
        "manifest_file_id": None if manifest is None else manifest.file_id,
        "manifest_size_bytes": None if manifest is None else manifest.size_bytes,
    }


def _is_due(extent: Extent, requested_at: dt.datetime) -> ColumnElement[bool]:
    return and_(
        _within(extent),
        recordings.c.state != RecordingState.DELETED.value,
        func.coalesce(recordings.c.key_since, recordings.c.created_at) < requested_at,
    )


def _is_replaced(extent: Extent, requested_at: dt.datetime) -> ColumnElement[bool]:
    return and_(_within(extent), recordings.c.key_since >= requested_at, objects.c.kept == CONDEMNED)


def _within(extent: Extent) -> ColumnElement[bool]:
    limits: list[ColumnElement[bool]] = [recordings.c.id.is_not(None)]
    if extent.tenant is not None:
        limits.append(recordings.c.tenant == extent.tenant)
    if extent.patient is not None:
        limits.append(recordings.c.patient == extent.patient)
    if extent.recording_id is not None:
        limits.append(recordings.c.id == extent.recording_id)
    return and_(*limits)
