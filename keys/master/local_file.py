"""The file of a local master key: what stands in it, and how it is read and changed.

JSON, `{"format", "name", "passphrase", "versions"}`. Without a passphrase each version holds its key in base64url; with
one, each version holds a wrap under a key that Argon2id (RFC 9106) derives from the passphrase and the parameters in
`passphrase`. A version that was taken out of use says since when, in `retired_at`.

Invariants:
- the file is made once, whole and private, and refused when others could read it (`keys.keyfile`);
- versions only grow, and the highest is never retired; retired are all up to one of them.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from nacl.pwhash import argon2id

from keys import contexts, payload
from keys.errors import KeysError, Malformed, MasterUnusable, NoSuchKey, NotRetirable
from keys.keyfile import read_private_file
from keys.master.protocol import CURRENT_STAYS, RETIRE_FIRST
from keys.secret import MasterKey
from keys.wrap import unwrap, wrap

FORMAT: Final = "replayvault-local-master/1"
_RETIRED: Final = "retired_at"


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """The file that a master key was read from, and the key that protects it, where one does."""

    path: Path
    under: MasterKey | None


def read_document(path: Path) -> dict[str, Any]:
    """The document in a key file; raises `MasterUnusable`."""
    return checked(read_private_file(path), path)


def checked(data: bytes, path: Path) -> dict[str, Any]:
    """A key file's bytes as a document of the known form; raises `MasterUnusable`."""
    with recognised(path):
        document: dict[str, Any] = json.loads(data)
        if document["format"] != FORMAT or not document["versions"]:
            raise ValueError(document["format"])
        if not isinstance(document["name"], str):
            raise TypeError(document["name"])
        numbers = [_number(each["version"]) for each in document["versions"]]
        if len(set(numbers)) != len(numbers):
            raise ValueError("a version stands twice")
        document["passphrase"]
        retired_of(document)
        return document
    raise AssertionError  # what is not recognised has raised


@contextlib.contextmanager
def recognised(path: Path) -> Iterator[None]:
    """Turn whatever a strange document leads to into `MasterUnusable`."""
    try:
        yield
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, Malformed):
        raise MasterUnusable(f"{path} is not a Replay Vault key file") from None


def require_passphrase(parameters: object, passphrase: str | None) -> None:
    """Raises `MasterUnusable` where a passphrase is missing or needless."""
    if (parameters is None) != (passphrase is None):
        raise MasterUnusable(
            "the key file is protected by a passphrase: set REPLAYVAULT_MASTER_PASSPHRASE_FILE"
            if parameters is not None
            else "a passphrase is set, but the key file was made without one",
        )


def keys_of(document: dict[str, Any], source: Source) -> dict[int, MasterKey]:
    """The key of each version; raises `MasterUnusable` where the passphrase is another."""
    with recognised(source.path):
        stored = {each["version"]: payload.to_bytes(each["key"]) for each in document["versions"]}
        if source.under is None:
            return {number: MasterKey(raw) for number, raw in stored.items()}
        return _unwrap_versions(stored, document["name"], source.under)
    raise AssertionError  # what is not recognised has raised


def retired_of(document: dict[str, Any]) -> dict[int, dt.datetime]:
    """Since when each version is out of use that is; raises `ValueError`, `TypeError` or `KeyError`."""
    found = {
        each["version"]: dt.datetime.fromisoformat(each[_RETIRED])
        for each in document["versions"]
        if _RETIRED in each
    }
    numbers = sorted(each["version"] for each in document["versions"])
    if sorted(found) != numbers[: len(found)] or len(found) == len(numbers):
        raise ValueError("retired are all up to one version, and never the highest")
    if any(since.tzinfo is None for since in found.values()):
        raise ValueError("a time without its zone")
    return found


def with_next(document: dict[str, Any], source: Source) -> None:
    """Add a fresh version."""
    number = max(keys_of(document, source)) + 1
    raw = stored_key(MasterKey.generate(), document["name"], number, source.under)
    document["versions"].append({"version": number, "key": payload.to_text(raw)})


