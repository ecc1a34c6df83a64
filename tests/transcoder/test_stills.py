"""Cues of the scrub bar."""

from __future__ import annotations

from transcoder.facts import Facts, VideoFacts
from transcoder.profiles import Plan, plan
from transcoder.stills import thumbs_vtt, timestamp


def of(seconds: float) -> Plan:
    return plan(Facts("mp4", seconds, VideoFacts(0, "h264", 1280, 720, 30.0, duration_s=seconds), None))


def test_cues_walk_over_the_sheet() -> None:
    assert thumbs_vtt(of(9.0), duration_s=9.0, sheets=1) == (
        "WEBVTT\n\n"
        "00:00:00.000 --> 00:00:02.000\nthumbs-001.jpg#xywh=0,0,160,90\n\n"
        "00:00:02.000 --> 00:00:04.000\nthumbs-001.jpg#xywh=160,0,160,90\n\n"
        "00:00:04.000 --> 00:00:06.000\nthumbs-001.jpg#xywh=320,0,160,90\n\n"
        "00:00:06.000 --> 00:00:08.000\nthumbs-001.jpg#xywh=0,90,160,90\n\n"
        "00:00:08.000 --> 00:00:09.000\nthumbs-001.jpg#xywh=160,90,160,90\n"
    )


def test_no_cue_points_to_a_sheet_that_did_not_arrive() -> None:
    text = thumbs_vtt(of(60.0), duration_s=60.0, sheets=1)
    assert "thumbs-001.jpg" in text
    assert "thumbs-002.jpg" not in text
    assert "--> 00:01:00.000" in text
    assert thumbs_vtt(of(60.0), duration_s=60.0, sheets=0) == "WEBVTT\n"


def test_timestamps() -> None:
    assert timestamp(0) == "00:00:00.000"
    assert timestamp(3599.9996) == "01:00:00.000"
    assert timestamp(7325.25) == "02:02:05.250"
