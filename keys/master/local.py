"""The master key in a file of its own: the default on one machine.

The file is JSON, `{"format", "name", "passphrase", "versions"}`. Without a passphrase each version holds its key in
base64url; with one, each version holds a wrap under a key that Argon2id (RFC 9106) derives from the passphrase and
the parameters in `passphrase`.

Invariants:
- the file is made once, whole and private, and refused when others could read it (`keys.keyfile`);
- versions only grow; the highest wraps, every one unwraps;
- a version that another process added is noticed before the next wrap, and when a wrap names it.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import json
import os
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from nacl.pwhash import argon2id

from keys import contexts, payload
from keys.errors import KeysError, Malformed, MasterUnusable, NoSuchKey
from keys.keyfile import change_private_file, create_private_file, read_private_file
from keys.master.protocol import MasterWrap
from keys.secret import MasterHalf, MasterKey
from keys.wrap import unwrap, wrap

FORMAT: Final = "replayvault-local-master/1"
PROVIDER: Final = "local"
_BATCH: Final = 1000


@dataclass(frozen=True, slots=True, eq=False)
class _Source:
    """The file that a master key was read from, and the key that protects it, where one does."""

    path: Path
    under: MasterKey | None


@dataclass(frozen=True, slots=True, eq=False)
class LocalMaster:
    """Master key versions held in this process."""

    name: str
    versions: dict[int, MasterKey]
    source: _Source | None = None

    @property
    def provider(self) -> str:
        """Always `local`."""
        return PROVIDER

    @property
    def key_name(self) -> str:
        """As the file names it."""
        return self.name

    @property
    def batch_limit(self) -> int:
        """As many as one transaction of the catalog takes well."""
        return _BATCH

    async def wrap(self, half: MasterHalf, *, context: bytes) -> MasterWrap:
        """Wrap under the highest version."""
        return self._wrap(half, await self.current_version(), context=context)

    async def unwrap(self, wrapped: MasterWrap, *, context: bytes) -> MasterHalf:
        """Open a wrap of this key; raises `NoSuchKey` for another key's."""
        if wrapped.key_version not in self.versions:
            await asyncio.to_thread(self._read_again)
        return self._unwrap(wrapped, context=context)

    async def rewrap(self, items: Sequence[tuple[MasterWrap, bytes]]) -> Sequence[MasterWrap | KeysError]:
        """Bring wraps under the highest version: one answer each."""
        version = await self.current_version()
        return [self._rewrapped(wrapped, version, context=context) for wrapped, context in items]

    async def current_version(self) -> int:
        """The highest."""
        await asyncio.to_thread(self._read_again)
        return max(self.versions)

    async def made_at(self) -> dt.datetime | None:
        """When the file was last written, which happens once for each version; None for a key from no file."""
        if self.source is None:
            return None
        return await asyncio.to_thread(_written_at, self.source.path)

    async def rotate(self) -> int:
        """Add a version to the file; raises `MasterUnusable`."""
        source = self.source
        if source is None:
            raise MasterUnusable("this master key was not read from a file, and has no next version")
        await asyncio.to_thread(change_private_file, source.path, lambda data: self._with_next(data, source))
        return await self.current_version()

    async def health(self) -> None:
        """The keys are in memory: always well."""

    def _wrap(self, half: MasterHalf, version: int, *, context: bytes) -> MasterWrap:
        blob = wrap(half, self.versions[version], context=context)
        return MasterWrap(provider=PROVIDER, key_name=self.name, key_version=version, blob=blob)

    def _unwrap(self, wrapped: MasterWrap, *, context: bytes) -> MasterHalf:
        key = self.versions.get(wrapped.key_version)
        if wrapped.provider != PROVIDER or wrapped.key_name != self.name or key is None:
            raise NoSuchKey("the wrap names a master key that this key file does not hold")
        return unwrap(wrapped.blob, key, context=context, kind=MasterHalf)

    def _rewrapped(self, wrapped: MasterWrap, version: int, *, context: bytes) -> MasterWrap | KeysError:
        try:
            half = self._unwrap(wrapped, context=context)
        except KeysError as error:
            return error
        return wrapped if wrapped.key_version == version else self._wrap(half, version, context=context)

    def _read_again(self) -> None:
        if self.source is None:
            return
        document = _read(self.source.path)
        if document["name"] != self.name:
            raise MasterUnusable(
                f"{self.source.path} holds another master key by now: put the right one back"
            )
        # Added, never replaced: what is held goes on opening, whatever became of the file.
        for number, key in _versions(document, self.source).items():
            self.versions.setdefault(number, key)

    def _with_next(self, data: bytes, source: _Source) -> bytes:
        document = _checked(data, source.path)
        number = max(_versions(document, source)) + 1
        raw = _stored(MasterKey.generate(), self.name, number, source.under)
        document["versions"].append({"version": number, "key": payload.to_text(raw)})
        return _encoded(document)


def create_master_file(path: Path, *, passphrase: str | None = None) -> None:
    """Make a key file with one fresh version, unless one stands there already.

    Raises `MasterUnusable` when the folder cannot be written.
    """
    name = f"local-{secrets.token_hex(4)}"
    document = _document(name, {1: MasterKey.generate()}, passphrase=passphrase)
    create_private_file(path, _encoded(document))


def load_master_file(path: Path, *, passphrase: str | None = None) -> LocalMaster:
    """Read a key file; raises `MasterUnusable` with a sentence that says what to do."""
    document = _read(path)
    with _recognised(path):
        parameters = document["passphrase"]
        _require_passphrase(parameters, passphrase)
        under = None if parameters is None or passphrase is None else _derive(passphrase, parameters)
    source = _Source(path, under)
    return LocalMaster(document["name"], _versions(document, source), source)


def _written_at(path: Path) -> dt.datetime:
    try:
        return dt.datetime.fromtimestamp(path.stat().st_mtime, dt.UTC)
    except OSError as error:
        raise MasterUnusable(f"cannot read the key file {path}: {error.strerror}") from None


def _read(path: Path) -> dict[str, Any]:
    return _checked(read_private_file(path), path)


def _checked(data: bytes, path: Path) -> dict[str, Any]:
    with _recognised(path):
        document: dict[str, Any] = json.loads(data)
        if document["format"] != FORMAT or not document["versions"]:
            raise ValueError(document["format"])
        if not isinstance(document["name"], str):
            raise TypeError(document["name"])
        numbers = [_number(each["version"]) for each in document["versions"]]
        if len(set(numbers)) != len(numbers):
            raise ValueError("a version stands twice")
        document["passphrase"]
        return document
    raise AssertionError  # what is not recognised has raised


@contextlib.contextmanager
def _recognised(path: Path) -> Iterator[None]:
    try:
        yield
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, Malformed):
        raise MasterUnusable(f"{path} is not a Replay Vault key file") from None


def _require_passphrase(parameters: object, passphrase: str | None) -> None:
    if (parameters is None) != (passphrase is None):
        raise MasterUnusable(
            "the key file is protected by a passphrase: set REPLAYVAULT_MASTER_PASSPHRASE_FILE"
            if parameters is not None
            else "a passphrase is set, but the key file was made without one",
        )


def _versions(document: dict[str, Any], source: _Source) -> dict[int, MasterKey]:
    with _recognised(source.path):
        stored = {each["version"]: payload.to_bytes(each["key"]) for each in document["versions"]}
        if source.under is None:
            return {number: MasterKey(raw) for number, raw in stored.items()}
        return _unwrap_versions(stored, document["name"], source.under)
    raise AssertionError  # what is not recognised has raised


def _encoded(document: dict[str, Any]) -> bytes:
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
