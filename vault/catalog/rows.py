"""A recording as the catalog knows it."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

from sqlalchemy import RowMapping

from keys.ids import ConsultationRef, FileId, KeyId, PatientRef, RecordingId, TenantId
from vault.catalog.states import RecordingState


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A sealed object that a catalog row points at; `size_bytes` counts plaintext."""

    file_id: FileId
    size_bytes: int


@dataclass(frozen=True, slots=True)
class RecordingRow:
    """One row of `recordings`; `metadata` and `summary` are sealed."""

    recording_id: RecordingId
    tenant: TenantId
    patient: PatientRef
    consultation: ConsultationRef
    key_id: KeyId
    state: RecordingState
    failure: str | None
    failure_detail: str | None
    created_at: dt.datetime
    published_at: dt.datetime | None
    metadata: bytes
    summary: bytes | None
    source: StoredFile | None
    manifest: StoredFile | None


def recording_row(row: RowMapping) -> RecordingRow:
    """Read one row."""
    return RecordingRow(
        recording_id=RecordingId(row["id"]),
        tenant=TenantId(row["tenant"]),
        patient=PatientRef(row["patient"]),
        consultation=ConsultationRef(row["consultation"]),
        key_id=KeyId(row["key_id"]),
        state=RecordingState(row["state"]),
        failure=row["failure"],
        failure_detail=row["failure_detail"],
        created_at=row["created_at"],
        published_at=row["published_at"],
        metadata=row["metadata"],
        summary=row["summary"],
        source=_stored_file(row["source_file_id"], row["source_size_bytes"]),
        manifest=_stored_file(row["manifest_file_id"], row["manifest_size_bytes"]),
    )


def _stored_file(file_id: Any, size_bytes: int | None) -> StoredFile | None:
    return None if file_id is None or size_bytes is None else StoredFile(FileId(file_id), size_bytes)
