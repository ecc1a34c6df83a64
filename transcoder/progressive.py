"""A progressive MP4 without a second copy: a synthesised head, then extents of the fragmented tracks.

`<video src>`, downloads and AirPlay want one plain file with its index in front. Everything for that index is in the
fragments, and the media bytes are the same; so the file is `ftyp moov` and the header of one `mdat`, made here,
followed by the payloads of the tracks' own `mdat` boxes, sound and picture in turns (ISO/IEC 14496-12).

Invariants: head and extents together are exactly the file that the head describes; composition offsets and the edit
list are shifted together so that offsets are never negative (old players read them unsigned) and no frame moves;
chunk offsets are 64-bit (`co64`), so a recording's length changes the head in nothing but its tables.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby, pairwise

from .boxes import box, full_box
from .movie import Kind
from .track import Chunk, SampleTable, TrackIndex

_MOVIE_TIMESCALE = 240_000  # a multiple of every sound and picture clock in use, so edits are exact
_UNITY_MATRIX = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
_LARGE_MDAT_HEADER_BYTES = 16
_LANGUAGE_UNDETERMINED = 0x55C4  # "und", ISO 639-2/T packed
_HANDLERS: dict[Kind, bytes] = {"video": b"vide", "audio": b"soun"}


@dataclass(frozen=True, slots=True)
class Extent:
    """A run of bytes of one track object."""

    track: Kind
    offset_bytes: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Progressive:
    """The file: `head`, then the bytes of `extents` in order."""

    head: bytes = field(repr=False)
    extents: tuple[Extent, ...]

    @property
    def size_bytes(self) -> int:
        """Length of the whole file."""
        return len(self.head) + sum(extent.size_bytes for extent in self.extents)


@dataclass(frozen=True, slots=True)
class _Placed:
    """A chunk of one track and the instant at which it starts to be needed."""

    start_s: float
    track: int
    chunk: Chunk


def progressive(video: TrackIndex | None, audio: TrackIndex | None) -> Progressive:
    """Lay out the progressive file of one rendition and the sound. Raises ValueError for indexes without samples."""
    tables = [_table(index) for index in (video, audio) if index is not None]
    if not tables:
        raise ValueError("a progressive file needs at least one track")
    order = sorted(_placed(tables), key=lambda placed: (placed.start_s, placed.track))
    extents = tuple(
        Extent(tables[each.track].header.kind, each.chunk.offset_bytes, each.chunk.size_bytes)
        for each in order
    )
    head_size = len(_head(tables, order, first_offset=0))
    return Progressive(_head(tables, order, first_offset=head_size), extents)


def _table(index: TrackIndex) -> SampleTable:
    if index.samples is None:
        raise ValueError("the sample table is needed: take the index from TrackIndexer")
    return index.samples


def _placed(tables: Sequence[SampleTable]) -> Iterable[_Placed]:
    for number, table in enumerate(tables):
        at_sample, time = 0, -table.header.media_start
        for chunk in table.chunks:
            yield _Placed(time / table.header.timescale, number, chunk)
            time += sum(table.durations[at_sample : at_sample + chunk.samples])
            at_sample += chunk.samples


def _head(tables: Sequence[SampleTable], order: Sequence[_Placed], *, first_offset: int) -> bytes:
    """Write `ftyp moov` and the start of `mdat`. Its length does not depend on `first_offset`."""
    offsets: list[list[int]] = [[] for _ in tables]
    at = first_offset
    for placed in order:
        offsets[placed.track].append(at)
        at += placed.chunk.size_bytes
    traks = [_trak(number + 1, table, offsets[number]) for number, table in enumerate(tables)]
    moov = box(b"moov", _mvhd(tables), *traks)
    ftyp = box(b"ftyp", b"isom", struct.pack(">I", 0x200), b"isomiso2avc1mp41")
    mdat = struct.pack(">I4sQ", 1, b"mdat", _LARGE_MDAT_HEADER_BYTES + at - first_offset)
    return ftyp + moov + mdat


def _mvhd(tables: Sequence[SampleTable]) -> bytes:
    duration = max(_shown(table) for table in tables)
    times = struct.pack(">QQIQ", 0, 0, _MOVIE_TIMESCALE, duration)
    rest = struct.pack(">IH10x", 0x10000, 0x100) + _UNITY_MATRIX + bytes(24)
    return full_box(b"mvhd", times, rest, struct.pack(">I", len(tables) + 1), version=1)


def _trak(track_id: int, table: SampleTable, offsets: Sequence[int]) -> bytes:
    header = table.header
    is_sound = header.kind == "audio"
    tkhd = full_box(
        b"tkhd",
        struct.pack(">QQI4xQ8x", 0, 0, track_id, _shown(table)),
        struct.pack(">HHH2x", 0, 1 if is_sound else 0, 0x100 if is_sound else 0),
        _UNITY_MATRIX,
        struct.pack(">II", header.format.width << 16, header.format.height << 16),
        version=1,
        flags=3,  # enabled, in the movie
    )
    mdhd = struct.pack(">QQIQHH", 0, 0, header.timescale, sum(table.durations), _LANGUAGE_UNDETERMINED, 0)
    hdlr = struct.pack(">4x4s12x", _HANDLERS[header.kind]) + b"\0"
    about = full_box(b"smhd", bytes(4)) if is_sound else full_box(b"vmhd", bytes(8), flags=1)
    here = full_box(b"dref", struct.pack(">I", 1), full_box(b"url ", flags=1))
    minf = box(b"minf", about, box(b"dinf", here), _stbl(table, offsets))
    mdia = box(b"mdia", full_box(b"mdhd", mdhd, version=1), full_box(b"hdlr", hdlr), minf)
    return box(b"trak", tkhd, box(b"edts", _elst(table)), mdia)


def _elst(table: SampleTable) -> bytes:
    """Write an empty edit where the track starts late, then one edit from the first shown instant."""
    delay = round(table.header.delay_s * _MOVIE_TIMESCALE)
    edits = [(delay, -1)] if delay else []
    edits.append((_shown(table) - delay, table.header.media_start + _shift(table)))
    rows = [struct.pack(">Qqi", length, start, 0x10000) for length, start in edits]
    return full_box(b"elst", struct.pack(">I", len(rows)), *rows, version=1)


def _shown(table: SampleTable) -> int:
    """How long the track is on the movie's clock, from the movie's start."""
    header = table.header
    media = sum(table.durations) - header.media_start
    return round(header.delay_s * _MOVIE_TIMESCALE) + media * _MOVIE_TIMESCALE // header.timescale


def _shift(table: SampleTable) -> int:
    return max(0, -min(table.composition))


def _stbl(table: SampleTable, offsets: Sequence[int]) -> bytes:
    boxes = [
        full_box(b"stsd", struct.pack(">I", 1), table.header.sample_entry),
        full_box(b"stts", _runs(table.durations)),
        full_box(b"stsz", struct.pack(">II", 0, len(table.sizes)), _words(table.sizes)),
        full_box(b"stsc", _chunk_map(table.chunks)),
        full_box(b"co64", struct.pack(f">I{len(offsets)}Q", len(offsets), *offsets)),
    ]
    if any(table.composition):
        shift = _shift(table)
        boxes.append(full_box(b"ctts", _runs(offset + shift for offset in table.composition)))
    if table.header.kind == "video":
        keys = [number + 1 for number in table.key_frames]
        boxes.append(full_box(b"stss", struct.pack(">I", len(keys)), _words(keys)))
    return box(b"stbl", *boxes)


def _words(values: Sequence[int]) -> bytes:
    return struct.pack(f">{len(values)}I", *values)


def _runs(values: Iterable[int]) -> bytes:
    """Run-length code as `stts` and `ctts` have it: a count, then (how many, value) pairs."""
    pairs = [(sum(1 for _ in run), value) for value, run in groupby(values)]
    return struct.pack(">I", len(pairs)) + _words([number for pair in pairs for number in pair])


def _chunk_map(chunks: Sequence[Chunk]) -> bytes:
    """Write `stsc`: one row for each chunk whose number of samples differs from the one before."""
    counts = [0, *(chunk.samples for chunk in chunks)]
    changes = [(at, now) for at, (before, now) in enumerate(pairwise(counts), start=1) if now != before]
    return struct.pack(">I", len(changes)) + _words(
        [word for at, count in changes for word in (at, count, 1)]
    )
