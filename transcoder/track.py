"""What is known of one track: its segments for HLS, its bit rates, its samples for a progressive file.

Invariants: plain values, no I/O; `to_json` and `from_json` are inverse but for the sample table, which is large and
needed only while a recording is being made.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from .errors import TrackDamaged
from .movie import Kind, TrackHeader

_PEAK_WINDOW_SEGMENTS = 8


@dataclass(frozen=True, slots=True)
class Segment:
    """One HLS segment: where its bytes are in the track, when it starts, how long it is."""

    offset_bytes: int
    size_bytes: int
    start_s: float
    duration_s: float


@dataclass(frozen=True, slots=True)
class Chunk:
    """The media bytes of one `mdat`, and how many samples they are."""

    offset_bytes: int
    size_bytes: int
    samples: int


@dataclass(frozen=True, slots=True)
class SampleTable:
    """Every sample of a track in machine integers (a dozen bytes each), for a progressive MP4.

    `durations`, `sizes` and `composition` have one entry per sample; `key_frames` holds zero-based numbers and is
    empty for sound, where every sample is one.
    """

    header: TrackHeader
    durations: array[int]
    sizes: array[int]
    composition: array[int]
    key_frames: array[int]
    chunks: tuple[Chunk, ...]


@dataclass(frozen=True, slots=True)
class TrackIndex:
    """What there is to know of a track. Bit rates are per RFC 8216 section 4.3.4.2, in bits a second.

    `width`, `height` and `frame_rate` are 0 for sound, `channels` and `sample_rate_hz` for pictures. `samples` is
    None on an index that came from JSON.
    """

    kind: Kind
    codec: str
    width: int
    height: int
    frame_rate: float
    channels: int
    sample_rate_hz: int
    timescale: int
    init_size_bytes: int
    size_bytes: int
    duration_s: float
    peak_bitrate: int
    average_bitrate: int
    segments: tuple[Segment, ...]
    samples: SampleTable | None = field(default=None, repr=False, compare=False)

    @property
    def target_duration_s(self) -> int:
        """EXT-X-TARGETDURATION: the longest segment, rounded (RFC 8216 section 4.3.3.1)."""
        return max(1, *(round(segment.duration_s) for segment in self.segments))

    def to_json(self) -> dict[str, Any]:
        """Plain types for a manifest: everything but the sample table; a segment is a list of four numbers."""
        plain = {name: getattr(self, name) for name in _JSON_FIELDS}
        rows = [[each.offset_bytes, each.size_bytes, each.start_s, each.duration_s] for each in self.segments]
        return plain | {"segments": rows}

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Self:
        """Read what `to_json` wrote. Raises TrackDamaged for anything else."""
        try:
            rows = document["segments"]
            segments = tuple(
                Segment(int(at), int(size), float(start), float(long)) for at, size, start, long in rows
            )
            plain = {name: kind(document[name]) for name, kind in _JSON_FIELDS.items()}
        except (KeyError, TypeError, ValueError):
            raise TrackDamaged from None
        if not segments or plain["kind"] not in ("video", "audio"):
            raise TrackDamaged
        return cls(**plain, segments=segments)


_JSON_FIELDS: dict[str, type] = {
    "kind": str,
    "codec": str,
    "width": int,
    "height": int,
    "frame_rate": float,
    "channels": int,
    "sample_rate_hz": int,
    "timescale": int,
    "init_size_bytes": int,
    "size_bytes": int,
    "duration_s": float,
    "peak_bitrate": int,
    "average_bitrate": int,
}


def average_bitrate(segments: Sequence[Segment]) -> int:
    """AVERAGE-BANDWIDTH: all segments' bits over all their time, rounded up. 0 when they take no time."""
    return _rate(sum(each.size_bytes for each in segments), sum(each.duration_s for each in segments))


def peak_bitrate(segments: Sequence[Segment], *, target_s: float) -> int:
    """BANDWIDTH: the largest rate of contiguous segments that last 0.5 to 1.5 target durations together.

    A window of more than eight segments is not looked at: ours are about one target duration long each. Where no
    window qualifies (a recording shorter than half a segment), the average stands in.
    """
    peak = 0
    for start in range(len(segments)):
        size, seconds = 0, 0.0
        for segment in segments[start : start + _PEAK_WINDOW_SEGMENTS]:
            size, seconds = size + segment.size_bytes, seconds + segment.duration_s
            if seconds > 1.5 * target_s:
                break
            if seconds >= 0.5 * target_s:
                peak = max(peak, _rate(size, seconds))
    return max(peak, average_bitrate(segments))


def _rate(size_bytes: int, seconds: float) -> int:
    return -int(-size_bytes * 8 // seconds) if seconds > 0 else 0
