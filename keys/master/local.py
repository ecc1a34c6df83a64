"""The master key in a file of its own: the default on one machine.

Invariants:
- the highest version wraps, every one unwraps that is not retired;
- a version that another process added is noticed before the next wrap, and when a wrap names it; one that another
  process retired opens nothing `LOOK_S` later.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from keys.errors import KeysError, MasterUnusable, NoSuchKey
from keys.keyfile import change_private_file, create_private_file
from keys.master import local_file
from keys.master.local_file import FORMAT, Source
from keys.master.protocol import MasterVersion, MasterWrap
from keys.secret import MasterHalf, MasterKey
from keys.wrap import unwrap, wrap

__all__ = ["FORMAT", "LocalMaster", "create_master_file", "load_master_file"]

PROVIDER: Final = "local"
LOOK_S: Final = 1.0
_BATCH: Final = 1000


@dataclass(slots=True)
class _Look:
    """When the file was last looked at, and which versions it said are out of use."""

    at_s: float = field(default_factory=time.monotonic)
    retired: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True, eq=False)
class LocalMaster:
    """Master key versions held in this process."""

    name: str
    keys: dict[int, MasterKey]
    source: Source | None = None
    _look: _Look = field(default_factory=_Look)

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

    @property
    def can_retire(self) -> bool:
        """Always."""
        return True

    async def wrap(self, half: MasterHalf, *, context: bytes) -> MasterWrap:
        """Wrap under the highest version."""
        return self._wrap(half, await self.current_version(), context=context)

    async def unwrap(self, wrapped: MasterWrap, *, context: bytes) -> MasterHalf:
        """Open a wrap of this key; raises `NoSuchKey` for another key's."""
        if wrapped.key_version not in self.keys:
            await asyncio.to_thread(self._read_again)
        elif time.monotonic() - self._look.at_s > LOOK_S:
            with contextlib.suppress(
                MasterUnusable
            ):  # what is held goes on opening, whatever became of the file
                await asyncio.to_thread(self._read_again)
        return self._unwrap(wrapped, context=context)

    async def rewrap(self, items: Sequence[tuple[MasterWrap, bytes]]) -> Sequence[MasterWrap | KeysError]:
        """Bring wraps under the highest version: one answer each."""
        version = await self.current_version()
        return [self._rewrapped(wrapped, version, context=context) for wrapped, context in items]

    async def current_version(self) -> int:
        """The highest."""
        await asyncio.to_thread(self._read_again)
        return max(self.keys)

    async def made_at(self) -> dt.datetime | None:
        """When the file was last written, which happens once for each version; None for a key from no file."""
        if self.source is None:
            return None
        return await asyncio.to_thread(_written_at, self.source.path)

    async def rotate(self) -> int:
        """Add a version to the file; raises `MasterUnusable`."""
        await self._change(local_file.with_next)
        return max(self.keys)

    async def versions(self) -> Sequence[MasterVersion]:
        """Those of the file; it does not say when they were made."""
        return await asyncio.to_thread(self._listed)

    async def retire(self, version: int) -> None:
        """Mark versions in the file; raises `NoSuchKey`, `NotRetirable` or `MasterUnusable`."""
        now = dt.datetime.now(tz=dt.UTC)
        await self._change(lambda document, _: local_file.with_retired(document, version, now=now))

    async def restore(self, version: int) -> None:
        """Take the mark away; raises `NoSuchKey` or `MasterUnusable`."""
        await self._change(lambda document, _: local_file.with_restored(document, version))

    async def trim(self, version: int) -> None:
        """Take versions out of the file; raises `NotRetirable` or `MasterUnusable`."""
        await self._change(lambda document, _: local_file.without_trimmed(document, version))

    async def health(self) -> None:
        """The keys are in memory: always well."""

    async def _change(self, change: Callable[[dict[str, Any], Source], None]) -> None:
        source = self.source
        if source is None:
            raise MasterUnusable("this master key was not read from a file, and has no other version")

        def changed(data: bytes) -> bytes:
            document = local_file.checked(data, source.path)
            change(document, source)
            return local_file.encoded(document)

        await asyncio.to_thread(change_private_file, source.path, changed)
        await asyncio.to_thread(self._read_again)

    def _wrap(self, half: MasterHalf, version: int, *, context: bytes) -> MasterWrap:
        blob = wrap(half, self.keys[version], context=context)
        return MasterWrap(provider=PROVIDER, key_name=self.name, key_version=version, blob=blob)

    def _unwrap(self, wrapped: MasterWrap, *, context: bytes) -> MasterHalf:
        key = self.keys.get(wrapped.key_version)
        if wrapped.provider != PROVIDER or wrapped.key_name != self.name or key is None:
            raise NoSuchKey("the wrap names a master key that this key file does not hold")
        if wrapped.key_version in self._look.retired:
            raise NoSuchKey("the wrap names a version of the master key that is retired")
        return unwrap(wrapped.blob, key, context=context, kind=MasterHalf)

    def _rewrapped(self, wrapped: MasterWrap, version: int, *, context: bytes) -> MasterWrap | KeysError:
        try:
            half = self._unwrap(wrapped, context=context)
        except KeysError as error:
            return error
        return wrapped if wrapped.key_version == version else self._wrap(half, version, context=context)

    def _listed(self) -> list[MasterVersion]:
        if self.source is None:
            return [MasterVersion(number, is_retired=False, since=None) for number in sorted(self.keys)]
        document = local_file.read_document(self.source.path)
        retired = local_file.retired_of(document)
        numbers = sorted(each["version"] for each in document["versions"])
        return [MasterVersion(number, number in retired, retired.get(number)) for number in numbers]

    def _read_again(self) -> None:
        if self.source is None:
            return
        self._look.at_s = time.monotonic()
        document = local_file.read_document(self.source.path)
        if document["name"] != self.name:
            raise MasterUnusable(
                f"{self.source.path} holds another master key by now: put the right one back"
            )
        found = local_file.keys_of(document, self.source)
        # Added, never replaced: what is held goes on opening, whatever became of the file; but versions below its
        # lowest were trimmed.
        for number, key in found.items():
            self.keys.setdefault(number, key)
        for number in [held for held in list(self.keys) if held < min(found)]:
            del self.keys[number]
        self._look.retired = frozenset(local_file.retired_of(document))


def _written_at(path: Path) -> dt.datetime:
    try:
        return dt.datetime.fromtimestamp(path.stat().st_mtime, dt.UTC)
    except OSError as error:
        raise MasterUnusable(f"cannot read the key file {path}: {error.strerror}") from None


def create_master_file(path: Path, *, passphrase: str | None = None) -> None:
    """Make a key file with one fresh version, unless one stands there already.

    Raises `MasterUnusable` when the folder cannot be written.
    """
    name = f"local-{secrets.token_hex(4)}"
    document = local_file.new_document(name, {1: MasterKey.generate()}, passphrase=passphrase)
    create_private_file(path, local_file.encoded(document))


def load_master_file(path: Path, *, passphrase: str | None = None) -> LocalMaster:
    """Read a key file; raises `MasterUnusable` with a sentence that says what to do."""
    document = local_file.read_document(path)
    with local_file.recognised(path):
        parameters = document["passphrase"]
        local_file.require_passphrase(parameters, passphrase)
        under = (
            None if parameters is None or passphrase is None else local_file.derive(passphrase, parameters)
        )
    source = Source(path, under)
    look = _Look(retired=frozenset(local_file.retired_of(document)))
    return LocalMaster(document["name"], local_file.keys_of(document, source), source, look)
