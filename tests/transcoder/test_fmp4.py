"""The index of a track: right on what ffmpeg writes, TrackDamaged on everything else."""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transcoder.boxes import box
from transcoder.errors import TrackDamaged
from transcoder.fmp4 import TrackIndexer
from transcoder.track import Segment, TrackIndex, average_bitrate, peak_bitrate

from .runs import indexed
from .tracks import TrackWriter

SEGMENTS = ((0, [5, 6, 7]), (3, [8, 9]))


def written(kind: str = "video", *, sidx: bool = True, styp: bool = False) -> bytes:
    return TrackWriter(kind, sidx=sidx, styp=styp).track(*(sizes for _, sizes in SEGMENTS))


def test_a_track_is_indexed_to_its_last_byte() -> None:
    track = written()
    index = indexed(track)
    first, second = index.segments
    assert (index.kind, index.codec, index.width, index.height) == ("video", "avc1.4d401e", 320, 180)
    assert (first.start_s, first.duration_s, second.start_s, second.duration_s) == (0.0, 1.5, 1.5, 1.0)
    assert first.offset_bytes == index.init_size_bytes
    assert first.offset_bytes + first.size_bytes == second.offset_bytes
    assert second.offset_bytes + second.size_bytes == len(track) == index.size_bytes
    assert (index.duration_s, index.frame_rate) == (2.5, 2.0)
    assert track[first.offset_bytes + 4 : first.offset_bytes + 8] == b"sidx"


def test_sound_is_indexed_too() -> None:
    index = indexed(written("audio"))
    assert (index.kind, index.codec, index.channels, index.sample_rate_hz) == ("audio", "mp4a.40.2", 1, 48000)
    assert index.frame_rate == 0.0


def test_a_rest_of_milliseconds_belongs_to_the_segment_before() -> None:
    """Browsers buffer nothing of it, and a player that waits for it never ends."""
    writer = TrackWriter("audio")
    track = writer.track([5, 6, 7])
    writer._sample = 64
    track += writer.segment([8])
    index = indexed(track)
    assert [(each.offset_bytes, each.size_bytes, each.duration_s) for each in index.segments] == [
        (index.init_size_bytes, len(track) - index.init_size_bytes, index.duration_s)
    ]


@pytest.mark.parametrize("options", [{"sidx": False}, {"styp": True}, {"styp": True, "sidx": False}])
def test_segments_are_found_however_they_are_marked(options: dict[str, bool]) -> None:
    index = indexed(written(sidx=options.get("sidx", True), styp=options.get("styp", False)))
    assert [segment.duration_s for segment in index.segments] == [1.5, 1.0]


def test_fragments_of_one_segment_stay_together() -> None:
    writer = TrackWriter("video")
    parts = writer.fragment([5, 6]) + writer.fragment([7])
    track = writer.init() + writer.sidx(len(parts)) + parts
    index = indexed(track)
    assert [(each.offset_bytes, each.size_bytes) for each in index.segments] == [
        (index.init_size_bytes, len(track) - index.init_size_bytes)
    ]
    assert index.samples is not None
    assert [chunk.samples for chunk in index.samples.chunks] == [2, 1]


@settings(deadline=None)  # a shared machine may be slow at any moment
@given(cuts=st.lists(st.integers(0, 2000), max_size=30))
def test_any_split_gives_the_same_index(cuts: list[int]) -> None:
    track = written()
    edges = [0, *sorted(min(cut, len(track)) for cut in cuts), len(track)]
    indexer = TrackIndexer()
    for start, end in pairwise(edges):
        indexer.feed(track[start:end])
    assert indexer.finish() == indexed(track)


@given(position=st.integers(0, len(written()) - 1), bit=st.integers(0, 7))
def test_a_flipped_bit_is_damage_or_harmless(position: int, bit: int) -> None:
    track = bytearray(written())
    track[position] ^= 1 << bit
    try:
        index = indexed(bytes(track))
    except TrackDamaged:
        return
    assert index.size_bytes == len(track)


@given(st.binary(max_size=300), st.booleans())
def test_noise_is_damage(noise: bytes, behind_a_good_start: bool) -> None:  # noqa: FBT001  # drawn
    start = TrackWriter("video").init() if behind_a_good_start else b""
    with pytest.raises(TrackDamaged):
        indexed(start + noise)


@pytest.mark.parametrize("size", range(0, len(written()), 7))
def test_every_cut_is_damage_but_between_segments(size: int) -> None:
    whole = indexed(written())
    cut = written()[:size]
    if size in (segment.offset_bytes + segment.size_bytes for segment in whole.segments):
        indexed(cut)
    else:
        with pytest.raises(TrackDamaged):
            indexed(cut)


def _without(track: bytes, kind: bytes) -> bytes:
    at = track.index(kind) - 4
    size = struct.unpack_from(">I", track, at)[0]
    return track[:at] + track[at + size :]


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "no ftyp": lambda track: _without(track, b"ftyp"),
    "no moov": lambda track: _without(track, b"moov"),
    "no mdat": lambda track: _without(track, b"mdat"),
    "no moof": lambda track: _without(track, b"moof"),
    "second init": lambda track: track + TrackWriter("video").init(),
    "a foreign box": lambda track: track + box(b"uuid", bytes(16)),
    "a sidx without its segment": lambda track: track + TrackWriter("video").sidx(10),
    "a 64-bit size": lambda track: track + struct.pack(">I4sQ", 1, b"mdat", 16),
    "a box to the end": lambda track: track + struct.pack(">I4s", 0, b"mdat"),
    "a header too large": lambda track: struct.pack(">I4s", 1 << 30, b"ftyp") + track[8:],
    "samples that do not fill their mdat": lambda track: track.replace(
        b"mdat" + bytes(18), b"mdat" + bytes(17)
    ),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage(kind: str) -> None:
    with pytest.raises(TrackDamaged):
        indexed(DAMAGE[kind](written()))


