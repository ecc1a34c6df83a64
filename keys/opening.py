"""From a patient key to a recording key: the one door, used by every role that reads.

Invariants:
- a wrap is chosen by key id; where none of the wraps names a key at hand, that is `KeyMismatch`, as a failed
  commitment is: something was routed to the wrong patient;
- tenant and patient come from the holder of the key, never from the row that is to be opened.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from keys import contexts
from keys.errors import KeyMismatch
from keys.ids import KeyId, PatientRef, RecordingId, TenantId
from keys.recording_wraps import RecordingWrap
from keys.secret import RecordingKey
from keys.session import GrantedKey
from keys.wrap import unwrap, wrap


def wrap_recording_key(
    recording_key: RecordingKey,
    under: GrantedKey,
    *,
    tenant: TenantId,
    patient: PatientRef,
    recording_id: RecordingId,
    recording_key_id: KeyId,
) -> RecordingWrap:
    """Wrap a recording key for one generation of its patient's key."""
    context = contexts.recording_key_context(
        tenant=tenant,
        patient=patient,
        patient_key_id=under.key_id,
        generation=under.generation,
        recording_id=recording_id,
        recording_key_id=recording_key_id,
    )
    return RecordingWrap(
        recording_id=recording_id,
        patient_key_id=under.key_id,
        generation=under.generation,
        wrapped=wrap(recording_key, under.key, context=context),
    )


def open_recording_key(
    wraps: Iterable[RecordingWrap],
    granted: Sequence[GrantedKey],
    *,
    tenant: TenantId,
    patient: PatientRef,
    recording_id: RecordingId,
    recording_key_id: KeyId,
) -> RecordingKey:
    """The recording key by the one wrap that names a granted key.

    Raises `KeyMismatch`, `Damaged` or `Malformed`.
    """
    at_hand = {key.key_id: key for key in granted}
    for each in wraps:
        key = at_hand.get(each.patient_key_id)
        if key is None:
            continue
        context = contexts.recording_key_context(
            tenant=tenant,
            patient=patient,
            patient_key_id=key.key_id,
            generation=key.generation,
            recording_id=recording_id,
            recording_key_id=recording_key_id,
        )
        return unwrap(each.wrapped, key.key, context=context, kind=RecordingKey)
    raise KeyMismatch("no wrap of this recording names a key of this patient")
