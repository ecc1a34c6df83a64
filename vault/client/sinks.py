"""Where a download goes. A sink is told the validator of the bytes, so that it can go on later where it stopped.

Invariants: what stands at a file's final name is complete; a part that was left behind is carried on only with bytes
of the same version, which its name says; files are private (0600), and no symbolic link is followed.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, Protocol

from vault.client.errors import Misused

# What our strong tags are made of; one that could be anything else in a file's name is not kept.
_TAG: Final = re.compile(r"[A-Za-z0-9-]{1,64}", re.ASCII)
_FLAGS: Final = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True, kw_only=True)
class Resume:
    """How far a sink has come, and of which version: `tag` is the text of a strong validator."""

    offset_bytes: int
    tag: str


class Sink(Protocol):
    """Takes the bytes of one download, in order."""

    async def resume(self) -> Resume | None:
        """Where to go on, or None to start at the beginning."""

    async def begin(self, *, offset_bytes: int, tag: str | None) -> None:
        """Bytes from `offset_bytes` on follow; what was written after it is void."""

    async def write(self, data: bytes) -> None:
        """Take the next bytes."""

    async def finish(self) -> None:
        """Every byte was there."""


class FileSink:
    """A file that appears when it is complete; until then `.name.TAG.part` beside it."""

    def __init__(self, path: Path, *, replace: bool = False) -> None:
        """Without `replace`, a file that stands at `path` is left alone: the download raises `Misused`."""
        self._path = path
        self._replace = replace
        self._part: Path | None = None
        self._descriptor: int | None = None

    async def resume(self) -> Resume | None:
        """The part that an earlier process left behind; of several the largest."""
        return await asyncio.to_thread(self._found)

    async def begin(self, *, offset_bytes: int, tag: str | None) -> None:
        """Open the part of that version; raises OSError."""
        await asyncio.to_thread(self._begin, offset_bytes, tag)

    async def write(self, data: bytes) -> None:
        """Append; raises OSError."""
        await asyncio.to_thread(self._write, data)

    async def finish(self) -> None:
        """Sync, and put the file in its place."""
        await asyncio.to_thread(self._finish)

    async def aclose(self) -> None:
        """Let go of the part, which stays to be carried on."""
        if self._descriptor is not None:
            await asyncio.to_thread(os.close, self._descriptor)
            self._descriptor = None

    def _parts(self) -> dict[str, Path]:
        prefix, suffix = f".{self._path.name}.", ".part"
        found = {}
        for path in self._path.absolute().parent.iterdir():
            tag = path.name.removeprefix(prefix).removesuffix(suffix)
            if path.name == f"{prefix}{tag}{suffix}" and _TAG.fullmatch(tag) and not path.is_symlink():
                found[tag] = path
        return found

    def _found(self) -> Resume | None:
        if not self._replace and self._path.exists():
            raise Misused(f"{self._path} exists already")
        if self._part is not None and self._part.exists():
            tag = self._part.name.removeprefix(f".{self._path.name}.").removesuffix(".part")
            return Resume(offset_bytes=self._part.stat().st_size, tag=tag)
        sizes = {tag: path.stat().st_size for tag, path in self._parts().items()}
        if not any(sizes.values()):
            return None
        tag = max(sizes, key=lambda each: sizes[each])
        return Resume(offset_bytes=sizes[tag], tag=tag)

    def _begin(self, offset_bytes: int, tag: str | None) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
        kept = tag if tag is not None and _TAG.fullmatch(tag) else "x"
        self._part = self._path.with_name(f".{self._path.name}.{kept}.part")
        for other in set(self._parts().values()) - {self._part.absolute()}:
            other.unlink()
        self._descriptor = os.open(self._part, _FLAGS, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Misused(f"another download writes {self._part}") from None
        os.ftruncate(self._descriptor, offset_bytes)
        os.lseek(self._descriptor, 0, os.SEEK_END)

    def _write(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest and self._descriptor is not None:
            rest = rest[os.write(self._descriptor, rest) :]

    def _finish(self) -> None:
        if self._descriptor is None or self._part is None:
            return
        os.fsync(self._descriptor)
        if self._replace:
            self._part.replace(self._path)
        else:
            self._link()
        os.close(self._descriptor)
        self._descriptor = None

    def _link(self) -> None:
        if self._part is None:
            return
        try:
            self._path.hardlink_to(self._part)
        except FileExistsError:
            raise Misused(f"{self._path} exists by now; the download stands in {self._part}") from None
        self._part.unlink()


class WriterSink:
    """A stream that cannot go back, such as standard output. `begin` anywhere but at its end is an error."""

    def __init__(self, writer: BinaryIO) -> None:
        self._writer = writer
        self._tag: str | None = None
        self._written_bytes = 0

    async def resume(self) -> Resume | None:
        """Where the stream stands, once its version is known."""
        if self._tag is None or self._written_bytes == 0:
            return None
        return Resume(offset_bytes=self._written_bytes, tag=self._tag)

    async def begin(self, *, offset_bytes: int, tag: str | None) -> None:
        """Raises `Misused` where the stream would have to go back."""
        if offset_bytes != self._written_bytes:
            raise Misused(
                "the recording changed while it was sent, and what was written cannot be taken back"
            )
        self._tag = tag

    async def write(self, data: bytes) -> None:
        """Write; raises OSError."""
        await asyncio.to_thread(self._writer.write, data)
        self._written_bytes += len(data)

    async def finish(self) -> None:
        """Flush."""
        with contextlib.suppress(ValueError):  # closed by whoever owns it
            await asyncio.to_thread(self._writer.flush)
