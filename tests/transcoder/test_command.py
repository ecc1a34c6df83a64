"""Command lines: what must stand in them, and what must never."""

from __future__ import annotations

from pathlib import Path

import pytest

from transcoder import command
from transcoder.binaries import Tools
from transcoder.facts import AudioFacts, Facts, VideoFacts
from transcoder.profiles import Plan, Strictness, plan

TOOLS = Tools(Path("/usr/bin/ffmpeg"), Path("/usr/bin/ffprobe"), "5.1.9")
VIDEO = VideoFacts(2, "vp8", 1280, 720, 25.0, duration_s=40.0)
AUDIO = AudioFacts(5, "opus", 2, 48000, duration_s=60.0)
SOURCE, OUTPUT = "http://127.0.0.1:9/i/s", "http://127.0.0.1:9/o/s"


def made(video: VideoFacts | None = VIDEO, audio: AudioFacts | None = AUDIO) -> Plan:
    return plan(Facts("webm", 60.0, video, audio))


def every_command() -> list[list[str]]:
    chosen = made()
    urls = {"source_url": SOURCE, "output_url": OUTPUT}
    return [
        command.probe(TOOLS, SOURCE),
        command.measure(TOOLS, SOURCE, stream_index=0, strictness=Strictness.STRICT),
        command.tracks(TOOLS, chosen, **urls),
        command.poster(TOOLS, chosen, **urls),
        command.sprites(TOOLS, chosen, **urls),
    ]


def option(argv: list[str], name: str) -> str:
    assert argv.count(name) == 1
    return argv[argv.index(name) + 1]


@pytest.mark.parametrize("argv", every_command(), ids=["probe", "measure", "tracks", "poster", "sprites"])
def test_every_source_is_behind_the_allow_lists(argv: list[str]) -> None:
    source = argv.index("-i")
    assert argv[source + 1] == SOURCE
    assert argv.count("-i") == 1
    for name, value in {
        "-protocol_whitelist": "http,tcp",
        "-format_whitelist": "matroska,mov,ogg,wav,mp3,flac,aac",
        "-codec_whitelist": "h264,hevc,vp8,vp9,av1,libdav1d,opus,vorbis,aac,mp3float,mp3,flac,pcm_s16le",
        "-max_pixels": "8294400",
        "-max_streams": "8",
    }.items():
        assert option(argv, name) == value
        assert argv.index(name) < source
    assert "-filter_complex" not in argv


def test_tracks_are_one_pass_over_the_chosen_streams() -> None:
    argv = command.tracks(TOOLS, made(), source_url=SOURCE, output_url=OUTPUT)
    maps = [argv[at + 1] for at, word in enumerate(argv) if word == "-map"]
    assert maps == ["0:2", "0:2", "0:2", "0:5"]
    assert option(argv, "-var_stream_map") == (
        "v:0,agroup:a,name:720p v:1,agroup:a,name:480p v:2,agroup:a,name:360p a:0,agroup:a,name:audio,default:yes"
    )
    assert option(argv, "-hls_segment_filename") == f"{OUTPUT}/%v.mp4"
    assert option(argv, "-g") == option(argv, "-keyint_min") == "50"
    assert option(argv, "-map_metadata") == option(argv, "-map_chapters") == "-1"
    assert "-xerror" in argv


@pytest.mark.parametrize("argv", every_command()[1:], ids=["measure", "tracks", "poster", "sprites"])
def test_memory_does_not_grow_with_the_machine(argv: list[str]) -> None:
    """Address space is limited and threads cost it: their number is ours to choose."""
    assert option(argv[: argv.index("-i")], "-threads") == "4"
    assert option(argv, "-filter_threads") == "2"


def test_a_picture_that_ends_early_stands_still() -> None:
    argv = command.tracks(TOOLS, made(), source_url=SOURCE, output_url=OUTPUT)
    assert option(argv, "-filter:v:0").endswith("tpad=stop_mode=clone:stop_duration=20.000")


def test_only_salvage_plays_on_after_an_error() -> None:
    assert "-xerror" not in command.tracks(TOOLS, made().salvaging(), source_url=SOURCE, output_url=OUTPUT)


@pytest.mark.parametrize(
    ("video", "audio", "variants"),
    [(None, AUDIO, "a:0,name:audio"), (VIDEO, None, "v:0,name:720p v:1,name:480p v:2,name:360p")],
)
def test_one_kind_of_stream_needs_no_group(
    video: VideoFacts | None, audio: AudioFacts | None, variants: str
) -> None:
    argv = command.tracks(TOOLS, made(video, audio), source_url=SOURCE, output_url=OUTPUT)
    assert option(argv, "-var_stream_map") == variants
