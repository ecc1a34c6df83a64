"""How a recording's key reaches a worker: a NaCl sealed box that only the workers' private key opens.

Invariants: the box names what it is for (recording, patient, source file and size), so that a worker acts on what
control sealed and not on what a row says; it stands in the job and is deleted with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from nacl.exceptions import CryptoError
from nacl.public import PrivateKey, PublicKey, SealedBox

from keys import contexts, payload
from keys.errors import KeyMismatch, Malformed, MalformedId, MasterUnusable
from keys.ids import (
    FileId,
    KeyId,
    PatientRef,
    RecordingId,
    TenantId,
    parse_patient,
    parse_tenant,
    parse_uuid,
)
from keys.keyfile import create_private_file, read_private_file
from keys.secret import RecordingKey, WorkerKey

_FIELDS: Final = {
    "key": str,
    "key_id": str,
    "label": str,
    "patient": str,
    "recording": str,
    "source": str,
    "source_size_bytes": int,
    "tenant": str,
}


@dataclass(frozen=True, slots=True, eq=False)
class Handover:
    """What a worker needs, and may open, for one recording."""

    tenant: TenantId
    patient: PatientRef
    recording_id: RecordingId
    key_id: KeyId
    key: RecordingKey
    source_file_id: FileId
    source_size_bytes: int


def seal_handover(handover: Handover, to: PublicKey) -> bytes:
    """Seal for the workers that hold the private key of `to`."""
    plain = payload.encode(
        {
            "key": payload.to_text(handover.key.reveal(to="worker handover")),
            "key_id": str(handover.key_id),
            "label": contexts.HANDOVER,
            "patient": handover.patient,
            "recording": str(handover.recording_id),
            "source": str(handover.source_file_id),
            "source_size_bytes": handover.source_size_bytes,
            "tenant": handover.tenant,
        },
    )
    return SealedBox(to).encrypt(plain)


def open_handover(box: bytes, key: WorkerKey) -> Handover:
    """Open a box; raises `KeyMismatch` (sealed for other workers, or altered) or `Malformed`."""
    try:
        plain = SealedBox(_private_key(key)).decrypt(box)
    except CryptoError:
        raise KeyMismatch("the job was sealed for another worker key, or altered") from None
    fields = payload.decode(plain, fields=_FIELDS)
    if fields["label"] != contexts.HANDOVER:
        raise Malformed("not a job of a known version")
    try:
        return Handover(
            tenant=parse_tenant(fields["tenant"]),
            patient=parse_patient(fields["patient"]),
            recording_id=RecordingId(parse_uuid(fields["recording"])),
            key_id=KeyId(parse_uuid(fields["key_id"])),
            key=RecordingKey(payload.to_bytes(fields["key"])),
            source_file_id=FileId(parse_uuid(fields["source"])),
            source_size_bytes=fields["source_size_bytes"],
        )
    except MalformedId:
        raise Malformed("a job has a field that means nothing") from None


def create_worker_files(private: Path, public: Path) -> None:
    """Make the workers' key pair unless it stands there already; raises `MasterUnusable`."""
    fresh = WorkerKey.generate().reveal(to="worker key file")
    create_private_file(private, payload.to_text(fresh).encode() + b"\n")
    own = _private_key(load_worker_key(private)).public_key
    create_private_file(public, payload.to_text(bytes(own)).encode() + b"\n")


def load_worker_key(path: Path) -> WorkerKey:
    """The workers' private key; raises `MasterUnusable`."""
    return WorkerKey(_read_key(path))


def load_worker_public_key(path: Path) -> PublicKey:
    """The workers' public key, for whoever queues jobs; raises `MasterUnusable`."""
    return PublicKey(_read_key(path))


def _private_key(key: WorkerKey) -> PrivateKey:
    # PyNaCl's own key type prints its bytes with str(): it must not be kept.
    return PrivateKey(key.reveal(to="x25519"))


def _read_key(path: Path) -> bytes:
    try:
        raw = payload.to_bytes(read_private_file(path).decode("ascii").strip())
    except (UnicodeDecodeError, Malformed):
        raw = b""
    if len(raw) != PrivateKey.SIZE:
        raise MasterUnusable(f"{path} holds no worker key")
    return raw
