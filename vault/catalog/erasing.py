"""What an erasure asks and changes in the catalog.

Every function takes the connection, and so the transaction, of its caller.

Invariants:
- what is cleared is cleared in one transaction that holds the patient's generations: a session that is being opened
  or a recording that is being announced comes wholly before it, and is cleared too, or finds no key;
- rows stay where others need them, and say of nobody any more: neither a row nor the audit log leads back to a patient;
- clearing what is clear changes nothing.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import delete, func, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from keys import keyring
from keys.erasures import ErasureId
from keys.ids import FileId, Generation, KeyId, PatientRef, RecordingId, TenantId
from keys.keyring import PatientKeyRow
from keys.recording_wraps import RecordingWrap
from keys.records import RecordId
from keys.tables import patient_keys, recording_wraps
from vault.catalog import drafts, recordings, registry
from vault.catalog.drafts import CONDEMNED, ObjectRow
from vault.catalog.rotation import Patient
from vault.catalog.states import RecordingState
from vault.catalog.tables import (
    compromises,
    consultations,
    former_keys,
    jobs,
    key_job_errors,
    key_jobs,
    objects,
)
from vault.catalog.tables import recordings as recordings_table
from vault.catalog.tables import sessions as sessions_table

# No reference begins so: a row that carries it is of nobody whom anyone can name.
_MARK: Final = "~"


@dataclass(frozen=True, slots=True)
class Holdings:
    """What the catalog has of a patient. `wraps` come with the id of the recording key inside each.

    `handovers` counts jobs: each holds a recording key that was sealed to the worker, and needs no share.
    """

    generations: tuple[PatientKeyRow, ...]
    wraps: tuple[tuple[RecordingWrap, KeyId], ...]
    objects: tuple[ObjectRow, ...]
    handovers: int


async def holdings(connection: AsyncConnection, tenant: TenantId, patient: PatientRef) -> Holdings:
    """Everything of a patient that a key stands under, or that stands in the object store."""
    of_patient = (recordings_table.c.tenant == tenant, recordings_table.c.patient == patient)
    wraps = await connection.execute(
        select(recording_wraps, recordings_table.c.key_id)
        .join(recordings_table, recordings_table.c.id == recording_wraps.c.recording_id)
        .where(*of_patient)
        .order_by(recording_wraps.c.recording_id, recording_wraps.c.patient_key_id)
    )
    stored = await connection.execute(
        select(objects.c.recording_id, objects.c.file_id)
        .join(recordings_table, recordings_table.c.id == objects.c.recording_id)
        .where(*of_patient)
        .order_by(objects.c.recording_id, objects.c.file_id)
    )
    handovers = await connection.scalar(
        select(func.count())
        .select_from(jobs)
        .join(recordings_table, recordings_table.c.id == jobs.c.recording_id)
        .where(*of_patient)
    )
    return Holdings(
        generations=await keyring.generations(connection, tenant, patient),
        wraps=tuple(
            (
                RecordingWrap(
                    recording_id=RecordingId(row["recording_id"]),
                    patient_key_id=KeyId(row["patient_key_id"]),
                    generation=Generation(row["generation"]),
                    wrapped=row["wrapped"],
                ),
                KeyId(row["key_id"]),
            )
            for row in wraps.mappings()
        ),
        objects=tuple(ObjectRow(RecordingId(row.recording_id), FileId(row.file_id)) for row in stored),
        handovers=handovers or 0,
    )


async def clear(
    connection: AsyncConnection,
    tenant: TenantId,
    patient: PatientRef,
    *,
    erasure_id: ErasureId,
    now: dt.datetime,
) -> tuple[RecordId, ...]:
    """Take everything of a patient out of use, and her reference off it; the sessions and tickets that it ended."""
    await keyring.hold(connection, tenant, patient, to_change=True)
    await recordings.raise_epoch(connection, tenant, patient)
    ended = await registry.revoke_patient(connection, tenant, patient, now=now)
    await connection.execute(
        delete(patient_keys).where(patient_keys.c.tenant == tenant, patient_keys.c.patient == patient)
    )
    own = (
        select(recordings_table.c.id)
        .where(recordings_table.c.tenant == tenant, recordings_table.c.patient == patient)
        .scalar_subquery()
    )
    await connection.execute(delete(recording_wraps).where(recording_wraps.c.recording_id.in_(own)))
    await connection.execute(delete(jobs).where(jobs.c.recording_id.in_(own)))
    await connection.execute(delete(former_keys).where(former_keys.c.recording_id.in_(own)))
    await connection.execute(update(objects).where(objects.c.recording_id.in_(own)).values(kept=CONDEMNED))
    await _take_names_off(connection, tenant, patient, mark=_mark(erasure_id))
    await _drop_late_jobs(connection, erasure_id)
    return ended


async def _drop_late_jobs(connection: AsyncConnection, erasure_id: ErasureId) -> None:
    """Jobs of uploads that were acknowledged while the statements above waited for them: each opens a recording."""
    cleared = select(recordings_table.c.id).where(recordings_table.c.patient == _mark(erasure_id))
    await connection.execute(delete(jobs).where(jobs.c.recording_id.in_(cleared.scalar_subquery())))


async def _take_names_off(
    connection: AsyncConnection, tenant: TenantId, patient: PatientRef, *, mark: str
) -> None:
    await connection.execute(
        update(recordings_table)
        .where(recordings_table.c.tenant == tenant, recordings_table.c.patient == patient)
        .values(
            patient=mark,
            consultation=_MARK,
            state=RecordingState.DELETED.value,
            metadata=b"",
            summary=None,
            idempotency=None,
            failure_detail=None,
        )
    )
    # A consultation stays taken: a recording of it that arrives late is nobody else's.
    await connection.execute(
        update(consultations)
        .where(consultations.c.tenant == tenant, consultations.c.patient == patient)
        .values(patient=_MARK)
    )
    await connection.execute(
        delete(sessions_table).where(sessions_table.c.tenant == tenant, sessions_table.c.patient == patient)
    )
    # The audit log names the jobs that rotated a pseudonym's key.
    await connection.execute(
        update(key_jobs)
        .where(key_jobs.c.tenant == tenant, key_jobs.c.patient == patient)
        .values(patient=_MARK, cursor=None)
    )
    await connection.execute(
        update(compromises)
        .where(compromises.c.tenant == tenant, compromises.c.patient == patient)
        .values(patient=_MARK)
    )
    await connection.execute(
        delete(key_job_errors).where(key_job_errors.c.item == str(Patient(tenant, patient)))
    )


async def cleared_recordings(
    connection: AsyncConnection, erasure_id: ErasureId, *, limit: int
) -> tuple[RecordingId, ...]:
    """Recordings that an erasure cleared and has not left, by id."""
    question = (
        select(recordings_table.c.id)
        .where(recordings_table.c.patient == _mark(erasure_id))
        .order_by(recordings_table.c.id)
        .limit(limit)
    )
    return tuple(RecordingId(each) for each in await connection.scalars(question))


async def objects_of(
    connection: AsyncConnection, recording_ids: Sequence[RecordingId]
) -> tuple[ObjectRow, ...]:
    """Objects of these recordings that are not forgotten yet."""
    wanted: list[uuid.UUID] = list(recording_ids)
    question = select(objects.c.recording_id, objects.c.file_id).where(objects.c.recording_id.in_(wanted))
    return tuple(
        ObjectRow(RecordingId(row.recording_id), FileId(row.file_id))
        for row in await connection.execute(question)
    )


async def forget_objects(connection: AsyncConnection, rows: Sequence[ObjectRow]) -> None:
    """These objects are gone from the store."""
    await drafts.forget(connection, [row.file_id for row in rows])


async def leave(connection: AsyncConnection, recording_ids: Sequence[RecordingId]) -> None:
    """Take the erasure off these recordings as well: from here on they are of nobody."""
    wanted: list[uuid.UUID] = list(recording_ids)
    await connection.execute(
        update(recordings_table).where(recordings_table.c.id.in_(wanted)).values(patient=_MARK)
    )


async def still_known(
    connection: AsyncConnection, patients: Sequence[tuple[TenantId, PatientRef]]
) -> frozenset[tuple[TenantId, PatientRef]]:
    """Those of these patients of whom a key or a recording stands here: a backup was restored."""
    keyed = select(patient_keys.c.tenant, patient_keys.c.patient).where(
        tuple_(patient_keys.c.tenant, patient_keys.c.patient).in_(patients),
    )
    recorded = select(recordings_table.c.tenant, recordings_table.c.patient).where(
        tuple_(recordings_table.c.tenant, recordings_table.c.patient).in_(patients)
    )
    rows = await connection.execute(keyed.union(recorded))
    return frozenset((TenantId(row.tenant), PatientRef(row.patient)) for row in rows)


def _mark(erasure_id: ErasureId) -> str:
    return _MARK + erasure_id.hex
