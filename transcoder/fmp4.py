"""A strict index of one fragmented MP4 track, made while its bytes stream by on their way to be sealed.

The shape that ffmpeg's HLS muxer writes with `single_file`: `ftyp moov`, then per segment `sidx moof mdat`, on every
build; `styp` and more than one `moof mdat` a segment are understood too. A segment starts at a `styp` or `sidx`; in
a file that has neither, at each `moof`. A last one of less than half a second is part of the one before.

Invariants: media bytes are never held, only boxes that describe them, each within a limit; work is linear in what
is fed, however it is split; the index describes every byte of the track exactly once; decoding times join without a
gap; every video segment starts with a key frame; anything else raises TrackDamaged.
"""

from __future__ import annotations

import dataclasses
from array import array
from itertools import pairwise

from .boxes import HEADER_BYTES, parse_header
from .errors import TrackDamaged
from .fragments import Fragment, parse_moof, parse_sidx
from .movie import TrackHeader, parse_moov
from .track import Chunk, SampleTable, Segment, TrackIndex, average_bitrate, peak_bitrate

__all__ = ["Segment", "TrackIndex", "TrackIndexer"]

_LIMITS_BYTES = {b"ftyp": 4096, b"styp": 4096, b"moov": 1 << 20, b"sidx": 64 << 10, b"moof": 4 << 20}
_MAX_SAMPLES = 4_000_000  # 12 hours at 60 frames or 85 sound packets a second
_MAX_SEGMENTS = 100_000
# Sound often ends with a packet of a millisecond. Browsers put none of it into their buffer, and a player that waits
# for a segment of nothing else never reaches the end: so short a remainder belongs to the segment before it.
_SHORTEST_LAST_S = 0.5
_MAX_SAMPLE_DURATION = (1 << 32) - 1


class TrackIndexer:
    """Feed it a track from its first byte on, then call `finish`. After a TrackDamaged it only repeats it."""

    def __init__(self) -> None:
        self._pending = bytearray()
        self._wanted = HEADER_BYTES
        self._skip = 0
        self._at = 0  # offset of the first byte that is neither pending nor consumed
        self._damaged = False
        self._builder: _Builder | None = None
        self._previous = b""

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        """Take the next bytes. Raises TrackDamaged."""
        if self._damaged:
            raise TrackDamaged
        try:
            view = memoryview(data)
            while view:
                view = view[self._step(view) :]
        except TrackDamaged:
            self._damaged = True
            raise

    def finish(self) -> TrackIndex:
        """Conclude. Raises TrackDamaged for a track that stops inside a box, or holds no segment."""
        if self._damaged or self._pending or self._skip or self._builder is None or self._previous != b"mdat":
            self._damaged = True
            raise TrackDamaged
        return self._builder.index(self._at)

    def _step(self, view: memoryview) -> int:
        """Consume some of `view`: skip media, or complete the header or the box that is being collected."""
        if self._skip:
            taken = min(self._skip, len(view))
            self._skip -= taken
        else:
            taken = min(self._wanted - len(self._pending), len(view))
            self._pending += view[:taken]
        self._at += taken
        if not self._skip and len(self._pending) == self._wanted:
            self._completed()
        return taken

    def _completed(self) -> None:
        size, kind = parse_header(self._pending)
        if kind == b"mdat":
            self._open_media(size - HEADER_BYTES)
        elif size > _LIMITS_BYTES.get(kind, 0):
            raise TrackDamaged
        elif len(self._pending) < size:
            self._wanted = size
            return
        else:
            self._describe(kind, memoryview(bytes(self._pending))[HEADER_BYTES:], offset=self._at - size)
        self._pending.clear()
        self._wanted, self._previous = HEADER_BYTES, kind

    def _open_media(self, size_bytes: int) -> None:
        if self._builder is None or self._previous != b"moof":
            raise TrackDamaged
        self._builder.media(size_bytes, offset=self._at)
        self._skip = size_bytes

    def _describe(self, kind: bytes, payload: memoryview, *, offset: int) -> None:
        """Dispatch one describing box, in the one order there is."""
        if self._builder is None:
            if kind == b"moov" and self._previous == b"ftyp":
                self._builder = _Builder(parse_moov(payload), init_size_bytes=self._at)
            elif kind != b"ftyp" or self._previous:
                raise TrackDamaged
        elif self._previous == b"moof" or kind in (b"ftyp", b"moov"):
            raise TrackDamaged
        elif kind == b"moof":
            self._builder.fragment(parse_moof(payload, self._builder.header), offset=offset)
        else:
            self._builder.mark(offset=offset)
            if kind == b"sidx":
                size = parse_sidx(payload, timescale=self._builder.header.timescale)
                self._builder.promise(end_offset=self._at + size)


