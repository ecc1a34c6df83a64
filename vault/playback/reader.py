"""Ranges of sealed files as a stream of verified windows, one fetched ahead while one is sent.

Invariants:
- the first window is small, so that its first byte is soon there; the next ones grow to `MAX_WINDOW_BYTES`;
- at most two windows are held for each stream, however long the file and however slow the client;
- the holder is checked before a window is given out; a window fetched ahead is dropped when the check fails.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from vault.objects.container import CHUNK_BYTES
from vault.playback.lasting import LastingReader
from vault.sessions.admission import Watch

FIRST_WINDOW_BYTES: Final = 4 * CHUNK_BYTES
MAX_WINDOW_BYTES: Final = 32 * CHUNK_BYTES
_GROWTH: Final = 4


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes `first` to `last` (inclusive) of one sealed file."""

    reader: LastingReader
    first: int
    last: int


def plan_windows(pieces: Iterable[Piece]) -> Iterator[Piece]:
    """Cut pieces into windows that end with a chunk and grow as the stream goes on."""
    limit = FIRST_WINDOW_BYTES
    for piece in pieces:
        first = piece.first
        while first <= piece.last:
            start_of_chunk = first - first % CHUNK_BYTES
            last = min(start_of_chunk + limit - 1, piece.last)
            yield Piece(piece.reader, first, last)
            first = last + 1
            limit = min(limit * _GROWTH, MAX_WINDOW_BYTES)


async def stream(pieces: Iterable[Piece], watch: Watch) -> AsyncGenerator[bytes, None]:
    """The bytes of `pieces`; raises `SessionEnded`, `DamagedObject`, `StoreUnavailable` and their like."""
    ahead: asyncio.Task[bytes] | None = None
    try:
        for window in plan_windows(pieces):
            following = asyncio.create_task(_fetch(window))
            if ahead is not None:
                current, ahead = ahead, following
                yield await _checked(current, watch)
            else:
                ahead = following
        if ahead is not None:
            current, ahead = ahead, None
            yield await _checked(current, watch)
    finally:
        if ahead is not None:
            ahead.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await ahead


async def _checked(window: asyncio.Task[bytes], watch: Watch) -> bytes:
    data = await window
    await watch.check(now_s=time.monotonic())
    return data


async def _fetch(window: Piece) -> bytes:
    return await window.reader.read(first_byte=window.first, last_byte=window.last)