def with_retired(document: dict[str, Any], number: int, *, now: dt.datetime) -> None:
    """Take all versions up to this one out of use; raises `NoSuchKey` or `NotRetirable`."""
    numbers = {each["version"] for each in document["versions"]}
    if number == max(numbers):
        raise NotRetirable(CURRENT_STAYS)
    if number not in numbers:
        raise NoSuchKey(f"the key file has no version {number}")
    for each in document["versions"]:
        if each["version"] <= number:
            each.setdefault(_RETIRED, now.astimezone(dt.UTC).isoformat(timespec="seconds"))


def with_restored(document: dict[str, Any], number: int) -> None:
    """Bring this version and all later ones back into use; raises `NoSuchKey`."""
    if number not in {each["version"] for each in document["versions"]}:
        raise NoSuchKey(
            f"the key file has no version {number}, or no more: what was trimmed does not come back"
        )
    for each in document["versions"]:
        if each["version"] >= number:
            each.pop(_RETIRED, None)


def without_trimmed(document: dict[str, Any], number: int) -> None:
    """Destroy all versions up to this one; raises `NotRetirable` unless they are out of use."""
    going = [each for each in document["versions"] if each["version"] <= number]
    if any(_RETIRED not in each for each in going):
        raise NotRetirable(RETIRE_FIRST)
    document["versions"] = [each for each in document["versions"] if each not in going]


def encoded(document: dict[str, Any]) -> bytes:
    """A document as the bytes of a key file."""
    return json.dumps(document, indent=1).encode() + b"\n"


def _number(version: object) -> int:
    if type(version) is not int or version < 1:
        raise ValueError(version)
    return version


def _unwrap_versions(stored: dict[int, bytes], name: str, key: MasterKey) -> dict[int, MasterKey]:
    try:
        return {
            number: unwrap(
                raw, key, context=contexts.master_key_context(name=name, version=number), kind=MasterKey
            )
            for number, raw in stored.items()
        }
    except KeysError:
        raise MasterUnusable("the passphrase does not open the key file") from None


def new_document(name: str, versions: dict[int, MasterKey], *, passphrase: str | None) -> dict[str, Any]:
    """A document with these versions."""
    parameters = None if passphrase is None else _fresh_parameters()
    under = None if passphrase is None or parameters is None else derive(passphrase, parameters)
    return {
        "format": FORMAT,
        "name": name,
        "passphrase": parameters,
        "versions": [
            {"version": number, "key": payload.to_text(stored_key(key, name, number, under))}
            for number, key in versions.items()
        ],
    }


def stored_key(key: MasterKey, name: str, number: int, under: MasterKey | None) -> bytes:
    """A version's key as the file holds it: bare, or a wrap under `under`."""
    if under is None:
        return key.reveal(to="master key file")
    return wrap(key, under, context=contexts.master_key_context(name=name, version=number))


def _fresh_parameters() -> dict[str, Any]:
    # libsodium's "moderate" pair: about 0.7 s and 256 MiB, paid once at start.
    return {
        "algorithm": "argon2id",
        "salt": payload.to_text(os.urandom(argon2id.SALTBYTES)),
        "passes": argon2id.OPSLIMIT_MODERATE,
        "memory_bytes": argon2id.MEMLIMIT_MODERATE,
    }


def derive(passphrase: str, parameters: dict[str, Any]) -> MasterKey:
    """The key that protects the file, from a passphrase."""
    if parameters["algorithm"] != "argon2id":
        raise ValueError(parameters["algorithm"])
    return MasterKey(
        argon2id.kdf(
            MasterKey.SIZE_BYTES,
            passphrase.encode(),
            payload.to_bytes(parameters["salt"]),
            opslimit=parameters["passes"],
            memlimit=parameters["memory_bytes"],
        ),
    )
