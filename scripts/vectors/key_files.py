"""Vectors of the files that hold secrets: master key, tier secrets, worker keys."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from nacl.pwhash import argon2id

from keys import contexts, payload
from keys.handover import load_worker_key
from keys.keyfile import create_private_file
from keys.master.local import FORMAT, load_master_file
from keys.seal import seal_with_nonce
from keys.secret import MasterKey
from keys.tier import load_tier_file
from vectors.judging import Changes, Inputs, Page, fixed, flip

NONCE: Final = fixed("nonce ", size_bytes=24)
NAME: Final = "local-00c0ffee"
PASSPHRASE: Final = "correct horse, battery \u00fc"  # noqa: S105 - of a vector
# Small on purpose: a vector is tried often. A real file has 3 passes over 256 MiB.
PARAMETERS: Final[dict[str, Any]] = {
    "algorithm": "argon2id",
    "memory_bytes": 64 * 1024,
    "passes": 2,
    "salt": payload.to_text(fixed("salt ", size_bytes=16)),
}
KEYS: Final = {1: MasterKey(fixed("master key one ")), 2: MasterKey(fixed("master key two "))}


def pages() -> Iterator[Page]:
    """The pages of this module."""
    yield _master_page()
    yield _tier_page()
    yield _worker_page()


def _on_disk(text: str, load: Any) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "key"
        create_private_file(path, text.encode())
        return load(path)


def _judge_master(inputs: Inputs) -> dict[str, Any]:
    master = _on_disk(inputs["file"], lambda path: load_master_file(path, passphrase=inputs["passphrase"]))
    versions = {str(number): key.reveal(to="vector").hex() for number, key in master.keys.items()}
    return {"name": master.name, "versions": versions}


def _document(stored: dict[int, bytes], parameters: dict[str, Any] | None) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "name": NAME,
        "passphrase": parameters,
        "versions": [{"version": number, "key": payload.to_text(raw)} for number, raw in stored.items()],
    }


def _protected() -> dict[int, bytes]:
    under = MasterKey(
        argon2id.kdf(
            32,
            PASSPHRASE.encode(),
            payload.to_bytes(str(PARAMETERS["salt"])),
            opslimit=int(PARAMETERS["passes"]),
            memlimit=int(PARAMETERS["memory_bytes"]),
        )
    )
    return {
        number: seal_with_nonce(
            key.reveal(to="vector"),
            under,
            person=contexts.PERSON_WRAP,
            context=contexts.master_key_context(name=NAME, version=number),
            nonce=NONCE,
        )
        for number, key in KEYS.items()
    }


def _master_page() -> Page:
    page = Page("local-master", "5.2", _judge_master)
    clear = _document({number: key.reveal(to="vector") for number, key in KEYS.items()}, None)
    locked = _document(_protected(), PARAMETERS)
    bare = {"file": json.dumps(clear), "passphrase": None}
    page.opens("without a passphrase", bare)
    inputs = {"file": json.dumps(locked), "passphrase": PASSPHRASE}
    page.opens("with a passphrase", inputs, also={"nonce": NONCE.hex()})
    page.refuses("another passphrase", "Unusable", {**inputs, "passphrase": "wrong"})
    page.refuses("a passphrase missing", "Unusable", inputs, passphrase=None)
    page.refuses("a passphrase too many", "Unusable", {**bare, "passphrase": "any"})
    renamed = json.dumps({**locked, "name": "local-other"})
    page.refuses("another name", "Unusable", inputs, file=renamed)
    swapped = dict(zip(KEYS, reversed(_protected().values()), strict=True))
    page.refuses("versions swapped", "Unusable", inputs, file=json.dumps(_document(swapped, PARAMETERS)))
    broken = {number: flip(raw, byte=-1) for number, raw in _protected().items()}
    page.refuses("a flipped bit", "Unusable", inputs, file=json.dumps(_document(broken, PARAMETERS)))
    changes: Changes = {
        "another format": {"format": "replayvault-local-master/2"},
        "no versions": {"versions": []},
        "a version twice": {"versions": clear["versions"][:1] * 2},
        "version 0": {"versions": [{**clear["versions"][0], "version": 0}]},
        "a version as text": {"versions": [{**clear["versions"][0], "version": "1"}]},
        "a key of 31 bytes": {"versions": [{"version": 1, "key": payload.to_text(bytes(31))}]},
        "a padded key": {"versions": [{"version": 1, "key": clear["versions"][0]["key"] + "="}]},
    }
    for name, changed in changes.items():
        page.refuses(name, "Unusable", bare, file=json.dumps({**clear, **changed}))
    page.refuses("no JSON", "Unusable", bare, file="master")
    return page


def _judge_tier(inputs: Inputs) -> dict[str, Any]:
    found = _on_disk(inputs["file"], load_tier_file)
    return {"tier_secrets": [each.reveal(to="vector").hex() for each in found]}


def _tier_page() -> Page:
    page = Page("tier-file", "5.3", _judge_tier)
    one, two = payload.to_text(fixed("tier secret ")), payload.to_text(fixed("old tier secret "))
    page.opens("one secret", {"file": one + "\n"})
    page.opens("two secrets, the first seals", {"file": f"{one}\n{two}\n"})
    for name, text in {
        "nothing": "",
        "a padded secret": one + "=\n",
        "a short secret": payload.to_text(bytes(31)) + "\n",
        "a broken second line": f"{one}\n{two[:-1]}\n",
        "not ASCII": "\u00fc\n",
    }.items():
        page.refuses(name, "Unusable", {"file": text})
    return page


def _judge_worker(inputs: Inputs) -> dict[str, Any]:
    return {"worker_key": _on_disk(inputs["file"], load_worker_key).reveal(to="vector").hex()}


def _worker_page() -> Page:
    page = Page("worker-key-file", "5.4", _judge_worker)
    text = payload.to_text(fixed("worker key "))
    page.opens("a key", {"file": text + "\n"})
    page.refuses("two keys", "Unusable", {"file": f"{text}\n{text}\n"})
    page.refuses("nothing", "Unusable", {"file": "\n"})
    page.refuses("a short key", "Unusable", {"file": text[:-2] + "\n"})
    return page
