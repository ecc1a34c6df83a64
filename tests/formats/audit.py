"""Section 13 of docs/format.md: audit log, tree, checkpoints, key. Written from that page, with nothing of ours."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from nacl.exceptions import CryptoError
from nacl.signing import SigningKey, VerifyKey

from tests.formats.notation import Refused, blake2b, canonical_json, from_base64, from_base64url, read_json

Inputs = Mapping[str, Any]


def audit_chain(inputs: Inputs) -> dict[str, Any]:
    prev, count = "0" * 64, 0
    *lines, _unfinished = inputs["file"].encode().split(b"\n")
    for count, line in enumerate(lines, start=1):
        entry = read_json(line, ascii_only=True, error="ChainBroken")
        if type(entry) is not dict or not {"seq", "prev", "hash", "at"} <= entry.keys():
            raise Refused("ChainBroken")
        rest = {name: value for name, value in entry.items() if name != "hash"}
        if entry["seq"] != count - 1 or entry["prev"] != prev:
            raise Refused("ChainBroken")
        data = bytes.fromhex(prev) + canonical_json(rest, ascii_only=True)
        prev = blake2b(256, data, person="replayvault-aud1").hex()
        if entry["hash"] != prev:
            raise Refused("ChainBroken")
    return {"entries": count, "last_hash": prev}


def tree_hash(data: bytes) -> bytes:
    return blake2b(256, data, person="replayvault-mkl1")


def tree_root(entries: list[bytes]) -> bytes:
    if len(entries) < 2:
        return tree_hash(b"\0" + entries[0] if entries else b"")
    split = half(len(entries))
    return tree_hash(b"\1" + tree_root(entries[:split]) + tree_root(entries[split:]))


def audit_tree(inputs: Inputs) -> dict[str, Any]:
    if "entries" in inputs:
        return {"root": tree_root([bytes.fromhex(each) for each in inputs["entries"]]).hex()}
    proof = [bytes.fromhex(each) for each in inputs["proof"]]
    root = bytes.fromhex(inputs["root"])
    if "entry" in inputs:
        leaf = tree_hash(b"\0" + bytes.fromhex(inputs["entry"]))
        shown = included(leaf, inputs["index"], inputs["size"], proof) == root
    else:
        old_root = bytes.fromhex(inputs["old_root"])
        roots = grown(inputs["old_size"], inputs["size"], proof, old_root, whole=True)
        shown = roots == (old_root, root)
    if not shown:
        raise Refused("ProofRefused")
    return {}


def half(size: int) -> int:
    split = 1
    while 2 * split < size:
        split *= 2
    return split


def included(leaf: bytes, index: int, size: int, proof: list[bytes]) -> bytes:
    """The root that a proof leads to, from the definition of PATH turned round."""
    if not 0 <= index < size or (size == 1) != (not proof):
        raise Refused("ProofRefused")
    if size == 1:
        return leaf
    split, other = half(size), proof[-1]
    if index < split:
        return tree_hash(b"\1" + included(leaf, index, split, proof[:-1]) + other)
    return tree_hash(b"\1" + other + included(leaf, index - split, size - split, proof[:-1]))


def grown(old: int, size: int, proof: list[bytes], old_root: bytes, *, whole: bool) -> tuple[bytes, bytes]:
    """The roots of the old tree and the new one, from the definition of SUBPROOF turned round."""
    if old == size:
        if len(proof) != (0 if whole else 1):
            raise Refused("ProofRefused")
        same_root = old_root if whole else proof[0]
        return same_root, same_root
    if not proof:
        raise Refused("ProofRefused")
    split, other = half(size), proof[-1]
    if old <= split:
        older, newer = grown(old, split, proof[:-1], old_root, whole=whole)
        return older, tree_hash(b"\1" + newer + other)
    older, newer = grown(old - split, size - split, proof[:-1], old_root, whole=False)
    return tree_hash(b"\1" + other + older), tree_hash(b"\1" + other + newer)


def public_audit_key(text: str) -> tuple[str, bytes, bytes]:
    """Name, hash and key of a public key."""
    name, digest, encoded = text.split("+", 2)
    raw = from_base64(encoded)
    if (
        len(raw) != 33
        or raw[0] != 1
        or hashlib.sha256(name.encode() + b"\n" + raw).digest()[:4].hex() != digest
    ):
        raise Refused("Malformed")
    return name, bytes.fromhex(digest), raw[1:]


def signed_text(note: str, keys: list[tuple[str, bytes, bytes]]) -> str:
    text, blank, rest = note.rpartition("\n\n")
    if not blank or not re.fullmatch("(\u2014 [^\\s+]+ [A-Za-z0-9+/]+=*\n)+", rest) or "\r" in note:
        raise Refused("Malformed")
    known = []
    for line in rest.splitlines():
        _, name, encoded = line.split(" ")
        raw = from_base64(encoded)
        known += [(key, raw[4:]) for owner, digest, key in keys if (owner, digest) == (name, raw[:4])]
    if not known:
        raise Refused("NoSuchKey")
    for key, signature in known:
        try:
            VerifyKey(key).verify((text + "\n").encode(), signature)
        except CryptoError:
            raise Refused("Damaged") from None
    return text + "\n"


def audit_checkpoint(inputs: Inputs) -> dict[str, Any]:
    text = signed_text(inputs["note"], [public_audit_key(each) for each in inputs["public_keys"]])
    lines = text.split("\n")
    form = r"replayvault/audit/([A-Za-z0-9][A-Za-z0-9._-]{0,127})"
    time = r"at (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00)"
    if len(lines) != 6 or not re.fullmatch(form, lines[0]) or not re.fullmatch(r"[1-9]\d*", lines[1]):
        raise Refused("Malformed")
    if not re.fullmatch("last [0-9a-f]{64}", lines[3]) or not re.fullmatch(time, lines[4], re.ASCII):
        raise Refused("Malformed")
    try:
        datetime.fromisoformat(lines[4][3:])
    except ValueError:
        raise Refused("Malformed") from None
    writer = lines[0].rpartition("/")[2]
    root = from_base64(lines[2]).hex()
    return {
        "writer": writer,
        "size": int(lines[1]),
        "root": root,
        "last_hash": lines[3][5:],
        "at": lines[4][3:],
    }


def audit_key_file(inputs: Inputs) -> dict[str, Any]:
    seed = from_base64url(inputs["file"].removesuffix("\n"), error="Unusable")
    if len(seed) != 32:
        raise Refused("Unusable")
    raw, name = b"\1" + bytes(SigningKey(seed).verify_key), "replayvault-audit"
    digest = hashlib.sha256(name.encode() + b"\n" + raw).hexdigest()[:8]
    return {"public_key": f"{name}+{digest}+{base64.b64encode(raw).decode()}"}
