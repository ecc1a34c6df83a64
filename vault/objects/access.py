"""What one needs to open or seal any file of one recording: whose it is, and its key.

The reader supplies these from its session and the catalog, never from the object, its name or its metadata:
an object that stands in a wrong place then fails its key commitment.
"""

from __future__ import annotations

from dataclasses import dataclass

from keys.ids import KeyId, PatientRef, RecordingId, TenantId
from keys.secret import RecordingKey


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RecordingAccess:
    """Access as a value: whoever holds one can open this recording, and nothing else."""

    tenant: TenantId
    patient: PatientRef
    recording_id: RecordingId
    key_id: KeyId
    key: RecordingKey
