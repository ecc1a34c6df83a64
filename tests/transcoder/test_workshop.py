"""Every kind of recording that arrives, through real ffmpeg builds and a real loopback gateway."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from transcoder import command
from transcoder.binaries import Tools
from transcoder.errors import (
    OutputIncomplete,
    RunError,
    SourceDamaged,
    SourceEmpty,
    SourceNotMedia,
    SourceTooLarge,
    SourceTruncated,
    SourceUnreadable,
    TranscoderError,
    TranscodeStalled,
)
from transcoder.sandbox import Sandbox
from transcoder.workshop import Strictness, examine, plan, render_tracks

from .gateway import Gateway
from .runs import Rendered, attempt, transcode
from .sources import Studio

PLAYABLE = (
    ("vp8_live", ["360p.mp4", "audio.mp4"], 3.0, Strictness.STRICT),
    ("vp9_live", ["360p.mp4", "audio.mp4"], 3.0, Strictness.STRICT),
    ("h264_live", ["360p.mp4", "audio.mp4"], 3.0, Strictness.STRICT),
    ("fragmented", ["360p.mp4", "audio.mp4"], 3.0, Strictness.STRICT),
    ("moov_at_end", ["360p.mp4", "audio.mp4"], 3.0, Strictness.STRICT),
    ("audio_only", ["audio.mp4"], 3.0, Strictness.STRICT),
    ("wav", ["audio.mp4"], 2.0, Strictness.STRICT),
    ("video_only", ["360p.mp4"], 3.0, Strictness.STRICT),
    ("portrait", ["360p.mp4", "audio.mp4"], 2.0, Strictness.STRICT),
    ("resized", ["360p.mp4", "audio.mp4"], 6.0, Strictness.STRICT),
    ("early_end", ["360p.mp4", "audio.mp4"], 5.0, Strictness.STRICT),
    ("deaf_end", ["360p.mp4", "audio.mp4"], 5.0, Strictness.STRICT),
    ("cut_mp4", ["360p.mp4", "audio.mp4"], 3.0, Strictness.SALVAGE),
    ("cut_webm", ["360p.mp4", "audio.mp4"], 2.0, Strictness.SALVAGE),
    ("dented", ["360p.mp4", "audio.mp4"], 6.0, Strictness.SALVAGE),
)


@pytest.mark.parametrize("row", PLAYABLE, ids=[row[0] for row in PLAYABLE])
async def test_what_can_be_played_is_published(
    row: tuple[str, list[str], float, Strictness], tools: Tools, studio: Studio
) -> None:
    source, names, seconds, strictness = row
    media = await asyncio.to_thread(studio.get, source)
    async with Gateway.serving(media) as gateway:
        made = await transcode(gateway, tools)
    assert list(made.tracks) == names
    assert made.plan.strictness is strictness
    for index in made.tracks.values():
        assert index.duration_s == pytest.approx(seconds, abs=0.6)
    assert set(made.outputs) == {output.name for output in made.plan.outputs} - {
        "poster.jpg",
        "thumbs-%03d.jpg",
    }


REFUSED = (
    ("empty", SourceEmpty),
    ("text", SourceNotMedia),
    ("noise", SourceNotMedia),
    ("cut_index", SourceTruncated),
    ("enormous", SourceTooLarge),
)


@pytest.mark.parametrize(("source", "error"), REFUSED, ids=[row[0] for row in REFUSED])
async def test_what_cannot_be_played_fails_with_its_reason(
    source: str, error: type[TranscoderError], tools: Tools, studio: Studio
) -> None:
    made = {"empty": b"", "text": b"Dear doctor,\n" * 50, "noise": bytes(range(256)) * 64}
    media = made[source] if source in made else await asyncio.to_thread(studio.get, source)
    async with Gateway.serving(media) as gateway:
        with pytest.raises(error) as raised:
            await transcode(gateway, tools)
    assert raised.value.permanent


async def test_a_hundred_streams_are_too_many(tools: Tools, studio: Studio) -> None:
    media = await asyncio.to_thread(studio.get, "thousand_streams")
    async with Gateway.serving(media) as gateway:
        with pytest.raises(SourceTooLarge):
            await transcode(gateway, tools)


_LARGE: dict[str, Rendered] = {}


@pytest.fixture
async def large(tools: Tools, studio: Studio) -> Rendered:
    """One run over a 720p source for all tests that only look at what it made."""
    if tools.version not in _LARGE:
        media = await asyncio.to_thread(studio.get, "large")
        async with Gateway.serving(media) as gateway:
            _LARGE[tools.version] = await transcode(gateway, tools, stills=True)
    return _LARGE[tools.version]


async def test_a_720p_source_gets_the_whole_ladder_and_its_stills(large: Rendered) -> None:
    sizes = [(track.width, track.height) for track in large.tracks.values()]
    assert sizes == [(1280, 720), (854, 480), (640, 360), (0, 0)]
    assert [track.codec for track in large.tracks.values()] == [
        "avc1.4d401f",
        "avc1.4d401f",
        "avc1.4d401e",
        "mp4a.40.2",
    ]
    for track in list(large.tracks.values())[:3]:
        assert [round(segment.duration_s, 3) for segment in track.segments] == [4.0, 4.0, 1.0]
        assert track.frame_rate == 30.0
        assert track.peak_bitrate >= track.average_bitrate > 0
    stills = {name for name in large.outputs if name.endswith(".jpg")}
    assert stills == {"poster.jpg", "thumbs-001.jpg"}
    assert all(large.outputs[name].startswith(b"\xff\xd8") for name in stills)


async def test_the_sheet_is_as_its_cues_say(
    large: Rendered, ffmpeg: Callable[..., str], tmp_path: Path
) -> None:
    """9 s are five pictures of 160 x 90 on a sheet of three by two; the sixth place stays black."""
    assert large.plan.sprites is not None
    assert (large.plan.sprites.frames, large.plan.sprites.sheets) == (5, 1)
    (tmp_path / "sheet.jpg").write_bytes(large.outputs["thumbs-001.jpg"])
    places = [f"{x}:{y}" for y in (0, 90) for x in (0, 160, 320)]
    levels = []
    for place in places:
        seen = f"crop=160:90:{place},signalstats,metadata=print:key=lavfi.signalstats.YAVG:file=-"
        said = await asyncio.to_thread(ffmpeg, "-i", "sheet.jpg", "-vf", seen, "-f", "null", "-")
        levels.append(float(said.rsplit("=", 1)[1]))
    assert all(level > 40 for level in levels[:5])
    assert levels[5] < 20


async def test_segments_are_what_ffmpeg_says_they_are(large: Rendered) -> None:
    """Our byte ranges equal those of ffmpeg's own playlists, which are then not needed."""
    for name, track in large.tracks.items():
        playlist = large.outputs[name.replace(".mp4", ".m3u8")].decode()
        theirs = [line[17:] for line in playlist.splitlines() if line.startswith("#EXT-X-BYTERANGE:")]
        assert [f"{each.size_bytes}@{each.offset_bytes}" for each in track.segments] == theirs
        assert f'BYTERANGE="{track.init_size_bytes}@0"' in playlist


