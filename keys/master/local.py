"""The master key in a file of its own: the default on one machine.

The file is JSON, `{"format", "name", "passphrase", "versions"}`. Without a passphrase each version holds its key in
base64url; with one, each version holds a wrap under a key that Argon2id (RFC 9106) derives from the passphrase and
the parameters in `passphrase`.

Invariants:
- the file is readable by its owner alone (mode 0600) and is refused otherwise;
- it is written whole to a new name, synced, and linked into place: no reader sees half a file, and no second
  first start overwrites a key;
- versions only grow; the highest wraps, every one unwraps.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from nacl.pwhash import argon2id

from keys import contexts, payload
from keys.errors import KeysError, MasterUnusable, NoSuchKey
from keys.master.protocol import MasterWrap
from keys.secret import MasterHalf, MasterKey
from keys.wrap import unwrap, wrap

FORMAT: Final = "replayvault-local-master/1"
PROVIDER: Final = "local"
_PRIVATE: Final = 0o600


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
    try:
        _link_into_place(path, json.dumps(document, indent=1).encode() + b"\n")
    except OSError as error:
        raise MasterUnusable(f"cannot write the key file {path}: {error.strerror}") from None


def load_master_file(path: Path, *, passphrase: str | None = None) -> LocalMaster:
    """Read a key file; raises `MasterUnusable` with a sentence that says what to do."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise MasterUnusable(f"cannot read the key file {path}: {error.strerror}") from None
    with os.fdopen(descriptor, "rb") as file:
        if stat.S_IMODE(os.fstat(descriptor).st_mode) & 0o077:
            raise MasterUnusable(f"the key file {path} is readable by others; run: chmod 600 {path}")
        data = file.read()
    try:
        return _parse(json.loads(data), passphrase=passphrase)
    except (ValueError, TypeError, KeyError, AttributeError):
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
    stored = {each["version"]: payload.to_bytes(each["key"]) for each in document["versions"]}
    if parameters is None or passphrase is None:
        return LocalMaster(name, {number: MasterKey(raw) for number, raw in stored.items()})
    return LocalMaster(name, _unwrap_versions(stored, name, _derive(passphrase, parameters)))


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


def _link_into_place(path: Path, data: bytes) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _PRIVATE)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(draft)
    finally:
        draft.unlink()
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
