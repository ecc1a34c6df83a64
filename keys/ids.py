"""Identifiers that travel through the whole house, one type each, so that none can stand in for another.

Invariants:
- recording, file and key ids are random UUIDs (version 4, RFC 9562): sixteen bytes in formats, text
  elsewhere;
- a patient reference is opaque: the tenant's backend chose it, and nothing here reads meaning into it.
"""

from __future__ import annotations

import re
import uuid
from typing import Final, NewType

from keys.errors import MalformedId

TenantId = NewType("TenantId", str)
PatientRef = NewType("PatientRef", str)
ConsultationRef = NewType("ConsultationRef", str)
RecordingId = NewType("RecordingId", uuid.UUID)
FileId = NewType("FileId", uuid.UUID)
KeyId = NewType("KeyId", uuid.UUID)
Generation = NewType("Generation", int)

# Printable, without separators that a path, a log line or a spreadsheet would read as its own.
_REFERENCE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:~-]{0,127}", re.ASCII)


def new_recording_id() -> RecordingId:
    """A random recording id."""
    return RecordingId(uuid.uuid4())


def new_file_id() -> FileId:
    """A random file id: one for every write attempt, never for a retry with other bytes."""
    return FileId(uuid.uuid4())


def new_key_id() -> KeyId:
    """A random key id; ids are never used again, also not after the key is destroyed."""
    return KeyId(uuid.uuid4())


def parse_tenant(text: str) -> TenantId:
    """A tenant id of 1 to 128 characters; raises `MalformedId`."""
    return TenantId(_reference(text, what="tenant"))


def parse_patient(text: str) -> PatientRef:
    """An opaque patient reference of 1 to 128 characters; raises `MalformedId`."""
    return PatientRef(_reference(text, what="patient"))


def parse_consultation(text: str) -> ConsultationRef:
    """An opaque consultation reference of 1 to 128 characters; raises `MalformedId`."""
    return ConsultationRef(_reference(text, what="consultation"))


def parse_uuid(text: str) -> uuid.UUID:
    """The canonical lower-case text form only (RFC 9562, section 4); raises `MalformedId`."""
    try:
        value = uuid.UUID(text)
    except ValueError:
        value = None
    if value is None or str(value) != text:
        raise MalformedId("an id is a lower-case UUID such as 2f1d0c4e-8a57-4c1b-9b6e-0d6f5b1f7a21")
    return value


def parse_recording_id(text: str) -> RecordingId:
    """A recording id in its canonical text form; raises `MalformedId`."""
    return RecordingId(parse_uuid(text))


def _reference(text: str, *, what: str) -> str:
    if not _REFERENCE.fullmatch(text):
        raise MalformedId(
            f"a {what} reference has 1 to 128 characters of A-Z a-z 0-9 . _ : ~ - "
            "and starts with a letter or digit",
        )
    return text