async def test_players_without_edit_lists_are_in_step(large: Rendered) -> None:
    """Picture and sound both begin at 0 on the decoding clock, but for the sound encoder's priming of 1024 samples."""
    picture, sound = large.tracks["720p.mp4"].samples, large.tracks["audio.mp4"].samples
    assert picture is not None
    assert sound is not None
    assert (picture.composition[0], picture.header.media_start, picture.header.delay_s) == (0, 0, 0.0)
    assert (sound.header.media_start, sound.header.delay_s) == (1024, 0.0)


async def test_every_sound_packet_survives_a_change_of_picture_size(
    tools: Tools, studio: Studio, ffmpeg: Callable[..., str], tmp_path: Path
) -> None:
    """6 s of sound are 281 AAC packets; a merged filter graph would lose a third of them with exit status 0."""
    async with Gateway.serving(await asyncio.to_thread(studio.get, "resized")) as gateway:
        made = await transcode(gateway, tools)
    samples = made.tracks["audio.mp4"].samples
    assert samples is not None
    assert len(samples.sizes) >= 6 * 48000 // 1024
    track = tmp_path / "audio.mp4"
    track.write_bytes(made.outputs["audio.mp4"])
    levels = await asyncio.to_thread(
        ffmpeg, "-i", track, "-af", "silencedetect=n=-45dB:d=0.3,ametadata=print:file=-", "-f", "null", "-"
    )
    assert "silence_start" not in levels


