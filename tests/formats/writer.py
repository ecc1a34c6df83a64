"""Writers of the structures of docs/format.md. Written from that page, with nothing of ours.

A writer takes the inputs and the `writing` of a vector and returns the bytes that the vector holds, made anew.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping
from typing import Any, Final

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from nacl.signing import SigningKey

from tests.formats.notation import blake2b, uuid_bytes, xchacha_seal
from tests.formats.reader import (
    CHUNK,
    FIXED_HEAD,
    WRAP,
    details_context,
    file_keys,
    patient_context,
    record_id,
    recording_context,
    seal_key,
    tier_id,
)

Vector = Mapping[str, Any]


def sealed_value(plain: bytes, parent: bytes, *, person: str, context: bytes, nonce: bytes) -> bytes:
    out = blake2b(512, nonce + context, person=person, key=parent)
    return b"\x01" + nonce + out[32:] + xchacha_seal(out[:32], nonce, plain, context)


def sealed_object(vector: Vector) -> str:
    inputs, writing = vector["inputs"], vector["writing"]
    ids = (inputs["recording_id"], writing["file_id"], inputs["recording_key_id"])
    prefix = FIXED_HEAD + b"".join(uuid_bytes(each) for each in ids) + bytes(8)
    salted = prefix + bytes.fromhex(writing["salt"])
    key, base_nonce, commitment = file_keys(inputs, salted)
    plain = bytes(at % 251 for at in range(writing["plaintext_pattern_bytes"]))
    out, aead = salted + commitment, AESGCM(key)
    for index in range(len(plain) // CHUNK + 1):
        nonce = (base_nonce ^ index).to_bytes(12, "big")
        out += aead.encrypt(nonce, plain[index * CHUNK : (index + 1) * CHUNK], None)
    return out.hex()


def recording_key(vector: Vector) -> str:
    inputs = vector["inputs"]
    return sealed_value(
        bytes.fromhex(vector["expect"]["recording_key"]),
        bytes.fromhex(inputs["patient_key"]),
        person=WRAP,
        context=recording_context(inputs),
        nonce=bytes.fromhex(vector["writing"]["nonce"]),
    ).hex()


def master_half(vector: Vector) -> str:
    inputs = vector["inputs"]
    return sealed_value(
        bytes.fromhex(vector["expect"]["master_half"]),
        bytes.fromhex(inputs["master_key"]),
        person=WRAP,
        context=patient_context(inputs),
        nonce=bytes.fromhex(vector["writing"]["nonce"]),
    ).hex()


def details(vector: Vector) -> str:
    inputs, plain = vector["inputs"], vector["writing"]["json"].encode()
    return sealed_value(
        plain + b" " * (-len(plain) % 256),
        bytes.fromhex(inputs["recording_key"]),
        person="replayvault-mta1",
        context=details_context(inputs),
        nonce=bytes.fromhex(vector["writing"]["nonce"]),
    ).hex()


def record(vector: Vector) -> str:
    inputs, nonce = vector["inputs"], bytes.fromhex(vector["writing"]["nonce"])
    token, tier = inputs["token"].encode(), bytes.fromhex(inputs["tier_secrets"][0])
    plain = vector["expect"]["payload"].encode()
    body = xchacha_seal(seal_key(token, tier), nonce, plain, record_id(token))
    return (b"\x01" + tier_id(tier) + nonce + body).hex()


def audit_checkpoint(vector: Vector) -> str:
    found, key = vector["expect"], SigningKey(bytes.fromhex(vector["writing"]["seed"]))
    root = base64.b64encode(bytes.fromhex(found["root"])).decode()
    head = f"replayvault/audit/{found['writer']}\n{found['size']}\n{root}\n"
    text = f"{head}last {found['last_hash']}\nat {found['at']}\n"
    raw, name = b"\1" + bytes(key.verify_key), "replayvault-audit"
    digest = hashlib.sha256(name.encode() + b"\n" + raw).digest()[:4]
    line = base64.b64encode(digest + key.sign(text.encode()).signature).decode()
    return f"{text}\n\u2014 {name} {line}\n"


# For each structure: who writes it, and the member of `inputs` in which it stands.
WRITERS: Final[Mapping[str, tuple[Callable[[Vector], str], str]]] = {
    "sealed-object": (sealed_object, "object"),
    "recording-key": (recording_key, "wrap"),
    "master-half": (master_half, "wrap"),
    "details": (details, "sealed"),
    "session": (record, "record"),
    "ticket": (record, "record"),
    "audit-checkpoint": (audit_checkpoint, "note"),
}
