"""The progressive file decodes to the very frames of the tracks it is laid over, and starts with its index."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from transcoder.binaries import Tools
from transcoder.progressive import Progressive, progressive
from transcoder.track import TrackIndex

from .gateway import Gateway
from .runs import Rendered, indexed, transcode
from .sources import Studio
from .tracks import TrackWriter

_MADE: dict[str, Rendered] = {}


@pytest.fixture
async def made(tools: Tools, studio: Studio) -> Rendered:
    if tools.version not in _MADE:
        async with Gateway.serving(await asyncio.to_thread(studio.get, "moov_first")) as gateway:
            _MADE[tools.version] = await transcode(gateway, tools)
    return _MADE[tools.version]


def laid_out(file: Progressive, made: Rendered) -> bytes:
    tracks = {"video": made.outputs["360p.mp4"], "audio": made.outputs["audio.mp4"]}
    parts = [
        tracks[each.track][each.offset_bytes : each.offset_bytes + each.size_bytes] for each in file.extents
    ]
    return file.head + b"".join(parts)


def frames(listing: str) -> list[tuple[float, str]]:
    """(presentation time in seconds, MD5) of every frame of a framemd5 listing."""
    rows = [line.replace(" ", "").split(",") for line in listing.splitlines() if line and line[0] != "#"]
    base = next(line for line in listing.splitlines() if line.startswith("#tb 0:")).split(": ")[1].split("/")
    return [(int(row[2]) * int(base[0]) / int(base[1]), row[-1]) for row in rows]


async def test_every_frame_is_the_same_at_the_same_time(
    made: Rendered, ffmpeg: Callable[..., str], tmp_path: Path
) -> None:
    file = progressive(made.tracks["360p.mp4"], made.tracks["audio.mp4"])
    replay = laid_out(file, made)
    assert len(replay) == file.size_bytes
    (tmp_path / "replay.mp4").write_bytes(replay)
    for name, body in made.outputs.items():
        if name.endswith(".mp4"):
            (tmp_path / name).write_bytes(body)
    ours = frames(ffmpeg("-i", "replay.mp4", "-map", "0:v", "-f", "framemd5", "-"))
    theirs = frames(ffmpeg("-i", "360p.mp4", "-map", "0:v", "-f", "framemd5", "-"))
    assert ours == theirs
    assert len(ours) == 180
    packets = [
        md5
        for _, md5 in frames(ffmpeg("-i", "replay.mp4", "-map", "0:a", "-c", "copy", "-f", "framemd5", "-"))
    ]
    original = [
        md5
        for _, md5 in frames(ffmpeg("-i", "audio.mp4", "-map", "0:a", "-c", "copy", "-f", "framemd5", "-"))
    ]
    assert packets[-200:] == original[-200:]
    assert len(original) - len(packets) <= 1  # the encoder's priming, which the edit list cuts


async def test_sound_and_picture_start_together(made: Rendered, tools: Tools, tmp_path: Path) -> None:
    """To the millisecond, priming cut; and with the length of the longer of the two."""
    file = progressive(made.tracks["360p.mp4"], made.tracks["audio.mp4"])
    path = tmp_path / "replay.mp4"
    path.write_bytes(laid_out(file, made))
    asked = [
        "-v",
        "error",
        "-of",
        "json",
        "-show_entries",
        "stream=start_time,duration,nb_frames:format=duration",
    ]
    argv = [str(tools.ffprobe), *asked, str(path)]
    said = json.loads(await asyncio.to_thread(subprocess.check_output, argv, timeout=30))
    assert [float(stream["start_time"]) for stream in said["streams"]] == [0.0, 0.0]
    for stream, name in zip(said["streams"], ("360p.mp4", "audio.mp4"), strict=True):
        assert float(stream["duration"]) == pytest.approx(made.tracks[name].duration_s, abs=0.002)


async def test_the_index_is_in_front_and_sound_is_never_far(made: Rendered) -> None:
    file = progressive(made.tracks["360p.mp4"], made.tracks["audio.mp4"])
    assert [file.head[at : at + 4] for at in (4, 32 + 4)] == [b"ftyp", b"moov"]
    assert [extent.track for extent in file.extents[:4]] == ["audio", "video", "audio", "video"]


@pytest.mark.parametrize("kind", ["video", "audio"])
async def test_one_track_is_enough(
    kind: str, made: Rendered, ffmpeg: Callable[..., str], tmp_path: Path
) -> None:
    video = made.tracks["360p.mp4"] if kind == "video" else None
    audio = made.tracks["audio.mp4"] if kind == "audio" else None
    (tmp_path / "one.mp4").write_bytes(laid_out(progressive(video, audio), made))
    ffmpeg("-i", "one.mp4", "-f", "null", "-")


def test_negative_offsets_and_late_starts_are_written_for_old_players() -> None:
    """The edit list carries a late start; it begins where the shift of the offsets puts the first frame."""
    index = indexed(TrackWriter("video", delay=500, media_start=0).track([5, 6], [7]))
    head = progressive(index, None).head
    at = head.index(b"elst") + 4
    assert int.from_bytes(head[at + 4 : at + 8], "big") == 2
    assert int.from_bytes(head[at + 8 : at + 16], "big") == 120_000  # half a second at 240 000 Hz


def test_an_index_from_json_has_no_samples_to_lay_out() -> None:
    index = TrackIndex.from_json(indexed(TrackWriter("video").track([5])).to_json())
    with pytest.raises(ValueError, match="sample table"):
        progressive(index, None)
    with pytest.raises(ValueError, match="at least one"):
        progressive(None, None)


def test_an_hour_of_two_tracks_has_a_small_head() -> None:
    video = TrackWriter("video").track(*[[3] * 8 for _ in range(900)])
    audio = TrackWriter("audio").track(*[[2] * 8 for _ in range(900)])
    file = progressive(indexed(video), indexed(audio))
    assert len(file.head) < 100_000
    assert len(file.extents) == 1800
