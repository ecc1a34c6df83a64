"""Whatever is uploaded ends published and playable, or failed with a reason; and the worker lives."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.journeys.playing import Decoded, play_file
from tests.media import (
    CATALOGUE,
    HOSTILE,
    WATERMARKS,
    CanaryServer,
    Fate,
    Media,
    Recording,
    demuxed_s,
    ffmpeg,
    ffprobe,
    hostile_file,
    read_pattern,
    synthetic,
)
from tests.world import App, World

pytestmark = pytest.mark.asyncio(loop_scope="module")

_RECORDINGS = list(CATALOGUE.values())
_FAILING = [recording for recording in _RECORDINGS if recording.fate is Fate.FAILED]
_REASONS = {
    "truncated.mp4": "source-truncated",
    "empty.webm": "source-empty",
    "notes.txt": "source-not-media",
    "huge-frame.mp4": "source-too-large",
    "many-streams.mkv": "source-too-large",
}
# A rendition may differ from its source by this much, as MEDIA.md's verdict has it.
_SLACK_S = 1.0
# What a container says of itself; `encoder` is the name of the muxer.
_OUR_TAGS = {"major_brand", "minor_version", "compatible_brands", "encoder"}


def _name(recording: Recording) -> str:
    return recording.name


def _check_reason(status: dict[str, Any]) -> None:
    assert status["failure"], status
    assert status["failure_detail"].endswith("."), status
    assert len(status["failure_detail"].split()) > 5, status
    assert status["source_size_bytes"] is not None


async def _tracks(ann: App, recording: str) -> tuple[str, ...]:
    listed = await ann.json(f"/v1/recordings/{recording}")
    return tuple(name for name in listed["files"] if name.endswith(".mp4"))


async def _check_plays(
    world: World, ann: App, recording: str, *, expected: Recording, length_s: float
) -> None:
    tracks = await _tracks(ann, recording)
    assert ("audio.mp4" in tracks) is (expected.audio is not None)
    assert any(name != "audio.mp4" for name in tracks) is (expected.video is not None)
    for track in tracks:
        decoded = await play_file(world, ann, recording, track.replace(".mp4", ".m3u8"))
        _check_whole(decoded, length_s=length_s)
    _check_whole(await play_file(world, ann, recording, "replay.mp4"), length_s=length_s)


def _check_whole(decoded: Decoded, *, length_s: float) -> None:
    assert (decoded.return_code, decoded.complaints) == (0, "")
    assert decoded.streams
    for stream in decoded.streams.values():
        assert stream.end_s == pytest.approx(length_s, abs=_SLACK_S)


def _length_s(path: Path, recording: Recording) -> float:
    tracks = [name for name, codec in (("v:0", recording.video), ("a:0", recording.audio)) if codec]
    return max(demuxed_s(path, stream=track) for track in tracks)


@pytest.mark.parametrize("recording", _RECORDINGS, ids=_name)
async def test_each_recording_ends_as_catalogued(
    each_world: World, media: Media, recording: Recording
) -> None:
    clinic = await each_world.backend()
    patient = f"patient-{recording.name}"
    uploaded = await clinic.send_in(patient, media.path(recording.name))
    status = await clinic.final(uploaded)
    fates = {Fate.PUBLISHED: {"published"}, Fate.FAILED: {"failed"}, Fate.EITHER: {"published", "failed"}}
    assert status["state"] in fates[recording.fate], status
    ann = await clinic.sign_in(patient)
    if status["state"] == "published":
        length_s = await asyncio.to_thread(_length_s, media.path(recording.name), recording)
        await _check_plays(each_world, ann, uploaded, expected=recording, length_s=length_s)
    else:
        _check_reason(status)
        assert status["failure"] == _REASONS[recording.name]
        assert (await ann.json("/v1/recordings"))["recordings"] == []
        assert (await ann.get(f"/v1/recordings/{uploaded}/master.m3u8")).status == 404


async def test_no_hostile_upload_reaches_out_or_ends_the_worker(each_world: World, media: Media) -> None:
    clinic = await each_world.backend()
    with CanaryServer() as canary:
        bodies = {name: hostile_file(name, canary=canary.url) for name in HOSTILE}
        bodies |= {bad.name: media.path(bad.name).read_bytes() for bad in _FAILING}
        sent = {name: await clinic.send_in("mallory", body) for name, body in bodies.items()}
        ended = {name: await clinic.final(recording) for name, recording in sent.items()}
        for status in ended.values():
            _check_reason(status)
        assert {name for name, status in ended.items() if status["state"] != "failed"} == set()
        good = await clinic.upload("patient-a", media.path("vp9.webm"))
        ann = await clinic.sign_in("patient-a")
        _check_whole(await play_file(each_world, ann, good, "360p.m3u8"), length_s=8)
        assert canary.hits == []


async def test_no_sound_is_lost_when_the_picture_changes_its_size(
    each_world: World, media: Media, tmp_path: Path
) -> None:
    clinic = await each_world.backend()
    source = media.path("resolution-change.webm")
    uploaded = await clinic.upload("patient-r", source)
    ann = await clinic.sign_in("patient-r")
    sound = (await play_file(each_world, ann, uploaded, "audio.m3u8")).only
    # AAC frames hold 1024 samples; the encoder may add one before and one after.
    assert len(sound.frames) == pytest.approx(demuxed_s(source, stream="a:0") * 48_000 / 1024, abs=3)
    played = tmp_path / "audio.mp4"
    played.write_bytes(await _download(ann, uploaded, "audio.mp4"))
    before, after = _loudness(source), _loudness(played)
    heard = [index for index, level in enumerate(before) if level > 300]
    assert len(heard) > 10
    assert [index for index in heard if after[index] < 100] == []


async def test_what_a_source_tells_of_itself_gets_no_further(
    each_world: World, media: Media, tmp_path: Path
) -> None:
    clinic = await each_world.backend()
    uploaded = await clinic.upload("patient-m", media.path("consultation.mp4"))
    ann = await clinic.sign_in("patient-m")
    told = [synthetic.TITLE, synthetic.PLACE, synthetic.MAKER, "told in confidence"]
    assert all(text.encode() in media.path("consultation.mp4").read_bytes() for text in told)
    listed = await ann.json(f"/v1/recordings/{uploaded}")
    assert {"poster.jpg", "thumbs-001.jpg", "360p.mp4", "audio.mp4"} <= set(listed["files"])
    for name in (*listed["files"], "master.m3u8", "replay.mp4", "thumbs.vtt"):
        body = await _download(ann, uploaded, name)
        assert [text for text in told if text.encode() in body] == [], name
        if name.endswith(".mp4"):
            assert _tags(body, tmp_path / name) <= _OUR_TAGS, name


@pytest.mark.parametrize("name", WATERMARKS)
async def test_the_picture_that_plays_is_the_one_that_was_uploaded(
    each_world: World, media: Media, tmp_path: Path, name: str
) -> None:
    clinic = await each_world.backend()
    uploaded = await clinic.upload(f"patient-{name}", media.path(name))
    ann = await clinic.sign_in(f"patient-{name}")
    for track in ("360p.mp4", "replay.mp4"):
        played = tmp_path / track
        played.write_bytes(await _download(ann, uploaded, track))
        assert {read_pattern(played, at_s=at_s) for at_s in (0, 7.5)} == {WATERMARKS[name].pattern}


async def _download(ann: App, recording: str, name: str) -> bytes:
    answer = await ann.get(f"/v1/recordings/{recording}/{name}")
    assert answer.status == 200, name
    return answer.body


def _tags(body: bytes, path: Path) -> set[str]:
    path.write_bytes(body)
    return set(ffprobe(path)["format"]["tags"])


def _loudness(path: Path) -> list[float]:
    """The mean absolute sample of each half second."""
    sound = ffmpeg("-i", path, "-map", "a:0", "-ac", "1", "-ar", "8000", "-f", "s16le", "-")
    samples = memoryview(sound).cast("h")
    starts = range(0, len(samples) - 4000, 4000)
    return [sum(map(abs, samples[start : start + 4000])) / 4000 for start in starts]
