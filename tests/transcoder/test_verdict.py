"""Each clause of the verdict, alone against evidence that is otherwise perfect."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from transcoder.errors import (
    OutputIncomplete,
    OutputOutOfStep,
    OutputTooShort,
    SourceDamaged,
    SourceUnreadable,
    TranscodeFailed,
    TranscoderError,
    VerdictRefused,
)
from transcoder.facts import AudioFacts, Facts, VideoFacts
from transcoder.movie import Kind
from transcoder.profiles import plan
from transcoder.track import Segment, TrackIndex
from transcoder.verdict import Evidence, Put, judge

SECONDS = 30.0
FACTS = Facts(
    "webm",
    SECONDS,
    VideoFacts(0, "vp8", 640, 360, 30.0, duration_s=SECONDS),
    AudioFacts(1, "opus", 1, 48000, duration_s=SECONDS),
)
PLAN = plan(FACTS)


def track(kind: Kind, *, seconds: float = SECONDS, size_bytes: int = 1000, width: int = 640) -> TrackIndex:
    is_video = kind == "video"
    return TrackIndex(
        kind=kind,
        codec="avc1.4d401e" if is_video else "mp4a.40.2",
        width=width if is_video else 0,
        height=360 if is_video else 0,
        frame_rate=30.0 if is_video else 0.0,
        channels=0 if is_video else 1,
        sample_rate_hz=0 if is_video else 48000,
        timescale=48000,
        init_size_bytes=100,
        size_bytes=size_bytes,
        duration_s=seconds,
        peak_bitrate=1,
        average_bitrate=1,
        segments=(Segment(100, size_bytes - 100, 0.0, seconds),),
    )


def evidence(**changes: Any) -> Evidence:
    names = ("360p.mp4", "audio.mp4", "360p.m3u8", "audio.m3u8")
    perfect = Evidence(
        return_code=0,
        used_xerror=True,
        source_errors=0,
        puts={name: Put(1000, finished=True) for name in names},
        tracks={"360p.mp4": track("video"), "audio.mp4": track("audio")},
        demuxed_duration_s=SECONDS,
    )
    return replace(perfect, **changes)


def with_track(**tracks: TrackIndex) -> dict[str, TrackIndex]:
    return {"360p.mp4": tracks.get("video", track("video")), "audio.mp4": tracks.get("audio", track("audio"))}


def without(name: str) -> dict[str, Put]:
    return {key: put for key, put in evidence().puts.items() if key != name}


def test_perfect_evidence_is_published() -> None:
    judge(PLAN, FACTS, evidence())


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"return_code": 1}, SourceDamaged),
        ({"return_code": -9}, SourceDamaged),
        ({"used_xerror": False}, VerdictRefused),
        ({"source_errors": 1}, SourceUnreadable),
        ({"source_errors": 1, "return_code": 1}, SourceUnreadable),
        ({"puts": without("360p.mp4")}, OutputIncomplete),
        ({"puts": without("audio.m3u8")}, OutputIncomplete),
        ({"puts": {**evidence().puts, "audio.mp4": Put(1000, finished=False)}}, OutputIncomplete),
        ({"puts": {**evidence().puts, "360p.m3u8": Put(0, finished=True)}}, OutputIncomplete),
        ({"puts": {**evidence().puts, "360p.m3u8": Put(1 << 30, finished=True)}}, OutputIncomplete),
        ({"puts": {**evidence().puts, "audio.mp4": Put(1001, finished=True)}}, OutputIncomplete),
        ({"tracks": {"360p.mp4": track("video")}}, OutputIncomplete),
        ({"tracks": with_track(video=track("audio"))}, VerdictRefused),
        ({"tracks": with_track(audio=track("video"))}, VerdictRefused),
        ({"tracks": with_track(video=track("video", width=642))}, VerdictRefused),
        ({"tracks": with_track(video=track("video", seconds=29.0))}, OutputTooShort),
        ({"tracks": with_track(audio=track("audio", seconds=31.0))}, OutputTooShort),
        (
            {"tracks": with_track(video=track("video", seconds=29.4), audio=track("audio", seconds=30.5))},
            OutputOutOfStep,
        ),
    ],
)
def test_each_clause_refuses(changes: dict[str, Any], error: type[TranscoderError]) -> None:
    with pytest.raises(error) as raised:
        judge(PLAN, FACTS, evidence(**changes))
    assert type(raised.value) is error


def test_two_percent_of_an_hour_are_tolerated() -> None:
    hour = with_track(video=track("video", seconds=3530.0), audio=track("audio", seconds=3530.5))
    judge(PLAN, FACTS, evidence(tracks=hour, demuxed_duration_s=3600.0))


SALVAGED = {"used_xerror": False}


def test_of_a_damaged_source_what_there_is_is_published() -> None:
    short = with_track(video=track("video", seconds=20.0), audio=track("audio", seconds=4.0))
    judge(PLAN.salvaging(), replace(FACTS, damaged=True), evidence(tracks=short, **SALVAGED))


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"source_errors": 1}, SourceUnreadable),
        ({"return_code": 1}, TranscodeFailed),
        ({"used_xerror": True}, VerdictRefused),
        ({"puts": without("360p.mp4")}, OutputIncomplete),
        ({"tracks": with_track(audio=track("audio", seconds=31.0))}, OutputTooShort),
    ],
)
def test_salvage_relaxes_nothing_else(changes: dict[str, Any], error: type[TranscoderError]) -> None:
    with pytest.raises(error):
        judge(PLAN.salvaging(), FACTS, evidence(**(SALVAGED | changes)))


def test_a_strict_verdict_on_a_source_known_to_be_damaged_is_a_contradiction() -> None:
    with pytest.raises(VerdictRefused):
        judge(PLAN, replace(FACTS, damaged=True), evidence())
