"""Each recording is what the catalogue says, by ffprobe's word; each mark can be found."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.media import (
    CATALOGUE,
    WATERMARKS,
    Fate,
    Media,
    Recording,
    demuxed_s,
    ffmpeg,
    ffprobe,
    read_pattern,
    synthetic,
    tools,
)
from vault.demo import scene

_ROOT = Path(__file__).parents[2]
# Without it ffmpeg takes any text for a film of a text terminal (its demuxer `tty`).
_RECORDING_FORMATS = ("-format_whitelist", "matroska,mov,ogg,wav,mp3,flac,aac")
_READABLE = [recording for recording in CATALOGUE.values() if recording.length_s is not None]
_UNREADABLE = [recording for recording in CATALOGUE.values() if recording.length_s is None]


def _name(recording: Recording) -> str:
    return recording.name


def _stream(facts: Any, kind: str) -> Any:
    return next((stream for stream in facts["streams"] if stream["codec_type"] == kind), None)


@pytest.mark.parametrize("recording", _READABLE, ids=_name)
def test_tracks_length_and_size_are_as_catalogued(media: Media, recording: Recording) -> None:
    path = media.path(recording.name)
    facts = ffprobe(path)
    video, audio = _stream(facts, "video"), _stream(facts, "audio")
    assert (video and video["codec_name"], audio and audio["codec_name"]) == (
        recording.video,
        recording.audio,
    )
    assert ("duration" in facts["format"]) is recording.states_duration
    track = "v:0" if recording.video else "a:0"
    assert recording.length_s is not None
    assert demuxed_s(path, stream=track) == pytest.approx(recording.length_s, abs=1.5)
    if recording.shown and recording.name != "portrait.mp4":
        assert (video["width"], video["height"]) == recording.shown


@pytest.mark.parametrize("recording", _UNREADABLE, ids=_name)
def test_what_is_broken_can_not_be_read(media: Media, recording: Recording) -> None:
    assert recording.fate is Fate.FAILED
    with pytest.raises(RuntimeError, match="failed"):
        ffprobe(media.path(recording.name), *_RECORDING_FORMATS, "-show_format")


@pytest.mark.parametrize("recording", [r for r in _READABLE if r.fate is Fate.PUBLISHED], ids=_name)
def test_what_is_to_be_published_decodes_without_a_complaint(media: Media, recording: Recording) -> None:
    assert ffmpeg("-xerror", "-i", media.path(recording.name), "-f", "null", "-") == b""


def test_the_portrait_is_shown_upright(media: Media) -> None:
    picture = ffmpeg("-i", media.path("portrait.mp4"), "-frames:v", "1", "-f", "yuv4mpegpipe", "-")
    assert picture.startswith(b"YUV4MPEG2 W360 H640 ")
    feet = ("-frames:v", "1", "-vf", "crop=40:20:160:600,scale=1:1,format=rgb24", "-f", "rawvideo", "-")
    assert tuple(ffmpeg("-i", media.path("portrait.mp4"), *feet)) == pytest.approx(scene.COAT, abs=20)
    stream = _stream(ffprobe(media.path("portrait.mp4")), "video")
    assert abs(stream["side_data_list"][0]["rotation"]) == 90


def test_the_index_is_at_the_front_or_at_the_end(media: Media) -> None:
    front, end = (media.path(name).read_bytes() for name in ("consultation.mp4", "moov-at-end.mp4"))
    assert front.index(b"moov") < front.index(b"mdat")
    assert end.index(b"mdat") < end.index(b"moov")


def test_the_browser_writes_fragments(media: Media) -> None:
    body = media.path("fragmented.mp4").read_bytes()
    assert body.count(b"moof") > 1
    assert body.index(b"moov") < body.index(b"moof")


def test_the_picture_changes_its_size_and_the_sound_goes_on(media: Media) -> None:
    path = media.path("resolution-change.webm")
    frames = ffprobe(path, "-select_streams", "v:0", "-show_entries", "frame=width,height")["frames"]
    sizes = list(dict.fromkeys(f"{frame['width']}x{frame['height']}" for frame in frames))
    assert tuple(sizes) == synthetic.PART_SIZES
    packets = ffprobe(path, "-select_streams", "a:0", "-show_entries", "packet=pts_time")["packets"]
    times = [float(packet["pts_time"]) for packet in packets]
    assert max(after - before for before, after in itertools.pairwise(times)) < 0.05
    assert times[-1] > 11.9


def test_the_consultation_carries_metadata_that_must_not_get_out(media: Media) -> None:
    tags = ffprobe(media.path("consultation.mp4"))["format"]["tags"]
    assert tags["title"] == synthetic.TITLE
    assert synthetic.PLACE in tags.values()
    assert tags["make"] == synthetic.MAKER


def test_forty_streams(media: Media) -> None:
    assert len(ffprobe(media.path("many-streams.mkv"))["streams"]) == 40


def test_one_speaker_is_loud_and_one_is_quiet(media: Media) -> None:
    turns = json.loads(media.path("talk.json").read_text(encoding="utf-8"))
    level = {"clinician": 0.0, "patient": 0.0}
    for turn in turns:
        cut = ("-ss", str(turn["start_s"]), "-to", str(turn["end_s"]))
        samples = memoryview(ffmpeg(*cut, "-i", media.path("talk.wav"), "-f", "s16le", "-")).cast("h")
        level[turn["speaker"]] = max(level[turn["speaker"]], sum(map(abs, samples)) / len(samples))
    assert level["clinician"] > 3 * level["patient"] > 0


@pytest.mark.parametrize("name", WATERMARKS)
def test_every_piece_of_a_watermarked_recording_holds_its_mark(media: Media, name: str) -> None:
    body, (sound, title) = media.path(name).read_bytes(), WATERMARKS[name].needles
    assert title in body
    window = 64 * 1024
    assert [
        start for start in range(0, len(body) - window, window) if sound not in body[start : start + window]
    ] == []


def test_two_watermarks_share_nothing(media: Media) -> None:
    one, other = WATERMARKS.values()
    body = media.path("watermarked.mkv").read_bytes()
    assert one.pattern != other.pattern
    assert not [needle for needle in other.needles if needle in body]


@pytest.mark.parametrize("name", WATERMARKS)
def test_the_pattern_survives_being_scaled_and_coded(media: Media, name: str, tmp_path: Path) -> None:
    small = tmp_path / "small.mp4"
    ffmpeg("-i", media.path(name), "-t", "4", "-vf", "scale=320:180", "-crf", "32", "-an", small)
    read = {read_pattern(path, at_s=at_s) for path in (media.path(name), small) for at_s in (0, 2.5)}
    assert read == {WATERMARKS[name].pattern}


_MAKER = """
import sys
from pathlib import Path
from tests.media import Media
print(Media(Path(sys.argv[1])).path("talk.wav"))
"""


def test_workers_that_come_at_once_share_one_making(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _MAKER, str(tmp_path)]
    workers = [subprocess.Popen(command, cwd=_ROOT, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    answers = {worker.communicate(timeout=60)[0].strip() for worker in workers}
    assert len(answers) == 1
    assert Path(answers.pop()).stat().st_size > 1_000_000
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("unfinished")] == []


def test_the_tools_are_a_pair() -> None:
    assert tools().ffmpeg.parent == tools().ffprobe.parent
