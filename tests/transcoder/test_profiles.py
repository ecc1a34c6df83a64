"""The ladder as a table, and what must hold for every source there could be."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transcoder.errors import SourceTooLarge
from transcoder.facts import AudioFacts, Facts, VideoFacts
from transcoder.profiles import Content, Output, OutputKind, Strictness, plan

SOUND = AudioFacts(1, "opus", 1, 48000, duration_s=60.0)


def source(width: int = 1280, height: int = 720, *, fps: float | None = 30.0, seconds: float = 60.0) -> Facts:
    return Facts("matroska", seconds, VideoFacts(0, "vp8", width, height, fps, duration_s=seconds), SOUND)


@pytest.mark.parametrize(
    ("width", "height", "rungs"),
    [
        (1280, 720, ["720p 1280x720", "480p 854x480", "360p 640x360"]),
        (1920, 1080, ["720p 1280x720", "480p 854x480", "360p 640x360"]),
        (720, 1280, ["720p 720x1280", "480p 480x854", "360p 360x640"]),
        (640, 480, ["480p 640x480", "360p 480x360"]),
        (640, 360, ["360p 640x360"]),
        (320, 240, ["360p 320x240"]),
        (1252, 704, ["720p 1252x704", "480p 854x480", "360p 640x360"]),
        (4000, 400, ["720p 1280x128", "480p 854x86", "360p 640x64"]),
        (321, 241, ["360p 320x240"]),
        (2, 2, ["360p 16x16"]),
    ],
)
def test_ladder(width: int, height: int, rungs: list[str]) -> None:
    made = plan(source(width, height)).renditions
    assert [f"{each.name} {each.canvas.width}x{each.canvas.height}" for each in made] == rungs


def test_only_a_shared_screen_gets_1080_lines() -> None:
    names = [each.name for each in plan(source(1920, 1080), content=Content.SCREEN).renditions]
    assert names == ["1080p", "720p", "480p", "360p"]


@pytest.mark.parametrize(
    ("fps", "kept"),
    [(23.976, 24), (24.0, 24), (25.0, 25), (50.0, 25), (29.97, 30), (60.0, 30), (1000.0, 30), (None, 30)],
)
def test_frame_rate(fps: float | None, kept: int) -> None:
    assert {each.fps for each in plan(source(fps=fps)).renditions} == {kept}


@given(
    sides=st.tuples(st.integers(1, 3840), st.integers(1, 2160)),
    turned=st.booleans(),
    content=st.sampled_from(Content),
)
def test_every_source_has_a_ladder_that_never_enlarges(
    sides: tuple[int, int], *, turned: bool, content: Content
) -> None:
    width, height = sides[::-1] if turned else sides
    made = plan(source(width, height), content=content)
    assert made.renditions
    for each in made.renditions:
        assert each.canvas.width % 2 == each.canvas.height % 2 == 0
        assert each.canvas.width <= max(width + 1, 16)
        assert each.canvas.height <= max(height + 1, 16)
        blocks = -(-each.canvas.width // 16) * -(-each.canvas.height // 16)
        # H.264 table A-1: what the level allows in frame size and in macroblocks a second.
        frame_size, rate = {"3.0": (1620, 40500), "3.1": (3600, 108000), "4.0": (8192, 245760)}[each.level]
        assert blocks <= frame_size
        assert blocks * each.fps <= rate


def test_outputs_are_a_list_of_names_and_ceilings() -> None:
    made = plan(source(640, 360))
    assert [(output.name, output.kind) for output in made.outputs] == [
        ("360p.mp4", OutputKind.TRACK),
        ("audio.mp4", OutputKind.TRACK),
        ("360p.m3u8", OutputKind.PLAYLIST),
        ("audio.m3u8", OutputKind.PLAYLIST),
        ("poster.jpg", OutputKind.POSTER),
        ("thumbs-%03d.jpg", OutputKind.SPRITES),
    ]
    assert all(0 < output.max_size_bytes < 1 << 26 for output in made.outputs)


@pytest.mark.parametrize(
    ("name", "accepted"),
    [
        ("360p.mp4", True),
        ("thumbs-001.jpg", True),
        ("thumbs-003.jpg", True),
        ("thumbs-004.jpg", False),
        ("thumbs-000.jpg", False),
        ("thumbs-1.jpg", False),
        ("thumbs-0001.jpg", False),
        ("thumbs-٠٠١.jpg", False),  # noqa: RUF001  # digits, but not ours
        ("thumbs-001.jpg\n", False),
        ("../360p.mp4", False),
        ("master.m3u8", False),
        ("", False),
    ],
)
def test_a_put_is_one_of_the_outputs_or_refused(name: str, accepted: bool) -> None:  # noqa: FBT001  # table
    assert (plan(source(640, 360, seconds=90.0)).output_for(name) is not None) is accepted


def test_a_pattern_is_not_a_name() -> None:
    assert not Output("thumbs-%03d.jpg", OutputKind.SPRITES, 1, count=5).matches("thumbs-%03d.jpg")


def test_sound_alone_has_no_pictures() -> None:
    made = plan(Facts("ogg", 60.0, None, SOUND))
    assert made.track_names == ("audio.mp4",)
    assert (made.poster, made.sprites, made.renditions) == (None, None, ())


def test_pictures_alone_have_no_sound() -> None:
    assert plan(Facts("ogg", 60.0, source(640, 360).video, None)).track_names == ("360p.mp4",)


def test_the_shorter_stream_is_carried_to_the_end_of_the_longer() -> None:
    video = VideoFacts(0, "vp8", 640, 360, 30.0, duration_s=20.0)
    assert plan(Facts("webm", 60.0, video, SOUND)).renditions[0].freeze_s == 40.0
    assert plan(Facts("webm", 60.0, video, None)).renditions[0].freeze_s == 40.0
    sound = AudioFacts(1, "opus", 1, 48000, duration_s=20.0)
    longer = plan(Facts("webm", 60.0, source().video, sound))
    assert longer.audio is not None
    assert (longer.audio.extend_to_s, longer.renditions[0].freeze_s) == (60.0, 0.0)


def test_damage_means_salvage() -> None:
    facts = source()
    assert plan(facts).strictness is Strictness.STRICT
    assert plan(facts).salvaging().strictness is Strictness.SALVAGE
    broken = Facts(facts.format_name, 60.0, facts.video, SOUND, damaged=True)
    assert plan(broken).strictness is Strictness.SALVAGE


@pytest.mark.parametrize("seconds", [12 * 3600 + 1.0, float("inf"), float("nan")])
def test_a_day_long_recording_is_refused(seconds: float) -> None:
    with pytest.raises(SourceTooLarge):
        plan(source(seconds=seconds))


@pytest.mark.parametrize(
    ("seconds", "frames", "sheets"), [(1.0, 1, 1), (9.0, 5, 1), (60.0, 30, 2), (43200.0, 900, 36)]
)
def test_sprites_stay_few(seconds: float, frames: int, sheets: int) -> None:
    made = plan(source(seconds=seconds)).sprites
    assert made is not None
    assert (made.frames, made.sheets) == (frames, sheets)
