"""Questions about recordings, and the moves between their states.

Every function takes the connection, and so the transaction, of its caller.

Invariants:
- each move is one compare-and-swap against `states.MOVES`; whoever comes second is told so;
- a recording is visible to viewers only while it is published, which one statement decides;
- a consultation belongs to the patient that came with its first recording, for ever.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from sqlalchemy import Row, insert, select, tuple_, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from keys.ids import ConsultationRef, KeyId, PatientRef, RecordingId, TenantId
from vault.catalog.errors import ConsultationTaken, IdempotencyReused, UnknownRecording, WrongState
from vault.catalog.rows import RecordingRow, StoredFile, recording_row
from vault.catalog.states import RecordingState, sources_of
from vault.catalog.tables import consultations, patients, recordings


@dataclass(frozen=True, slots=True)
class NewRecording:
    """What a recording is made from; `metadata` is sealed, `idempotency` is a hash."""

    recording_id: RecordingId
    tenant: TenantId
    patient: PatientRef
    consultation: ConsultationRef
    key_id: KeyId
    metadata: bytes
    idempotency: bytes | None
    created_at: dt.datetime


@dataclass(frozen=True, slots=True)
class Cursor:
    """The last row of a page; the next page starts after it."""

    created_at: dt.datetime
    recording_id: RecordingId


async def ensure_patient(
    connection: AsyncConnection, tenant: TenantId, patient: PatientRef, *, now: dt.datetime
) -> int:
    """The patient's epoch; the row is made now where there was none."""
    found = await patient_epoch(connection, tenant, patient)
    if found is not None:
        return found
    try:
        async with connection.begin_nested():
            await connection.execute(
                insert(patients).values(tenant=tenant, patient=patient, epoch=1, created_at=now),
            )
    except IntegrityError:
        return await patient_epoch(connection, tenant, patient) or 1
    return 1


async def patient_epoch(connection: AsyncConnection, tenant: TenantId, patient: PatientRef) -> int | None:
    """The patient's epoch, or None for a patient never seen."""
    question = select(patients.c.epoch).where(patients.c.tenant == tenant, patients.c.patient == patient)
    epoch: int | None = await connection.scalar(question)
    return epoch


async def raise_epoch(connection: AsyncConnection, tenant: TenantId, patient: PatientRef | None) -> None:
    """End every session of a patient, or of a whole tenant where `patient` is None."""
    change = update(patients).where(patients.c.tenant == tenant).values(epoch=patients.c.epoch + 1)
    await connection.execute(change if patient is None else change.where(patients.c.patient == patient))


async def bind_consultation(
    connection: AsyncConnection, tenant: TenantId, consultation: ConsultationRef, patient: PatientRef
) -> None:
    """Bind a consultation to its patient; raises `ConsultationTaken` when it is another's."""
    try:
        async with connection.begin_nested():
            await connection.execute(
                insert(consultations).values(tenant=tenant, consultation=consultation, patient=patient),
            )
    except IntegrityError:
        owner = await connection.scalar(
            select(consultations.c.patient).where(
                consultations.c.tenant == tenant,
                consultations.c.consultation == consultation,
            ),
        )
        if owner != patient:
            raise ConsultationTaken("this consultation belongs to another patient") from None


async def create(connection: AsyncConnection, new: NewRecording) -> None:
    """Insert a recording that waits for its source; raises `IdempotencyReused`."""
    row = {
        "id": new.recording_id,
        "tenant": new.tenant,
        "patient": new.patient,
        "consultation": new.consultation,
        "key_id": new.key_id,
        "state": RecordingState.CREATED.value,
        "created_at": new.created_at,
        "metadata": new.metadata,
        "idempotency": new.idempotency,
    }
    try:
        async with connection.begin_nested():
            await connection.execute(insert(recordings).values(row))
    except IntegrityError:
        raise IdempotencyReused("this idempotency key was used before") from None


async def by_id(connection: AsyncConnection, recording_id: RecordingId) -> RecordingRow:
    """The recording, whoever's it is; raises `UnknownRecording`."""
    question = select(recordings).where(recordings.c.id == recording_id)
    row = (await connection.execute(question)).mappings().one_or_none()
    if row is None or row["state"] == RecordingState.DELETED.value:
        raise UnknownRecording("no such recording")
    return recording_row(row)


async def by_idempotency(
    connection: AsyncConnection, tenant: TenantId, idempotency: bytes
) -> RecordingRow | None:
    """The recording that an earlier request with the same idempotency key made."""
    question = select(recordings).where(
        recordings.c.tenant == tenant,
        recordings.c.idempotency == idempotency,
    )
    row = (await connection.execute(question)).mappings().one_or_none()
    return None if row is None else recording_row(row)


