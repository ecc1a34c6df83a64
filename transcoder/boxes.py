"""ISO base media boxes (ISO/IEC 14496-12 section 4.2): reading them strictly, writing them plainly.

Invariants: a reader never leaves the bytes it was given and raises TrackDamaged, nothing else, when they are not
enough or not what they should be; integers are big-endian.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from .errors import TrackDamaged

HEADER_BYTES = 8


@dataclass(frozen=True, slots=True)
class Box:
    """One box in memory: its four letters and what follows its header."""

    kind: bytes
    payload: memoryview


def parse_header(data: bytes | bytearray | memoryview) -> tuple[int, bytes]:
    """Read (size, kind) of a box. Sizes "to the end" (0) and 64-bit (1) are never written by us: TrackDamaged."""
    size, kind = struct.unpack_from(">I4s", data)
    if size < HEADER_BYTES:
        raise TrackDamaged
    return size, kind


def children(payload: memoryview) -> Iterator[Box]:
    """Walk boxes that fill `payload` exactly."""
    at = 0
    while at < len(payload):
        if len(payload) - at < HEADER_BYTES:
            raise TrackDamaged
        size, kind = parse_header(payload[at : at + HEADER_BYTES])
        if size > len(payload) - at:
            raise TrackDamaged
        yield Box(kind, payload[at + HEADER_BYTES : at + size])
        at += size


def only(payload: memoryview, kind: bytes) -> memoryview:
    """Payload of the one child of that kind; none or two are damage."""
    found = optional(payload, kind)
    if found is None:
        raise TrackDamaged
    return found


def optional(payload: memoryview, kind: bytes) -> memoryview | None:
    """Payload of the child of that kind, None where there is none; two are damage."""
    found = [box.payload for box in children(payload) if box.kind == kind]
    if len(found) > 1:
        raise TrackDamaged
    return found[0] if found else None


class Fields:
    """A cursor over the fields of one box."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: memoryview) -> None:
        self._data = data
        self._at = 0

    def take(self, size_bytes: int) -> memoryview:
        """Return the next bytes."""
        end = self._at + size_bytes
        if size_bytes < 0 or end > len(self._data):
            raise TrackDamaged
        part, self._at = self._data[self._at : end], end
        return part

    def number(self, size_bytes: int) -> int:
        """Read an unsigned integer of that many bytes."""
        return int.from_bytes(self.take(size_bytes), "big")

    def signed(self, size_bytes: int) -> int:
        """Read a two's complement integer of that many bytes."""
        return int.from_bytes(self.take(size_bytes), "big", signed=True)

    def version_and_flags(self) -> tuple[int, int]:
        """Read the start of a FullBox."""
        return self.number(1), self.number(3)

    def rest(self) -> memoryview:
        """Return everything that is left."""
        return self.take(len(self._data) - self._at)

    def end(self) -> None:
        """Insist that nothing is left."""
        if self._at != len(self._data):
            raise TrackDamaged


def box(kind: bytes, *parts: bytes | bytearray) -> bytes:
    """Write one box. Raises ValueError beyond 4 GiB, which no header of ours reaches."""
    size = HEADER_BYTES + sum(map(len, parts))
    if size >= 1 << 32:
        raise ValueError("a box of 4 GiB or more needs a 64-bit size")
    return struct.pack(">I4s", size, kind) + b"".join(parts)


def full_box(kind: bytes, *parts: bytes | bytearray, version: int = 0, flags: int = 0) -> bytes:
    """Write one FullBox."""
    return box(kind, struct.pack(">I", version << 24 | flags), *parts)
