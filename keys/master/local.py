"""The master key in a file of its own: the default on one machine.

The file is JSON, `{"format", "name", "passphrase", "versions"}`. Without a passphrase each version holds its key in
base64url; with one, each version holds a wrap under a key that Argon2id (RFC 9106) derives from the passphrase and
the parameters in `passphrase`.

Invariants:
- the file is made once, whole and private, and refused when others could read it (`keys.keyfile`);
- versions only grow; the highest wraps, every one unwraps.
"""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from nacl.pwhash import argon2id

from keys import contexts, payload
from keys.errors import KeysError, Malformed, MasterUnusable, NoSuchKey
from keys.keyfile import create_private_file, read_private_file
from keys.master.protocol import MasterWrap
from keys.secret import MasterHalf, MasterKey
from keys.wrap import unwrap, wrap

FORMAT: Final = "replayvault-local-master/1"
PROVIDER: Final = "local"


@dataclass(frozen=True, slots=True, eq=False)
class LocalMaster:
    """Master key versions held in this process."""

    name: str
    versions: dict[int, MasterKey]

    @property
    def provider(self) -> str:
        """Always `local`."""
        return PROVIDER

    async def wrap(self, half: MasterHalf, *, context: bytes) -> MasterWrap:
        """Wrap under the highest version."""
        version = max(self.versions)
        blob = wrap(half, self.versions[version], context=context)
        return MasterWrap(provider=PROVIDER, key_name=self.name, key_version=version, blob=blob)

    async def unwrap(self, wrapped: MasterWrap, *, context: bytes) -> MasterHalf:
        """Open a wrap of this key; raises `NoSuchKey` for another key's."""
        key = self.versions.get(wrapped.key_version)
        if wrapped.provider != PROVIDER or wrapped.key_name != self.name or key is None:
            raise NoSuchKey("the wrap names a master key that this key file does not hold")
        return unwrap(wrapped.blob, key, context=context, kind=MasterHalf)

    async def health(self) -> None:
        """The keys are in memory: always well."""


def create_master_file(path: Path, *, passphrase: str | None = None) -> None:
    """Make a key file with one fresh version, unless one stands there already.

    Raises `MasterUnusable` when the folder cannot be written.
    """
    name = f"local-{secrets.token_hex(4)}"
    document = _document(name, {1: MasterKey.generate()}, passphrase=passphrase)
    create_private_file(path, json.dumps(document, indent=1).encode() + b"\n")


def load_master_file(path: Path, *, passphrase: str | None = None) -> LocalMaster:
    """Read a key file; raises `MasterUnusable` with a sentence that says what to do."""
    data = read_private_file(path)
    try:
        return _parse(json.loads(data), passphrase=passphrase)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, Malformed):
        raise MasterUnusable(f"{path} is not a Replay Vault key file") from None


def _parse(document: dict[str, Any], *, passphrase: str | None) -> LocalMaster:
    if document["format"] != FORMAT or not document["versions"]:
        raise ValueError(document["format"])
    name, parameters = document["name"], document["passphrase"]
    if (parameters is None) != (passphrase is None):
        raise MasterUnusable(
            "the key file is protected by a passphrase: set REPLAYVAULT_MASTER_PASSPHRASE_FILE"
            if parameters is not None
            else "a passphrase is set, but the key file was made without one",
        )
    stored = {_number(each["version"]): payload.to_bytes(each["key"]) for each in document["versions"]}
    if len(stored) != len(document["versions"]):
        raise ValueError("a version stands twice")
    if parameters is None or passphrase is None:
        return LocalMaster(name, {number: MasterKey(raw) for number, raw in stored.items()})
    return LocalMaster(name, _unwrap_versions(stored, name, _derive(passphrase, parameters)))


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


def _document(name: str, versions: dict[int, MasterKey], *, passphrase: str | None) -> dict[str, Any]:
    parameters = None if passphrase is None else _fresh_parameters()
    under = None if passphrase is None or parameters is None else _derive(passphrase, parameters)
    return {
        "format": FORMAT,
        "name": name,
        "passphrase": parameters,
        "versions": [
            {"version": number, "key": payload.to_text(_stored(key, name, number, under))}
            for number, key in versions.items()
        ],
    }


def _stored(key: MasterKey, name: str, number: int, under: MasterKey | None) -> bytes:
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


def _derive(passphrase: str, parameters: dict[str, Any]) -> MasterKey:
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
