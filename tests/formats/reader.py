"""Readers of every structure of docs/format.md but the manifest. Written from that page, with nothing of ours.

A reader takes the inputs of a vector and returns what the vector expects, or raises `Refused`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from nacl.exceptions import CryptoError
from nacl.public import PrivateKey, SealedBox

from tests.formats.audit import audit_chain, audit_checkpoint, audit_key_file, audit_tree
from tests.formats.manifest import open_manifest
from tests.formats.notation import (
    Refused,
    blake2b,
    from_base64url,
    hkdf_expand_sha512,
    lp,
    members,
    read_json,
    reference,
    same,
    u32,
    uuid_bytes,
    uuid_text,
    xchacha_open,
)

Inputs = Mapping[str, Any]
FIXED_HEAD: Final = bytes.fromhex("8952564d0d0a1a0a01010e0000000080")
CHUNK: Final = 16384
WRAP: Final = "replayvault-wrp1"


# Section 2


def identifiers(inputs: Inputs) -> dict[str, Any]:
    if inputs["kind"] == "uuid":
        return {"bytes": uuid_bytes(inputs["text"]).hex()}
    return {"lp": lp(reference(inputs["text"])).hex()}


# Section 3


def file_keys(inputs: Inputs, header: bytes) -> tuple[bytes, int, bytes]:
    where = lp(inputs["tenant"]) + lp(inputs["patient"]) + lp(inputs["role"])
    context = b"replayvault/file/v1\0" + header[:72] + where
    info = b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\0" + header[72:96] + context
    out = hkdf_expand_sha512(bytes.fromhex(inputs["recording_key"]), info, 76)
    return out[:32], int.from_bytes(out[32:44], "big"), out[44:]


def sealed_object(inputs: Inputs) -> dict[str, Any]:
    data = bytes.fromhex(inputs["object"])
    header = data[:128]
    if len(header) < 128 or header[:16] != FIXED_HEAD or header[64:72] != bytes(8):
        raise Refused("Malformed")
    wanted = uuid_bytes(inputs["recording_id"]), uuid_bytes(inputs["recording_key_id"])
    if (header[16:32], header[48:64]) != wanted:
        raise Refused("KeyMismatch")
    key, base_nonce, commitment = file_keys(inputs, header)
    if not same(commitment, header[96:128]):
        raise Refused("KeyMismatch")
    if len(data) < 144 or (len(data) - 128) % 16400 < 16:
        raise Refused("Damaged")
    plain, aead = b"", AESGCM(key)
    for index, at in enumerate(range(128, len(data), 16400)):
        try:
            nonce = (base_nonce ^ index).to_bytes(12, "big")
            plain += aead.decrypt(nonce, data[at : at + 16400], None)
        except InvalidTag:
            raise Refused("Damaged") from None
    return {
        "file_id": uuid_text(header[32:48]),
        "plaintext_bytes": len(plain),
        "plaintext_sha256": hashlib.sha256(plain).hexdigest(),
    }


def sizes_and_ranges(inputs: Inputs) -> dict[str, Any]:
    size = inputs["plaintext_bytes"]
    chunks = size // CHUNK + 1
    found = {"object_bytes": 128 + size + 16 * chunks}
    if "first" in inputs:
        first, last = inputs["first"] // CHUNK, inputs["last"] // CHUNK
        if inputs["last"] == size - 1:
            last = chunks - 1
        found |= {
            "first_index": first,
            "last_index": last,
            "first_cipher_byte": 128 + 16400 * first,
            "last_cipher_byte": min(128 + 16400 * (last + 1), found["object_bytes"]) - 1,
            "lead_bytes": inputs["first"] % CHUNK,
        }
    return found


# Section 5


def sealed_value(sealed: bytes, parent: bytes, *, person: str, context: bytes) -> bytes:
    if len(sealed) < 73 or sealed[0] != 1:
        raise Refused("Malformed")
    nonce = sealed[1:25]
    out = blake2b(512, nonce + context, person=person, key=parent)
    if not same(out[32:], sealed[25:57]):
        raise Refused("KeyMismatch")
    return xchacha_open(out[:32], nonce, sealed[57:], context)


def unwrapped(wrap: bytes, parent: bytes, *, context: bytes) -> bytes:
    if len(wrap) != 105:
        raise Refused("Malformed")
    return sealed_value(wrap, parent, person=WRAP, context=context)


def local_master(inputs: Inputs) -> dict[str, Any]:
    try:
        found = json.loads(inputs["file"])
    except ValueError:
        raise Refused("Unusable") from None
    locked, passphrase = found["passphrase"], inputs["passphrase"]
    numbers = [each["version"] for each in found["versions"]]
    if (
        found["format"] != "replayvault-local-master/1"
        or (locked is None) != (passphrase is None)
        or not numbers
        or any(type(each) is not int or each < 1 for each in numbers)
        or len(set(numbers)) != len(numbers)
    ):
        raise Refused("Unusable")
    keys = {each["version"]: from_base64url(each["key"], error="Unusable") for each in found["versions"]}
    if locked is not None:
        parent = argon2id(passphrase, locked)
        keys = {number: master_version(raw, parent, found["name"], number) for number, raw in keys.items()}
    if any(len(key) != 32 for key in keys.values()):
        raise Refused("Unusable")
    return {"name": found["name"], "versions": {str(number): key.hex() for number, key in keys.items()}}


def argon2id(passphrase: str, parameters: Mapping[str, Any]) -> bytes:
    if parameters["algorithm"] != "argon2id":
        raise Refused("Unusable")
    return Argon2id(
        salt=from_base64url(parameters["salt"]),
        length=32,
        iterations=parameters["passes"],
        lanes=1,
        memory_cost=parameters["memory_bytes"] // 1024,
    ).derive(passphrase.encode())


def master_version(raw: bytes, parent: bytes, name: str, number: int) -> bytes:
    try:
        return unwrapped(raw, parent, context=b"replayvault/master-key/v1\0" + lp(name) + u32(number))
    except Refused:
        raise Refused("Unusable") from None


def tier_file(inputs: Inputs) -> dict[str, Any]:
    if not inputs["file"].isascii():
        raise Refused("Unusable")
    found = [from_base64url(line, error="Unusable") for line in inputs["file"].splitlines()]
    if not found or any(len(each) != 32 for each in found):
        raise Refused("Unusable")
    return {"tier_secrets": [each.hex() for each in found]}


def worker_key_file(inputs: Inputs) -> dict[str, Any]:
    found = tier_file(inputs)["tier_secrets"]
    if len(found) != 1:
        raise Refused("Unusable")
    return {"worker_key": found[0]}


# Sections 6 and 7


def patient_context(inputs: Inputs) -> bytes:
    where = lp(inputs["tenant"]) + lp(inputs["patient"])
    return b"replayvault/patient-key/v1\0" + where + key_place(inputs)


def key_place(inputs: Inputs) -> bytes:
    return uuid_bytes(inputs["patient_key_id"]) + u32(inputs["generation"])


def master_half(inputs: Inputs) -> dict[str, Any]:
    context = patient_context(inputs)
    half = unwrapped(bytes.fromhex(inputs["wrap"]), bytes.fromhex(inputs["master_key"]), context=context)
    return {"context": context.hex(), "master_half": half.hex()}


def patient_key(inputs: Inputs) -> dict[str, Any]:
    half, share = bytes.fromhex(inputs["master_half"]), bytes.fromhex(inputs["erasure_share"])
    if len(half) != 32 or len(share) != 32:
        raise Refused("Malformed")
    key = blake2b(256, share + patient_context(inputs), person="replayvault-pky1", key=half)
    return {"patient_key": key.hex()}


def recording_context(inputs: Inputs) -> bytes:
    where = lp(inputs["tenant"]) + lp(inputs["patient"])
    ids = uuid_bytes(inputs["recording_id"]) + uuid_bytes(inputs["recording_key_id"])
    return b"replayvault/recording-key/v1\0" + where + key_place(inputs) + ids


def recording_key(inputs: Inputs) -> dict[str, Any]:
    context = recording_context(inputs)
    key = unwrapped(bytes.fromhex(inputs["wrap"]), bytes.fromhex(inputs["patient_key"]), context=context)
    return {"context": context.hex(), "recording_key": key.hex()}


# Section 8


def details_context(inputs: Inputs) -> bytes:
    label = {"metadata": b"replayvault/metadata/v1\0", "summary": b"replayvault/summary/v1\0"}[inputs["kind"]]
    where = lp(inputs["tenant"]) + lp(inputs["patient"])
    return label + where + uuid_bytes(inputs["recording_id"]) + uuid_bytes(inputs["recording_key_id"])


def details(inputs: Inputs) -> dict[str, Any]:
    context, parent = details_context(inputs), bytes.fromhex(inputs["recording_key"])
    plain = sealed_value(bytes.fromhex(inputs["sealed"]), parent, person="replayvault-mta1", context=context)
    try:
        found = json.loads(plain.decode("utf-8").rstrip())
    except ValueError:
        raise Refused("Malformed") from None
    check = {"metadata": check_metadata, "summary": check_summary}[inputs["kind"]]
    check(found)
    return {"context": context.hex(), "details": found}


def check_metadata(found: Any) -> None:
    if type(found) is not dict or not found.keys() <= {"title", "clinician", "consulted_at", "description"}:
        raise Refused("Malformed")
    for name, longest in (("title", 200), ("clinician", 200), ("description", 4000)):
        value = found.get(name)
        if (name == "title" or value is not None) and not (type(value) is str and len(value) <= longest):
            raise Refused("Malformed")
    if found.get("consulted_at") is not None and datetime.fromisoformat(found["consulted_at"]).tzinfo is None:
        raise Refused("Malformed")


def check_summary(found: Any) -> None:
    kinds = {"has_video": bool, "has_audio": bool, "files": list, "published_at": str}
    members(found, {**kinds, "duration_s": (int, float)})


# Section 9


def token_of(text: str, prefix: str) -> bytes:
    match = re.fullmatch(r"(rv[st])_[A-Za-z0-9_-]{43}", text, re.ASCII)
    if match is None:
        raise Refused("InvalidToken")
    if match.group(1) != prefix:
        raise Refused("WrongKind")
    return text.encode()


def record_id(token: bytes) -> bytes:
    return blake2b(256, token, person="replayvault-sid1")


def tier_id(tier: bytes) -> bytes:
    return blake2b(64, b"", person="replayvault-tid1", key=tier)


def seal_key(token: bytes, tier: bytes) -> bytes:
    return blake2b(256, token, person="replayvault-ses1", key=tier)


def payload_of(token: bytes, record: bytes, tiers: list[bytes]) -> bytes:
    if len(record) < 49 or record[0] != 1:
        raise Refused("Malformed")
    named = [tier for tier in tiers if same(tier_id(tier), record[1:9])]
    if not named:
        raise Refused("NoSuchKey")
    return xchacha_open(seal_key(token, named[0]), record[9:33], record[33:], record_id(token))


def check_set(words: list[Any]) -> list[str]:
    if any(type(word) is not str for word in words) or words != sorted(set(words)):
        raise Refused("Malformed")
    return words


def key_text(text: str) -> None:
    if len(from_base64url(text)) != 32:
        raise Refused("Malformed")


_COMMON: Final = {
    **dict.fromkeys(("audience", "patient", "pseudonym", "tenant"), str),
    **dict.fromkeys(("epoch", "expires_at", "issued_at"), int),
}
_SESSION: Final = {**_COMMON, "absolute_at": int, "idle_s": int, "keys": list, "scopes": list}
_TICKET: Final = {
    **_COMMON,
    **dict.fromkeys(("key", "key_id", "parent", "purpose", "recording"), str),
    "roles": list,
}


def check_session(found: dict[str, Any]) -> None:
    members(found, _SESSION)
    if not set(check_set(found["scopes"])) <= {"list", "play", "share"}:
        raise Refused("Malformed")
    for key in found["keys"]:
        members(key, {"generation": int, "id": str, "key": str})
        uuid_bytes(key["id"], error="Malformed")
        key_text(key["key"])


def check_ticket(found: dict[str, Any]) -> None:
    members(found, _TICKET)
    check_set(found["roles"])
    uuid_bytes(found["recording"], error="Malformed")
    uuid_bytes(found["key_id"], error="Malformed")
    key_text(found["key"])
    from_base64url(found["parent"])


def bearer(inputs: Inputs) -> dict[str, Any]:
    is_session = inputs["kind"] == "session"
    token = token_of(inputs["token"], "rvs" if is_session else "rvt")
    tiers = [bytes.fromhex(each) for each in inputs["tier_secrets"]]
    plain = payload_of(token, bytes.fromhex(inputs["record"]), tiers)
    found = read_json(plain)
    (check_session if is_session else check_ticket)(found)
    reference(found["tenant"], error="Malformed")
    reference(found["patient"], error="Malformed")
    if found["audience"] != inputs["audience"]:
        raise Refused("InvalidToken")
    end = min(found["expires_at"], found.get("absolute_at", found["expires_at"]))
    if not found["issued_at"] - 30 <= inputs["now_s"] < end:
        raise Refused("Expired")
    return {
        "record_id": record_id(token).hex(),
        "tier_ids": [tier_id(each).hex() for each in tiers],
        "payload": plain.decode(),
    }


# Sections 10 to 13


def handover(inputs: Inputs) -> dict[str, Any]:
    try:
        plain = SealedBox(PrivateKey(bytes.fromhex(inputs["worker_key"]))).decrypt(
            bytes.fromhex(inputs["box"])
        )
    except CryptoError:
        raise Refused("KeyMismatch") from None
    texts = ("key", "key_id", "label", "patient", "recording", "source", "tenant")
    found = members(read_json(plain), {**dict.fromkeys(texts, str), "source_size_bytes": int})
    if found["label"] != "replayvault/handover/v1":
        raise Refused("Malformed")
    key_text(found["key"])
    for name in ("recording", "key_id", "source"):
        uuid_bytes(found[name], error="Malformed")
    return {
        "tenant": reference(found["tenant"], error="Malformed"),
        "patient": reference(found["patient"], error="Malformed"),
        "recording_id": found["recording"],
        "recording_key_id": found["key_id"],
        "recording_key": from_base64url(found["key"]).hex(),
        "source_file_id": found["source"],
        "source_size_bytes": found["source_size_bytes"],
    }


def service_token(inputs: Inputs) -> dict[str, Any]:
    if not re.fullmatch(r"rvk_[A-Za-z0-9_-]{43}", inputs["token"], re.ASCII):
        raise Refused("InvalidToken")
    return {"hash": blake2b(256, inputs["token"].encode(), person="replayvault-svc1").hex()}


def pseudonym(inputs: Inputs) -> dict[str, Any]:
    data, share = lp(inputs["tenant"]) + lp(inputs["patient"]), bytes.fromhex(inputs["erasure_share"])
    return {"pseudonym": blake2b(128, data, person="replayvault-psd1", key=share).hex()}


READERS: Final[Mapping[str, Callable[[Inputs], dict[str, Any]]]] = {
    "identifiers": identifiers,
    "sealed-object": sealed_object,
    "sizes-and-ranges": sizes_and_ranges,
    "manifest": open_manifest,
    "local-master": local_master,
    "tier-file": tier_file,
    "worker-key-file": worker_key_file,
    "master-half": master_half,
    "patient-key": patient_key,
    "recording-key": recording_key,
    "details": details,
    "session": bearer,
    "ticket": bearer,
    "handover": handover,
    "service-token": service_token,
    "pseudonym": pseudonym,
    "audit-chain": audit_chain,
    "audit-tree": audit_tree,
    "audit-checkpoint": audit_checkpoint,
    "audit-key-file": audit_key_file,
}
