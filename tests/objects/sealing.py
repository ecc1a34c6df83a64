"""Short words for the tests: an access, and an object sealed in memory."""

from __future__ import annotations

import dataclasses
import random
import uuid
from typing import Final

from keys.ids import KeyId, RecordingId, new_key_id, new_recording_id, parse_patient, parse_tenant
from keys.secret import RecordingKey
from vault.objects.access import RecordingAccess
from vault.objects.cipher import FileCipher
from vault.objects.container import CHUNK_BYTES, FileFacts, Header

C: Final = CHUNK_BYTES
ROLE: Final = "720p.mp4"
# Where one more or one less byte makes another chunk, and where a plaintext ends in an empty one.
EDGES: Final = (0, 1, C - 1, C, C + 1, 2 * C - 1, 2 * C, 2 * C + 1)


def new_access(*, tenant: str = "acme", patient: str = "patient-1") -> RecordingAccess:
    """Access to a new recording of the patient."""
    return RecordingAccess(
        tenant=parse_tenant(tenant),
        patient=parse_patient(patient),
        recording_id=new_recording_id(),
        key_id=new_key_id(),
        key=RecordingKey.generate(),
    )


def fixed_access() -> RecordingAccess:
    """The same access every time."""
    return dataclasses.replace(
        new_access(),
        recording_id=RecordingId(uuid.UUID(int=1)),
        key_id=KeyId(uuid.UUID(int=2)),
        key=RecordingKey(bytes(range(32))),
    )


def noise(size_bytes: int, *, seed: int = 1) -> bytes:
    """Bytes that no chunk repeats."""
    return random.Random(seed).randbytes(size_bytes)  # noqa: S311 - a test must repeat


def seal(plain: bytes, access: RecordingAccess, *, role: str = ROLE) -> bytes:
    """A whole object, sealed in memory."""
    sealer = FileCipher.seal(access, role=role)
    body = bytearray(sealer.header.pack())
    for index in range(len(plain) // C + 1):
        chunk = plain[index * C : (index + 1) * C]
        body += sealer.seal_chunk(chunk, index=index, final=len(chunk) < C)
    return bytes(body)


def facts_of(plain: bytes, sealed: bytes, *, role: str = ROLE) -> FileFacts:
    """What a manifest would say of it."""
    return FileFacts(role=role, header=Header.parse(sealed[:128]), plain_size_bytes=len(plain))
