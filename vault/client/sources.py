"""What is uploaded: a file, or pieces as they come; counted on the way.

Invariants: at most one piece of a file is held; a file that changes its size while it is sent is an error, never a
shorter recording; an error of the source is raised as it is, and cuts the upload.
"""

from __future__ import annotations

import asyncio
import contextlib
import mimetypes
import os
from collections.abc import AsyncIterable, AsyncIterator, Callable
from pathlib import Path
from typing import BinaryIO, Final, TypeAlias

from vault.client.errors import Misused

PIECE_BYTES: Final = 1024 * 1024
UNKNOWN_TYPE: Final = "application/octet-stream"

# How much was sent so far, and how much there is where that is known, in bytes.
Progress: TypeAlias = Callable[[int, int | None], None]


def media_type(path: Path) -> str:
    """The type that a file's name suggests, as far as the service takes it; it looks at the bytes anyway."""
    guessed = mimetypes.guess_type(path.name)[0] or UNKNOWN_TYPE
    return guessed if guessed.partition("/")[0] in ("video", "audio") else UNKNOWN_TYPE


class Source:
    """Pieces of one upload. Iterated once; `failure` is what the source itself raised."""

    def __init__(
        self, pieces: AsyncIterable[bytes], *, size_bytes: int | None, on_progress: Progress | None
    ) -> None:
        self._pieces = pieces
        self._on_progress = on_progress
        self.size_bytes = size_bytes
        self.sent_bytes = 0
        self.failure: Exception | None = None
        self.on_piece: Callable[[], None] = _nothing
        self.on_end: Callable[[], None] = _nothing

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """The pieces, counted; raises what the source raises, or `Misused` where it is not as long as was said."""
        try:
            async for piece in self._pieces:
                if piece:
                    yield piece
                    self._count(len(piece))
            if self.size_bytes is not None and self.sent_bytes != self.size_bytes:
                raise Misused("the source is shorter than was said: did it change while it was sent?")  # noqa: TRY301
            self.on_end()
        except Exception as failure:
            self.failure = failure
            raise

    def _count(self, size_bytes: int) -> None:
        self.sent_bytes += size_bytes
        if self.size_bytes is not None and self.sent_bytes > self.size_bytes:
            raise Misused("the source is longer than was said: did it change while it was sent?")
        self.on_piece()
        if self._on_progress is not None:
            self._on_progress(self.sent_bytes, self.size_bytes)


def _nothing() -> None:
    """What happens where nobody asked to be told."""


async def read_pieces(file: BinaryIO) -> AsyncIterator[bytes]:
    """A file from where it stands to its end, read in a thread; raises OSError."""
    while piece := await asyncio.to_thread(file.read, PIECE_BYTES):
        yield piece


def size_of(file: BinaryIO) -> int | None:
    """What is left of a regular file, or None for a pipe."""
    if not file.seekable():
        return None
    return os.fstat(file.fileno()).st_size - file.tell()


@contextlib.asynccontextmanager
async def opened_file(path: Path) -> AsyncIterator[BinaryIO]:
    """A file to read, opened in a thread; raises OSError."""
    file = await asyncio.to_thread(path.open, "rb")
    try:
        yield file
    finally:
        await asyncio.to_thread(file.close)
