"""A certificate that a patient was erased: built, signed, and verified without the service. Pure.

JSON `{"certificate": {…}, "signature": "…"}`. The signature is a signed note (keys.notes) of the text

    replayvault/erasure
    <erasure id>
    <digest of the certificate's canonical JSON>

and inside the certificate, `audit` holds the entry of the audit log that names the digest of all other members, the
proof (RFC 9162, 2.1.3) that the entry is in the log, and the signed checkpoint that the proof leads to.

Invariants: verifying raises, and believes nothing that no given key signed; a certificate that says that a wrap opened,
or that was made while a backup could hold the share, verifies for nobody.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from keys.errors import KeysError
from keys.notes import NoteKey, open_note, sign_note
from keys.secret import AuditKey
from vault.audit.checkpoint import Checkpoint, open_checkpoint
from vault.audit.entry import Action, canonical, chain_hash
from vault.audit.errors import ProofRefused
from vault.audit.merkle import leaf_hash, verify_inclusion
from vault.erasure.errors import CertificateRefused
from vault.erasure.evidence import digest

FORMAT: Final = "replayvault-erasure-certificate/1"
_ORIGIN: Final = "replayvault/erasure"
OUT_OF_REACH: Final = (
    "copies that were downloaded, recorded or photographed while the patient or a clinician could play them",
    "memory of processes that had a session of the patient open when the share was destroyed",
    "blocks of a disk that the file system or the drive has set aside and not overwritten",
    "backups of the share store that are kept for longer than the settings say",
    "recordings that waited for a worker when a backup of the catalog was made, for whoever has the worker's key too",
    "sessions that lived when a copy of the session store was made, for whoever has their token and the tier secret",
    "a snapshot of catalog, share store and object store together from before the erasure: nothing in it knows of it",
)


@dataclass(frozen=True, slots=True)
class Inclusion:
    """An audit entry's line, and that it is in the log that a signed checkpoint covers."""

    entry: str
    index: int
    size: int
    proof: tuple[str, ...]
    checkpoint: str


@dataclass(frozen=True, slots=True)
class Verified:
    """What a certificate that holds says."""

    erasure: str
    tenant: str
    patient: str
    destroyed_at: dt.datetime
    certified_at: dt.datetime
    wraps_tried: int
    checkpoint: Checkpoint


def body_digest(body: Mapping[str, Any]) -> str:
    """The digest of a certificate without its `audit` member; the audit log names it."""
    return digest("certificate", canonical({name: value for name, value in body.items() if name != "audit"}))


def sealed(body: Mapping[str, Any], inclusion: Inclusion, key: AuditKey) -> str:
    """The certificate of a body, as a JSON text."""
    audit = {
        "entry": inclusion.entry,
        "index": inclusion.index,
        "size": inclusion.size,
        "proof": list(inclusion.proof),
        "checkpoint": inclusion.checkpoint,
    }
    whole = {**body, "audit": audit}
    signature = sign_note(_signed_text(whole), key).decode()
    return json.dumps({"certificate": whole, "signature": signature}, indent=1) + "\n"


def verify(text: bytes, keys: Sequence[NoteKey]) -> Verified:
    """What a certificate says, if one of `keys` signed it and everything in it fits; raises `CertificateRefused`."""
    try:
        document = json.loads(text)
        whole, signature = dict(document["certificate"]), str(document["signature"])
        if whole["format"] != FORMAT:
            raise CertificateRefused(f"not a certificate of the form {FORMAT}")
        _verify_signature(whole, signature, keys)
        checkpoint = _verify_inclusion(whole, keys)
        return _verified(whole, checkpoint)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise CertificateRefused("not a certificate: a member is missing, or not of its form") from None


def _verify_signature(whole: dict[str, Any], signature: str, keys: Sequence[NoteKey]) -> None:
    try:
        signed = open_note(signature.encode(), keys)
    except KeysError as error:
        raise CertificateRefused(f"the signature does not hold: {error}") from None
    if signed != _signed_text(whole):
        raise CertificateRefused("the certificate was altered: it is not what was signed")


def _verify_inclusion(whole: dict[str, Any], keys: Sequence[NoteKey]) -> Checkpoint:
    audit = whole["audit"]
    line, entry = audit["entry"], json.loads(audit["entry"])
    if canonical(entry) != line.encode() or chain_hash(entry) != entry["hash"]:
        raise CertificateRefused("the audit entry is not what was written")
    words = f"erasure {whole['erasure']}: certificate {body_digest(whole)}"
    if (entry["action"], entry["note"]) != (Action.ERASE_CERTIFY.value, words):
        raise CertificateRefused("the audit entry is of another certificate")
    try:
        checkpoint = open_checkpoint(audit["checkpoint"].encode(), keys)
        verify_inclusion(
            leaf_hash(line.encode()),
            [bytes.fromhex(step) for step in audit["proof"]],
            index=audit["index"],
            size=audit["size"],
            root=checkpoint.root,
        )
    except (KeysError, ProofRefused) as error:
        raise CertificateRefused(f"the audit entry is not shown to be in the log: {error}") from None
    if checkpoint.size != audit["size"]:
        raise CertificateRefused("the proof is of another size than the checkpoint")
    return checkpoint


def _verified(whole: dict[str, Any], checkpoint: Checkpoint) -> Verified:
    destroyed, expired, certified = (
        dt.datetime.fromisoformat(whole[name])
        for name in ("destroyed_at", "backups_expire_at", "certified_at")
    )
    if not destroyed <= expired <= certified:
        raise CertificateRefused("it was made while a backup could still hold the share")
    if any(each["tried"]["opened"] for each in whole["found"]):
        raise CertificateRefused("it says itself that something opened")
    return Verified(
        erasure=whole["erasure"],
        tenant=whole["tenant"],
        patient=whole["patient"],
        destroyed_at=destroyed,
        certified_at=certified,
        wraps_tried=sum(each["tried"]["attempts"] for each in whole["found"]),
        checkpoint=checkpoint,
    )


def _signed_text(whole: Mapping[str, Any]) -> str:
    return f"{_ORIGIN}\n{whole['erasure']}\n{digest('signed', canonical(dict(whole)))}\n"
