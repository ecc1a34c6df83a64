"""Vectors of the Merkle tree over audit entries, of checkpoints, and of the key that signs them."""

from __future__ import annotations

import base64
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from keys import payload
from keys.keyfile import create_private_file
from keys.notes import NoteKey, load_audit_key, public_key, sign_note
from keys.secret import AuditKey
from vault.audit.checkpoint import Checkpoint, open_checkpoint, seal_checkpoint
from vault.audit.merkle import (
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    root_of,
    verify_consistency,
    verify_inclusion,
)
from vectors.audit_log import AT
from vectors.judging import Inputs, Page, fixed

WRITER: Final = "20260301T093000-stream-00c0ffee"
KEY: Final = AuditKey(fixed("audit key "))
OTHER_KEY: Final = AuditKey(fixed("another audit key "))
ENTRIES: Final = tuple(f"entry {number}".encode() for number in range(7))
LEAVES: Final = tuple(map(leaf_hash, ENTRIES))


def pages() -> Iterator[Page]:
    """The pages of this module."""
    yield _tree_page()
    yield _checkpoint_page()
    yield _key_page()


def _judge_tree(inputs: Inputs) -> dict[str, Any]:
    if "entries" in inputs:
        return {"root": root_of([leaf_hash(bytes.fromhex(each)) for each in inputs["entries"]]).hex()}
    proof = [bytes.fromhex(each) for each in inputs["proof"]]
    size, root = inputs["size"], bytes.fromhex(inputs["root"])
    if "entry" in inputs:
        leaf = leaf_hash(bytes.fromhex(inputs["entry"]))
        verify_inclusion(leaf, proof, index=inputs["index"], size=size, root=root)
    else:
        old_root = bytes.fromhex(inputs["old_root"])
        verify_consistency(proof, old_size=inputs["old_size"], old_root=old_root, size=size, root=root)
    return {}


def _tree_page() -> Page:
    page = Page("audit-tree", "13.1", _judge_tree)
    for count in range(len(ENTRIES) + 1):
        page.opens(f"the root over {count} entries", {"entries": [each.hex() for each in ENTRIES[:count]]})
    size, root = len(ENTRIES), root_of(LEAVES).hex()
    for index in (0, 3, 6):
        way = [each.hex() for each in inclusion_proof(LEAVES, index)]
        inputs = {"entry": ENTRIES[index].hex(), "index": index, "size": size, "root": root, "proof": way}
        page.opens(f"entry {index} is included", inputs)
        page.refuses(f"entry {index} at another place", "ProofRefused", inputs, index=(index + 1) % size)
        page.refuses(f"a proof cut short, of entry {index}", "ProofRefused", inputs, proof=way[:-1])
        page.refuses(f"another entry than {index}", "ProofRefused", inputs, entry=b"entry x".hex())
    for old_size in (1, 3, 4, 6, 7):
        way = [each.hex() for each in consistency_proof(LEAVES, old_size)]
        old_root = root_of(LEAVES[:old_size]).hex()
        inputs = {"old_size": old_size, "old_root": old_root, "size": size, "root": root, "proof": way}
        page.opens(f"the tree of {old_size} is a beginning", inputs)
        other = root_of([*LEAVES[: old_size - 1], leaf_hash(b"rewritten")]).hex()
        page.refuses(f"a rewritten tree of {old_size}", "ProofRefused", inputs, old_root=other)
        page.refuses(f"a proof too long, of {old_size}", "ProofRefused", inputs, proof=[*way, root])
    return page


def _judge_checkpoint(inputs: Inputs) -> dict[str, Any]:
    keys = [NoteKey.parse(text) for text in inputs["public_keys"]]
    found = open_checkpoint(inputs["note"].encode(), keys)
    return {
        "writer": found.writer,
        "size": found.size,
        "root": found.root.hex(),
        "last_hash": found.last_hash,
        "at": found.at.isoformat(timespec="milliseconds"),
    }


def _checkpoint_page() -> Page:
    page = Page("audit-checkpoint", "13.2", _judge_checkpoint)
    checkpoint = Checkpoint(writer=WRITER, size=7, root=root_of(LEAVES), last_hash="ab" * 32, at=AT)
    note, text = seal_checkpoint(checkpoint, KEY).decode(), checkpoint.text()
    inputs = {"note": note, "public_keys": [str(public_key(OTHER_KEY)), str(public_key(KEY))]}
    page.opens("a checkpoint", inputs, also={"seed": KEY.reveal(to="vector").hex()})
    line = note.splitlines()[-1]
    other_line = sign_note(text, OTHER_KEY).decode().splitlines()[-1]
    alone = [str(public_key(KEY))]
    page.opens(
        "a signature of an unknown key beside", {"note": f"{note}{other_line}\n", "public_keys": alone}
    )
    page.refuses("another key", "NoSuchKey", inputs, public_keys=[str(public_key(OTHER_KEY))])
    page.refuses("an altered size", "Damaged", inputs, note=note.replace("\n7\n", "\n8\n"))
    page.refuses("an altered time", "Damaged", inputs, note=note.replace("at 2026", "at 2027"))
    raw = base64.b64decode(line.rpartition(" ")[2])
    flipped = base64.b64encode(raw[:-1] + bytes([raw[-1] ^ 1])).decode()
    page.refuses("a flipped bit", "Damaged", inputs, note=note.replace(line.rpartition(" ")[2], flipped))
    for name, altered in {
        "no signature": f"{text}\n",
        "no empty line": note.replace("\n\n", "\n"),
        "no line feed at the end": note[:-1],
        "a hyphen for the dash": note.replace("\N{EM DASH}", "-"),
        "a carriage return": note.replace("\n", "\r\n"),
        "no note": "",
    }.items():
        page.refuses(name, "Malformed", inputs, note=altered)
    for name, signed in {
        "another origin": text.replace("replayvault/audit/", "example.org/"),
        "size 0": text.replace("\n7\n", "\n0\n"),
        "a size with a leading zero": text.replace("\n7\n", "\n07\n"),
        "a writer with a slash": text.replace(WRITER, "a/b"),
        "no time": text.replace("at 2026-03-01T09:30:00.123+00:00\n", ""),
        "a time that is none": text.replace("2026-03", "2026-13"),
        "a time in another zone": text.replace("09:30:00.123+00:00", "10:30:00.123+01:00"),
        "a hash in upper case": text.replace("ab" * 32, "AB" * 32),
        "a line more": f"{text}extra\n",
    }.items():
        page.refuses(f"signed, with {name}", "Malformed", inputs, note=sign_note(signed, KEY).decode())
    vkey = str(public_key(KEY))
    page.refuses(
        "a public key with another hash", "Malformed", inputs, public_keys=[vkey.replace("+", "+0", 1)]
    )
    page.refuses("a public key cut short", "Malformed", inputs, public_keys=[vkey[:-4]])
    return page


def _judge_key(inputs: Inputs) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "key"
        create_private_file(path, inputs["file"].encode())
        return {"public_key": str(public_key(load_audit_key(path)))}


def _key_page() -> Page:
    page = Page("audit-key-file", "13.3", _judge_key)
    text = payload.to_text(KEY.reveal(to="vector"))
    page.opens("a key", {"file": f"{text}\n"})
    for name, altered in {
        "nothing": "\n",
        "two keys": f"{text}\n{text}\n",
        "a short key": f"{text[:-2]}\n",
        "a padded key": f"{text}=\n",
    }.items():
        page.refuses(name, "Unusable", {"file": altered})
    return page
