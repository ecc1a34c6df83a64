"""Anchors: small texts that stand beside the objects, under prefixes of their own, and are never overwritten.

`audit-anchors/<writer>/<size, 20 digits>`, signed, in any store and in a second folder, such as a write-once mount, and
`tombstones/<erasure id>`, sealed, in the store.

Invariants: the last part of a name sorts as a number; a name is written once, under an exclusive lock; a folder
that is not mounted is an error, never made anew. Here every call blocks and belongs into a thread.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import stat
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import ClassVar, Final, Protocol, Self, TypeAlias, TypeVar

from keys.errors import MalformedId
from keys.ids import parse_uuid
from vault.objects.errors import MalformedObject, StoreUnavailable

ANCHORS: Final = "audit-anchors"
TOMBSTONES: Final = "tombstones"
MAX_ANCHOR_BYTES: Final = 4096
_WRITER: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", re.ASCII)
_SIZE: Final = re.compile(r"[0-9]{20}", re.ASCII)
_WRITING: Final = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


@dataclass(frozen=True, slots=True, order=True)
class AnchorName:
    """What an anchor is of: a writer, and how many entries it had."""

    writer: str
    size: int

    def __str__(self) -> str:
        return f"{ANCHORS}/{self.writer}/{self.size:020}"

    prefix: ClassVar[str] = ANCHORS

    @classmethod
    def parse(cls, text: str) -> Self:
        """The name in its text form; raises `MalformedObject`."""
        prefix, _, rest = text.partition("/")
        writer, _, size = rest.partition("/")
        if prefix != ANCHORS or not _WRITER.fullmatch(writer) or not _SIZE.fullmatch(size):
            raise MalformedObject("an anchor's name is audit-anchors, a writer and twenty digits")
        return cls(writer, int(size))


@dataclass(frozen=True, slots=True, order=True)
class TombstoneName:
    """What a tombstone is of: an erasure."""

    erasure_id: uuid.UUID

    prefix: ClassVar[str] = TOMBSTONES

    def __str__(self) -> str:
        return f"{TOMBSTONES}/{self.erasure_id}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """The name in its text form; raises `MalformedObject`."""
        prefix, _, rest = text.partition("/")
        try:
            made = cls(parse_uuid(rest))
        except MalformedId:
            made = None
        if made is None or prefix != TOMBSTONES:
            raise MalformedObject("a tombstone's name is tombstones and the id of an erasure")
        return made


SmallName: TypeAlias = AnchorName | TombstoneName
N = TypeVar("N", AnchorName, TombstoneName)


class AnchorPlace(Protocol):
    """Where anchors stand. Every object store is one."""

    async def put_anchor(self, name: SmallName, data: bytes) -> None:
        """Store `data` where nothing stands; raises `ObjectExists` or `StoreUnavailable`."""

    async def get_anchor(self, name: SmallName) -> bytes:
        """The content; raises `ObjectMissing` or `StoreUnavailable`."""

    def list_anchors(self, kind: type[N]) -> AsyncIterator[N]:
        """Every anchor of a kind, in the order of names; foreign names are passed over."""


class AnchorFolder:
    """Anchors below a folder that exists; raises OSError."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def put(self, name: SmallName, data: bytes) -> None:
        """Fill a file of its own in one write; raises `FileExistsError` where one stands that is not empty."""
        path = self._root / str(name)
        for each in reversed(PurePosixPath(str(name)).parents[:-1]):
            with contextlib.suppress(FileExistsError):
                (self._root / each).mkdir(mode=0o700)
        descriptor = os.open(path, _WRITING, 0o600)
        try:
            _require_empty(descriptor, path)
            _write_whole(descriptor, data)
        finally:
            os.close(descriptor)
        _sync(path.parent)

    def get(self, name: SmallName) -> bytes:
        """The content, no more than an anchor can hold."""
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(self._root / str(name), flags)
        try:
            return os.read(descriptor, MAX_ANCHOR_BYTES + 1)
        finally:
            os.close(descriptor)

    def names(self, kind: type[N]) -> tuple[N, ...]:
        """Every anchor of a kind; none where none was ever stored. Raises `StoreUnavailable` where the root is gone."""
        if not self._root.is_dir():
            raise StoreUnavailable(f"the anchors' folder {self._root} is not there")
        found: list[N] = []
        for path in (self._root / kind.prefix).rglob("*"):
            with contextlib.suppress(MalformedObject):
                found.append(kind.parse(path.relative_to(self._root).as_posix()))
        return tuple(sorted(found))


def _require_empty(descriptor: int, path: Path) -> None:
    """Lock a file that is new, or that a crash left before its first byte; raises `FileExistsError`.

    Who waits for the lock finds what its holder has written, so that of many at once one writes.
    """
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_size == 0:
            return
    raise FileExistsError(errno.EEXIST, "an anchor stands there", str(path))


def _write_whole(descriptor: int, data: bytes) -> None:
    """Write and sync, or leave the file as empty as it was: another may be waiting for it, so it is not unlinked."""
    try:
        if os.write(descriptor, data) != len(data):
            raise OSError(errno.ENOSPC, "short write")  # noqa: TRY301 - one way out for every failure
        os.fsync(descriptor)
    except OSError:
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, 0)
        raise


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