class _Builder:
    """The tables that grow while a track goes by."""

    def __init__(self, header: TrackHeader, *, init_size_bytes: int) -> None:
        self.header = header
        self._init_size_bytes = init_size_bytes
        self._table = SampleTable(header, array("I"), array("I"), array("i"), array("I"), ())
        self._chunks: list[Chunk] = []
        self._starts: list[tuple[int, int]] = []  # (offset, decoding time) of each segment
        self._end_time = 0
        self._sequence = -1
        self._awaited: tuple[int, int] | None = None  # (bytes, samples) of the mdat that must follow
        self._marked_at: int | None = None  # a styp or sidx that no fragment has followed yet
        self._marks = False  # the file has styp or sidx boxes at all
        self._promised_end: int | None = None  # where the segment ends, from its sidx

    def mark(self, *, offset: int) -> None:
        """Start a segment at a `styp` or `sidx`, unless the box before did."""
        if self._marked_at is None:
            self._keep_promise(offset)
            self._marked_at = offset
        self._marks = True

    def promise(self, *, end_offset: int) -> None:
        """Remember where a `sidx` says that its segment ends; one `sidx` a segment."""
        if self._promised_end is not None:
            raise TrackDamaged
        self._promised_end = end_offset

    def fragment(self, fragment: Fragment, *, offset: int) -> None:
        """Append the samples of one `moof`."""
        if fragment.sequence <= self._sequence or len(self._table.sizes) + len(fragment.sizes) > _MAX_SAMPLES:
            raise TrackDamaged
        self._sequence = fragment.sequence
        self._join(fragment.decode_time)
        if self._marked_at is not None or not self._marks:
            self._start_segment(fragment, offset=offset if self._marked_at is None else self._marked_at)
        self._append(fragment)
        self._awaited = sum(fragment.sizes), len(fragment.sizes)

    def media(self, size_bytes: int, *, offset: int) -> None:
        """Check the payload of an `mdat` against the samples of its `moof`."""
        if self._awaited is None or size_bytes == 0 or size_bytes != self._awaited[0]:
            raise TrackDamaged
        self._chunks.append(Chunk(offset, size_bytes, self._awaited[1]))
        self._awaited = None

    def index(self, size_bytes: int) -> TrackIndex:
        """Conclude a track of that many bytes."""
        self._keep_promise(size_bytes)
        header, segments = self.header, self._segments(size_bytes)
        seconds = (self._end_time - header.media_start) / header.timescale + header.delay_s
        target_s = max(1, *(round(each.duration_s) for each in segments))
        if seconds <= 0 or self._marked_at is not None:
            raise TrackDamaged
        return TrackIndex(
            kind=header.kind,
            codec=header.format.codec,
            width=header.format.width,
            height=header.format.height,
            frame_rate=self._frame_rate(),
            channels=header.format.channels,
            sample_rate_hz=header.format.sample_rate_hz,
            timescale=header.timescale,
            init_size_bytes=self._init_size_bytes,
            size_bytes=size_bytes,
            duration_s=seconds,
            peak_bitrate=peak_bitrate(segments, target_s=target_s),
            average_bitrate=average_bitrate(segments),
            segments=segments,
            samples=dataclasses.replace(self._table, chunks=tuple(self._chunks)),
        )

    def _keep_promise(self, offset: int) -> None:
        if self._promised_end not in (None, offset):
            raise TrackDamaged
        self._promised_end = None

    def _join(self, decode_time: int) -> None:
        """Let the last sample last until this fragment begins: only then can ffmpeg know how long it is."""
        gap = decode_time - self._end_time
        if not self._table.durations:
            if gap:
                raise TrackDamaged
            return
        joined = self._table.durations[-1] + gap
        if not 0 <= joined <= _MAX_SAMPLE_DURATION:
            raise TrackDamaged
        self._table.durations[-1] = joined
        self._end_time = decode_time

    def _start_segment(self, fragment: Fragment, *, offset: int) -> None:
        if self.header.kind == "video" and not fragment.is_sync[0]:
            raise TrackDamaged
        if len(self._starts) == _MAX_SEGMENTS:
            raise TrackDamaged
        self._starts.append((offset, fragment.decode_time))
        self._marked_at = None

    def _append(self, fragment: Fragment) -> None:
        table, first = self._table, len(self._table.sizes)
        table.durations.extend(fragment.durations)
        table.sizes.extend(fragment.sizes)
        table.composition.extend(fragment.composition)
        if self.header.kind == "video":
            table.key_frames.extend(first + at for at, is_sync in enumerate(fragment.is_sync) if is_sync)
        self._end_time += sum(fragment.durations)

    def _segments(self, size_bytes: int) -> tuple[Segment, ...]:
        scale = self.header.timescale
        starts = self._starts
        if len(starts) > 1 and self._end_time - starts[-1][1] < _SHORTEST_LAST_S * scale:
            starts = starts[:-1]
        edges = [*starts, (size_bytes, self._end_time)]
        return tuple(
            Segment(offset, next_offset - offset, start / scale, (next_start - start) / scale)
            for (offset, start), (next_offset, next_start) in pairwise(edges)
        )

    def _frame_rate(self) -> float:
        if self.header.kind != "video":
            return 0.0
        return round(len(self._table.sizes) * self.header.timescale / self._end_time, 3)