async def shelf(
    connection: AsyncConnection,
    tenant: TenantId,
    patient: PatientRef,
    *,
    limit: int,
    after: Cursor | None,
) -> tuple[RecordingRow, ...]:
    """A patient's published recordings, newest first."""
    question = (
        select(recordings)
        .where(
            recordings.c.tenant == tenant,
            recordings.c.patient == patient,
            recordings.c.state == RecordingState.PUBLISHED.value,
        )
        .order_by(recordings.c.created_at.desc(), recordings.c.id.desc())
        .limit(limit)
    )
    if after is not None:
        place = tuple_(recordings.c.created_at, recordings.c.id)
        question = question.where(place < (after.created_at, after.recording_id))
    return tuple(recording_row(row) for row in (await connection.execute(question)).mappings())


async def of_tenant(
    connection: AsyncConnection, tenant: TenantId, *, limit: int, after: Cursor | None
) -> tuple[RecordingRow, ...]:
    """A tenant's recordings in every state but deleted, newest first."""
    question = (
        select(recordings)
        .where(recordings.c.tenant == tenant, recordings.c.state != RecordingState.DELETED.value)
        .order_by(recordings.c.created_at.desc(), recordings.c.id.desc())
        .limit(limit)
    )
    if after is not None:
        place = tuple_(recordings.c.created_at, recordings.c.id)
        question = question.where(place < (after.created_at, after.recording_id))
    return tuple(recording_row(row) for row in (await connection.execute(question)).mappings())


async def has_key(connection: AsyncConnection, recording_id: RecordingId, key_id: KeyId) -> bool:
    """Whether a recording still has this key, which it then keeps until the caller's transaction ends."""
    question = select(recordings.c.key_id).where(recordings.c.id == recording_id)
    return await connection.scalar(question.with_for_update()) == key_id


async def keep_source(connection: AsyncConnection, recording_id: RecordingId, source: StoredFile) -> None:
    """CREATED → QUEUED with its source; raises `WrongState` when it has one."""
    await _move(
        connection,
        recording_id,
        RecordingState.QUEUED,
        allowed=(RecordingState.CREATED.value,),
        source_file_id=source.file_id,
        source_size_bytes=source.size_bytes,
    )


async def requeue(connection: AsyncConnection, recording_id: RecordingId) -> None:
    """FAILED → QUEUED, for another try; raises `WrongState`."""
    await _move(
        connection,
        recording_id,
        RecordingState.QUEUED,
        allowed=(RecordingState.FAILED.value,),
        failure=None,
        failure_detail=None,
    )


async def start_processing(connection: AsyncConnection, recording_id: RecordingId) -> None:
    """QUEUED or PROCESSING → PROCESSING; raises `WrongState`."""
    await _move(connection, recording_id, RecordingState.PROCESSING)


async def publish(
    connection: AsyncConnection,
    recording_id: RecordingId,
    *,
    manifest: StoredFile,
    summary: bytes,
    now: dt.datetime,
) -> None:
    """PROCESSING → PUBLISHED: from this statement on, everything is visible; raises `WrongState`."""
    await _move(
        connection,
        recording_id,
        RecordingState.PUBLISHED,
        manifest_file_id=manifest.file_id,
        manifest_size_bytes=manifest.size_bytes,
        summary=summary,
        published_at=now,
    )


async def fail(connection: AsyncConnection, recording_id: RecordingId, *, code: str, detail: str) -> None:
    """PROCESSING → FAILED with a stable code and a sentence that a person can act on; raises `WrongState`."""
    await _move(connection, recording_id, RecordingState.FAILED, failure=code, failure_detail=detail)


async def mark_deleted(connection: AsyncConnection, recording_id: RecordingId) -> None:
    """Any state → DELETED; raises `WrongState` when it was deleted before."""
    await _move(connection, recording_id, RecordingState.DELETED)


async def _move(
    connection: AsyncConnection,
    recording_id: RecordingId,
    target: RecordingState,
    *,
    allowed: tuple[str, ...] = (),
    **values: object,
) -> None:
    change = (
        update(recordings)
        .where(recordings.c.id == recording_id, recordings.c.state.in_(allowed or sources_of(target)))
        .values(state=target.value, **values)
        .returning(recordings.c.id)
    )
    moved: Row[tuple[object]] | None = (await connection.execute(change)).one_or_none()
    if moved is None:
        raise WrongState(f"the recording cannot become {target.value} from where it stands")
