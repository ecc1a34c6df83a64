"""What a recording is called and what is in it, sealed under a subkey of the recording's own key.

`Metadata` comes from the backend, `Summary` from the worker; both are JSON, padded with spaces to a multiple of 256
bytes so that the length of a title does not show.

Invariants: neither is ever stored, logged or queued in clear; a row that was moved to another recording or patient
does not open.
"""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Final, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from keys import contexts
from keys.errors import Malformed
from keys.seal import seal, unseal
from vault.objects.access import RecordingAccess

PAD_BYTES: Final = 256

_Line = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]


class Metadata(BaseModel):
    """What the backend says of a consultation. Every field is sealed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: _Line = Field(description="Shown in the patient's list.", examples=["Follow-up with Dr Osei"])
    clinician: _Line | None = Field(default=None, description="Who held the consultation.")
    consulted_at: AwareDatetime | None = Field(
        default=None, description="When it was held, with a time zone (RFC 3339)."
    )
    description: Annotated[str, StringConstraints(max_length=4000)] | None = Field(
        default=None, description="Anything else that the patient should read."
    )


class Summary(BaseModel):
    """What the worker found. Every field is sealed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    duration_s: float
    has_video: bool
    has_audio: bool
    files: tuple[str, ...]
    published_at: dt.datetime


M = TypeVar("M", Metadata, Summary)
_LABELS: Final = {Metadata: contexts.METADATA, Summary: contexts.SUMMARY}


def seal_details(details: Metadata | Summary, access: RecordingAccess) -> bytes:
    """Seal for the catalog."""
    plain = details.model_dump_json(exclude_none=True).encode()
    padded = plain + b" " * (-len(plain) % PAD_BYTES)
    return seal(
        padded,
        access.key,
        person=contexts.PERSON_METADATA,
        context=_context(type(details), access),
    )


def open_details(sealed: bytes, access: RecordingAccess, *, kind: type[M]) -> M:
    """Open what `seal_details` made; raises `KeyMismatch`, `Damaged` or `Malformed`."""
    plain = unseal(
        sealed,
        access.key,
        person=contexts.PERSON_METADATA,
        context=_context(kind, access),
    )
    try:
        return kind.model_validate_json(plain)
    except ValidationError:
        raise Malformed(f"sealed details are not {kind.__name__}") from None


def _context(kind: type[Metadata | Summary], access: RecordingAccess) -> bytes:
    return contexts.recording_data_context(
        _LABELS[kind],
        tenant=access.tenant,
        patient=access.patient,
        recording_id=access.recording_id,
        recording_key_id=access.key_id,
    )