@pytest.mark.parametrize(
    "broken",
    [
        {"sequence": 1},
        {"track_id": 2},
        {"decode_time": 0},
        {"decode_time": 1 << 63},
        {"first_is_key": False},
        {"data_offset": 0},
        {"tfhd_flags": 0x000000},
        {"tfhd_flags": 0x020001},
        {"tfhd_flags": 0x030000},
        {"trun_flags": 0x001},
        {"count": 1 << 31},
    ],
)
def test_a_second_fragment_that_does_not_fit(broken: dict[str, int]) -> None:
    writer = TrackWriter("video")
    start = writer.init() + writer.segment([5, 6])
    with pytest.raises(TrackDamaged):
        indexed(start + writer.segment([7, 8], **broken))


@pytest.mark.parametrize("wrong_by", [-1, 1])
def test_an_mdat_must_hold_its_samples_exactly(wrong_by: int) -> None:
    writer = TrackWriter("video", sidx=False)
    fragment = writer.fragment([5, 6], media=False)[:-8]
    size = 11 + wrong_by
    with pytest.raises(TrackDamaged):
        indexed(writer.init() + fragment + box(b"mdat", bytes(size)))


@pytest.mark.parametrize("wrong_by", [-1, 1])
@pytest.mark.parametrize("behind", [b"", b"next"])
def test_a_sidx_must_keep_its_promise(wrong_by: int, behind: bytes) -> None:
    writer = TrackWriter("video")
    start, fragment = writer.init(), writer.fragment([5, 6])
    track = start + writer.sidx(len(fragment) + wrong_by) + fragment
    with pytest.raises(TrackDamaged):
        indexed(track + (writer.segment([7]) if behind else b""))


def test_a_gap_lengthens_the_sample_before_it() -> None:
    """Only the next fragment tells how long the last sample of a fragment lasts."""
    writer = TrackWriter("video")
    track = writer.init() + writer.segment([5, 6]) + writer.segment([7], decode_time=15360 * 2)
    index = indexed(track)
    assert [segment.duration_s for segment in index.segments] == [2.0, 0.5]
    assert index.samples is not None
    assert list(index.samples.durations) == [7680, 7680 * 3, 7680]


def test_an_edit_list_moves_the_end() -> None:
    assert indexed(TrackWriter("video", media_start=7680).track([5, 6])).duration_s == 0.5
    assert indexed(TrackWriter("video", delay=500).track([5, 6])).duration_s == 1.5


def test_after_damage_only_damage() -> None:
    indexer = TrackIndexer()
    with pytest.raises(TrackDamaged):
        indexer.feed(bytes(8))
    with pytest.raises(TrackDamaged):
        indexer.feed(written())
    with pytest.raises(TrackDamaged):
        indexer.finish()


def test_work_is_linear_and_media_is_not_held() -> None:
    """A header byte by byte, then 16 MiB of media: none of it is kept, and none is looked at twice."""
    writer = TrackWriter("video")
    size = 1 << 24
    head = writer.init() + writer.fragment([size], media=False)
    indexer = TrackIndexer()
    for byte in head:
        indexer.feed(bytes([byte]))
    piece, started = bytes(1 << 12), time.monotonic()
    for _ in range(size >> 12):
        indexer.feed(piece)
        assert len(indexer._pending) == 0
    assert indexer.finish().size_bytes == len(head) + size
    assert time.monotonic() - started < 5.0


@pytest.mark.parametrize("kind", ["video", "audio"])
def test_json_and_back(kind: str) -> None:
    index = indexed(written(kind))
    back = TrackIndex.from_json(json.loads(json.dumps(index.to_json())))
    assert back == index
    assert back.samples is None


@given(
    st.dictionaries(
        st.sampled_from(list(indexed(written()).to_json())),
        st.none() | st.text() | st.lists(st.integers()),
        min_size=1,
    )
)
def test_foreign_json_is_damage(changes: dict[str, object]) -> None:
    document = indexed(written()).to_json() | changes
    try:
        TrackIndex.from_json(document)
    except TrackDamaged:
        return
    assert "segments" not in changes
    assert "kind" not in changes or changes["kind"] in ("video", "audio")


@pytest.mark.parametrize(
    ("segments", "peak", "average"),
    [
        ([(500, 4.0), (1000, 4.0), (500, 4.0)], 2000, 1334),
        ([(1000, 4.0), (100, 0.1)], 2147, 2147),  # a tail too short to be a window of its own
        ([(100, 0.5)], 1600, 1600),
        ([(400, 1.0), (400, 1.0), (100, 1.0), (100, 1.0)], 3200, 2000),
    ],
)
def test_bandwidth_by_rfc_8216(segments: list[tuple[int, float]], peak: int, average: int) -> None:
    rows, at = [], 0.0
    for size, seconds in segments:
        rows.append(Segment(0, size, at, seconds))
        at += seconds
    assert average_bitrate(rows) == average
    assert peak_bitrate(rows, target_s=4.0) == peak