async def test_a_phone_held_upright_stays_upright(tools: Tools, studio: Studio) -> None:
    async with Gateway.serving(await asyncio.to_thread(studio.get, "portrait")) as gateway:
        made = await transcode(gateway, tools)
    assert (made.tracks["360p.mp4"].width, made.tracks["360p.mp4"].height) == (360, 640)


async def test_no_word_of_the_source_reaches_an_output(tools: Tools, studio: Studio) -> None:
    async with Gateway.serving(await asyncio.to_thread(studio.get, "titled")) as gateway:
        made = await transcode(gateway, tools, stills=True)
    assert b"Jane Roe" in gateway.source
    for body in made.outputs.values():
        assert not any(word in body for word in (b"Jane Roe", b"+51.5", b"ACME"))


async def test_a_source_that_fails_half_way_is_our_fault_and_not_a_short_recording(
    tools: Tools, studio: Studio
) -> None:
    media = await asyncio.to_thread(studio.get, "moov_first")
    async with Gateway.serving(media) as gateway:
        facts = await examine(gateway.source_url, tools=tools, sandbox=Sandbox())
    async with Gateway.serving(media, fail_source_from=len(media) // 2) as gateway:
        with pytest.raises(SourceUnreadable):
            await attempt(gateway, tools, facts, plan(facts))
        assert gateway.source_errors > 0


async def test_a_refused_body_is_seen_although_ffmpeg_may_not_mind(tools: Tools, studio: Studio) -> None:
    async with Gateway.serving(
        await asyncio.to_thread(studio.get, "vp8_live"), refuse_put="audio.mp4"
    ) as gateway:
        with pytest.raises((OutputIncomplete, SourceDamaged, RunError)) as raised:
            await transcode(gateway, tools)
    assert not raised.value.permanent


async def test_progress_grows_to_its_end(large: Rendered) -> None:
    fractions = [fraction for fraction, _ in large.progress if fraction is not None]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    assert len(fractions) >= 2


async def test_a_source_that_hangs_is_given_up(tools: Tools, studio: Studio) -> None:
    media = await asyncio.to_thread(studio.get, "vp8_live")
    async with Gateway.serving(media) as gateway:
        facts = await examine(gateway.source_url, tools=tools, sandbox=Sandbox())
    async with Gateway.serving(media, stall_source=True) as gateway:
        started = time.monotonic()
        with pytest.raises(TranscodeStalled):
            await render_tracks(
                plan(facts),
                source_url=gateway.source_url,
                output_url=gateway.output_url,
                tools=tools,
                sandbox=Sandbox(),
                stall_timeout_s=1.0,
            )
    assert time.monotonic() - started < 5.0


async def test_nothing_is_written_and_only_the_gateway_is_spoken_to(
    tools: Tools, studio: Studio, tmp_path: Path
) -> None:
    """What strace sees of a whole run of ffmpeg: no file opened for writing, no other address."""
    tracer = await asyncio.to_thread(lambda: Path("/usr/bin/strace").is_file())
    if not tracer:
        assert os.environ.get("CI") != "true", "install the package strace"
        pytest.skip("strace is not installed: run apt-get install strace")

    log = tmp_path / "trace"
    async with Gateway.serving(await asyncio.to_thread(studio.get, "vp8_live")) as gateway:
        facts = await examine(gateway.source_url, tools=tools, sandbox=Sandbox())
        urls = {"source_url": gateway.source_url, "output_url": gateway.output_url}
        argv = command.tracks(tools, plan(facts), **urls)
        traced = [
            "/usr/bin/strace",
            "-f",
            "-qq",
            "-o",
            str(log),
            "-e",
            "trace=openat,open,creat,connect",
            *argv,
        ]
        process = await asyncio.create_subprocess_exec(
            *traced, env={}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        assert await process.wait() == 0
        await gateway.drained()
        port = gateway.port
    lines = (await asyncio.to_thread(log.read_text)).splitlines()
    connects = [line for line in lines if " connect(" in line]
    assert connects
    assert all(f"htons({port})" in line for line in connects)
    writes = [line for line in lines if "O_WRONLY" in line or "O_RDWR" in line or " creat(" in line]
    assert [line for line in writes if "/dev/" not in line] == []
