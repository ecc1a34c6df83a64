"""Every label, personalisation and context encoding of the system, in one table.

Invariants:
- a label is used for one purpose, ends in its version and is never used again with another meaning;
- variable-length fields are length-prefixed, so that no two different inputs encode alike;
- contexts are built from what the caller knows (session, catalog), never from the sealed bytes themselves.

Notation: `LP(x)` is a two-byte big-endian length followed by the UTF-8 bytes of x; `‖` joins.
"""

from __future__ import annotations

import struct
import uuid
from typing import Final

from keys.errors import Malformed
from keys.ids import Generation, KeyId, PatientRef, RecordingId, TenantId

# Labels, each followed by one zero byte in the context that it opens.
FILE: Final = b"replayvault/file/v1"
RECORDING_KEY: Final = b"replayvault/recording-key/v1"
PATIENT_KEY: Final = b"replayvault/patient-key/v1"
MASTER_KEY: Final = b"replayvault/master-key/v1"
METADATA: Final = b"replayvault/metadata/v1"
SUMMARY: Final = b"replayvault/summary/v1"
TOMBSTONE: Final = b"replayvault/tombstone/v1"
# The `label` field of a worker handover, which is JSON in a sealed box.
HANDOVER: Final = "replayvault/handover/v1"

# BLAKE2b personalisations, sixteen bytes each.
PERSON_WRAP: Final = b"replayvault-wrp1"
PERSON_PATIENT_KEY: Final = b"replayvault-pky1"
PERSON_MASTER_CONTEXT: Final = b"replayvault-mcx1"
PERSON_METADATA: Final = b"replayvault-mta1"
PERSON_SESSION_ID: Final = b"replayvault-sid1"
PERSON_SESSION_SEAL: Final = b"replayvault-ses1"
PERSON_TIER_ID: Final = b"replayvault-tid1"
PERSON_SERVICE_TOKEN: Final = b"replayvault-svc1"
PERSON_PSEUDONYM: Final = b"replayvault-psd1"
PERSON_AUDIT_CHAIN: Final = b"replayvault-aud1"
PERSON_AUDIT_TREE: Final = b"replayvault-mkl1"
PERSON_IDEMPOTENCY: Final = b"replayvault-idm1"
PERSON_TOMBSTONE: Final = b"replayvault-tmb1"
PERSON_ERASURE: Final = b"replayvault-ers1"

_LENGTH: Final = struct.Struct(">H")
_NUMBER: Final = struct.Struct(">I")
_MAX_NUMBER: Final = 0xFFFF_FFFF
_HEADER_PREFIX_BYTES: Final = 72


def lp(text: str) -> bytes:
    """`LP(text)`; raises `Malformed` beyond 65 535 bytes."""
    data = text.encode()
    if len(data) > 0xFFFF:  # noqa: PLR2004 - the largest two-byte length
        raise Malformed("a context field has at most 65535 bytes")
    return _LENGTH.pack(len(data)) + data


def _u32(number: int) -> bytes:
    if not 0 <= number <= _MAX_NUMBER:
        raise Malformed("a generation or version has four bytes")
    return _NUMBER.pack(number)


def file_context(*, header_prefix: bytes, tenant: TenantId, patient: PatientRef, role: str) -> bytes:
    """Context of a sealed object: label ‖ 00 ‖ header[0:72] ‖ LP(tenant) ‖ LP(patient) ‖ LP(role)."""
    if len(header_prefix) != _HEADER_PREFIX_BYTES:
        raise Malformed(f"a header's prefix has {_HEADER_PREFIX_BYTES} bytes")
    return FILE + b"\0" + header_prefix + lp(tenant) + lp(patient) + lp(role)


def recording_key_context(
    *,
    tenant: TenantId,
    patient: PatientRef,
    patient_key_id: KeyId,
    generation: Generation,
    recording_id: RecordingId,
    recording_key_id: KeyId,
) -> bytes:
    """Context of a recording key wrapped under a patient key."""
    return b"".join(
        (
            RECORDING_KEY + b"\0",
            lp(tenant),
            lp(patient),
            patient_key_id.bytes,
            _u32(generation),
            recording_id.bytes,
            recording_key_id.bytes,
        ),
    )


def patient_key_context(
    *, tenant: TenantId, patient: PatientRef, key_id: KeyId, generation: Generation
) -> bytes:
    """Context of a master half under the master key, and of joining the two halves."""
    return PATIENT_KEY + b"\0" + lp(tenant) + lp(patient) + key_id.bytes + _u32(generation)


def named_patient_key(context: bytes) -> dict[str, str]:
    """Tenant, key and generation of a patient key's context, for a keeper that shows them; none of any other context.

    Not the patient: whoever reads the keeper's log is not told whose keys were opened when.
    """
    if not context.startswith(PATIENT_KEY + b"\0"):
        return {}
    rest = context[len(PATIENT_KEY) + 1 :]
    size = _LENGTH.unpack_from(rest)[0]
    generation = _NUMBER.unpack(rest[-_NUMBER.size :])[0]
    key_id = uuid.UUID(bytes=rest[-_NUMBER.size - 16 : -_NUMBER.size])
    return {
        "tenant": rest[_LENGTH.size : _LENGTH.size + size].decode(),
        "key": str(key_id),
        "generation": str(generation),
    }


def master_key_context(*, name: str, version: int) -> bytes:
    """Context of one version of a local master key under a passphrase."""
    return MASTER_KEY + b"\0" + lp(name) + _u32(version)


def recording_data_context(
    label: bytes,
    *,
    tenant: TenantId,
    patient: PatientRef,
    recording_id: RecordingId,
    recording_key_id: KeyId,
) -> bytes:
    """Context of data sealed under a recording key; `label` is `METADATA` or `SUMMARY`."""
    return label + b"\0" + lp(tenant) + lp(patient) + recording_id.bytes + recording_key_id.bytes


def tombstone_context(erasure_id: uuid.UUID) -> bytes:
    """Context of an erased patient's tombstone."""
    return TOMBSTONE + b"\0" + erasure_id.bytes
