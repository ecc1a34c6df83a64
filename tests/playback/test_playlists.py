"""Playlists: their exact text for a small recording, their arithmetic for any, and ffmpeg as the judge of both."""

from __future__ import annotations

import re
import subprocess
import threading
import uuid
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keys.ids import KeyId, RecordingId, new_file_id
from tests.media.tools import ffmpeg, tools
from vault.objects.container import COMMITMENT_BYTES, SALT_BYTES, Header
from vault.objects.manifest import FileEntry, Manifest, Thumbs, Track, TrackKind
from vault.playback.playlists import PLAYLIST_TYPE, master_playlist, media_playlist, thumbs_cues, written

RECORDING = RecordingId(uuid.UUID("2f1d0c4e-8a57-4c1b-9b6e-0d6f5b1f7a21"))
KEY = KeyId(uuid.UUID("7d0f6f1e-35a5-4c66-9a47-1b0d8a1c6c11"))

Json = dict[str, Any]


def file(
    role: str, *, size_bytes: int, track: Track | None = None, content_type: str = "video/mp4"
) -> FileEntry:
    header = Header(
        recording_id=RECORDING,
        file_id=new_file_id(),
        key_id=KEY,
        salt=bytes(SALT_BYTES),
        commitment=bytes(COMMITMENT_BYTES),
    )
    return FileEntry(
        role=role, header=header, plain_size_bytes=size_bytes, content_type=content_type, track=track
    )


def track_file(role: str, track: Track) -> FileEntry:
    return file(role, size_bytes=track.size_bytes, track=track)


def picture(**changes: Any) -> Track:
    facts: Json = {
        "kind": TrackKind.VIDEO,
        "codecs": "avc1.4d401f",
        "width": 1280,
        "height": 720,
        "frame_rate_millihertz": 29_970,
        "timescale": 30_000,
        "init_size_bytes": 800,
        "sizes_bytes": (500_000, 400_000, 100),
        "durations_ticks": (120_000, 120_120, 1_001),
        "peak_bandwidth_bps": 1_000_000,
        "average_bandwidth_bps": 700_000,
    }
    return Track(**(facts | changes))


def sound(**changes: Any) -> Track:
    facts: Json = {
        "kind": TrackKind.AUDIO,
        "codecs": "mp4a.40.2",
        "width": None,
        "height": None,
        "frame_rate_millihertz": None,
        "timescale": 48_000,
        "init_size_bytes": 700,
        "sizes_bytes": (32_000, 32_000),
        "durations_ticks": (191_488, 192_512),
        "peak_bandwidth_bps": 66_000,
        "average_bandwidth_bps": 64_000,
    }
    return Track(**(facts | changes))


SMALL = picture(
    width=640,
    height=360,
    codecs="avc1.4d401e",
    frame_rate_millihertz=30_000,
    peak_bandwidth_bps=400_000,
    average_bandwidth_bps=300_000,
)


def recording(*files: FileEntry, thumbs: Thumbs | None = None) -> Manifest:
    return Manifest(recording_id=RECORDING, files=files, thumbs=thumbs)


WHOLE = recording(
    file("original", size_bytes=9, content_type="video/webm"),
    track_file("360p.mp4", SMALL),
    track_file("720p.mp4", picture()),
    track_file("audio.mp4", sound()),
)


def test_the_master_playlist_of_pictures_and_sound() -> None:
    assert master_playlist(WHOLE) == (
        "#EXTM3U\n"
        "#EXT-X-VERSION:7\n"
        "#EXT-X-INDEPENDENT-SEGMENTS\n"
        '#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="audio",NAME="Sound",DEFAULT=YES,AUTOSELECT=YES,URI="audio.m3u8"\n'
        '#EXT-X-STREAM-INF:BANDWIDTH=1066000,AVERAGE-BANDWIDTH=764000,CODECS="avc1.4d401f,mp4a.40.2",'
        'RESOLUTION=1280x720,FRAME-RATE=29.970,CLOSED-CAPTIONS=NONE,AUDIO="audio"\n'
        "720p.m3u8\n"
        '#EXT-X-STREAM-INF:BANDWIDTH=466000,AVERAGE-BANDWIDTH=364000,CODECS="avc1.4d401e,mp4a.40.2",'
        'RESOLUTION=640x360,FRAME-RATE=30.000,CLOSED-CAPTIONS=NONE,AUDIO="audio"\n'
        "360p.m3u8\n"
    )


def test_the_master_playlist_of_sound_alone() -> None:
    assert master_playlist(recording(track_file("audio.mp4", sound()))) == (
        "#EXTM3U\n"
        "#EXT-X-VERSION:7\n"
        "#EXT-X-INDEPENDENT-SEGMENTS\n"
        '#EXT-X-STREAM-INF:BANDWIDTH=66000,AVERAGE-BANDWIDTH=64000,CODECS="mp4a.40.2"\n'
        "audio.m3u8\n"
    )


def test_the_master_playlist_of_pictures_alone() -> None:
    assert master_playlist(recording(track_file("720p.mp4", picture()))) == (
        "#EXTM3U\n"
        "#EXT-X-VERSION:7\n"
        "#EXT-X-INDEPENDENT-SEGMENTS\n"
        '#EXT-X-STREAM-INF:BANDWIDTH=1000000,AVERAGE-BANDWIDTH=700000,CODECS="avc1.4d401f",'
        "RESOLUTION=1280x720,FRAME-RATE=29.970,CLOSED-CAPTIONS=NONE\n"
        "720p.m3u8\n"
    )


def test_a_media_playlist() -> None:
    assert media_playlist(WHOLE, name="720p.m3u8") == (
        "#EXTM3U\n"
        "#EXT-X-VERSION:7\n"
        "#EXT-X-INDEPENDENT-SEGMENTS\n"
        "#EXT-X-TARGETDURATION:4\n"
        "#EXT-X-MEDIA-SEQUENCE:0\n"
        "#EXT-X-PLAYLIST-TYPE:VOD\n"
        '#EXT-X-MAP:URI="720p.mp4",BYTERANGE="800@0"\n'
        "#EXTINF:4.000000,\n"
        "#EXT-X-BYTERANGE:500000@800\n"
        "720p.mp4\n"
        "#EXTINF:4.004000,\n"
        "#EXT-X-BYTERANGE:400000@500800\n"
        "720p.mp4\n"
        "#EXTINF:0.033367,\n"
        "#EXT-X-BYTERANGE:100@900800\n"
        "720p.mp4\n"
        "#EXT-X-ENDLIST\n"
    )


@pytest.mark.parametrize(
    "name",
    [
        "original.m3u8",
        "720p.mp4",
        "720p",
        "480p.m3u8",
        ".m3u8",
        "",
        "720p.mp4.m3u8",
        "../720p.m3u8",
        "thumbs.vtt",
    ],
)
def test_there_is_no_text_for_another_name(name: str) -> None:
    assert written(WHOLE, name=name) is None


def test_a_recording_without_tracks_has_nothing_to_play() -> None:
    assert written(recording(file("original", size_bytes=9)), name="master.m3u8") is None


def test_texts_come_with_their_media_types() -> None:
    for name in ("master.m3u8", "audio.m3u8"):
        made = written(WHOLE, name=name)
        assert made is not None
        assert made.content_type == PLAYLIST_TYPE


@pytest.mark.parametrize(
    ("ticks", "target"), [((1,), 1), ((35_000,), 4), ((34_999,), 3), ((40_000, 45_000), 5), ((0,), 1)]
)
def test_the_target_duration_is_the_longest_rounded(ticks: tuple[int, ...], target: int) -> None:
    track = sound(timescale=10_000, durations_ticks=ticks, sizes_bytes=(1,) * len(ticks))
    text = media_playlist(recording(track_file("audio.mp4", track)), name="audio.m3u8")
    assert text is not None
    assert f"#EXT-X-TARGETDURATION:{target}\n" in text


@given(
    init_size_bytes=st.integers(1, 2**20),
    segments=st.lists(st.tuples(st.integers(1, 2**40), st.integers(0, 2**32)), min_size=1, max_size=50),
    timescale=st.integers(1, 2**32 - 1),
)
def test_the_ranges_are_the_file_and_the_times_are_the_duration(
    init_size_bytes: int, segments: list[tuple[int, int]], timescale: int
) -> None:
    sizes, ticks = zip(*segments, strict=True)
    track = sound(
        init_size_bytes=init_size_bytes, sizes_bytes=sizes, durations_ticks=ticks, timescale=timescale
    )
    text = media_playlist(recording(track_file("audio.mp4", track)), name="audio.m3u8")
    assert text is not None
    ranges = [(int(size), int(offset)) for size, offset in re.findall(r"BYTERANGE[:=]\"?(\d+)@(\d+)", text)]
    position = 0
    for size, offset in ranges:
        assert offset == position
        position += size
    assert position == track.size_bytes
    times = [float(each) for each in re.findall(r"#EXTINF:([0-9.]+),", text)]
    assert sum(times) == pytest.approx(track.duration_s, abs=1e-6 * len(times), rel=1e-9)
    target = int(re.findall(r"TARGETDURATION:(\d+)", text)[0])
    assert all(each < target + 0.5 + 1e-6 for each in times)


def sheets(*, frames: int, sheet_roles: tuple[str, ...]) -> Thumbs:
    return Thumbs(
        interval_s=2, width=160, height=90, columns=2, rows=1, frames=frames, sheet_roles=sheet_roles
    )


def with_thumbs(thumbs: Thumbs) -> Manifest:
    pages = [file(role, size_bytes=5, content_type="image/jpeg") for role in thumbs.sheet_roles]
    return recording(track_file("720p.mp4", picture()), *pages, thumbs=thumbs)


def test_thumbs_name_rectangles_of_sheets_until_the_end() -> None:
    thumbs = sheets(frames=3, sheet_roles=("thumbs-001.jpg", "thumbs-002.jpg"))
    assert thumbs_cues(with_thumbs(thumbs)) == (
        "WEBVTT\n"
        "\n"
        "00:00:00.000 --> 00:00:02.000\n"
        "thumbs-001.jpg#xywh=0,0,160,90\n"
        "\n"
        "00:00:02.000 --> 00:00:04.000\n"
        "thumbs-001.jpg#xywh=160,0,160,90\n"
        "\n"
        "00:00:04.000 --> 00:00:08.037\n"
        "thumbs-002.jpg#xywh=0,0,160,90\n"
    )


def test_a_thumb_after_the_end_has_no_cue() -> None:
    thumbs = sheets(frames=6, sheet_roles=("thumbs-001.jpg", "thumbs-002.jpg", "thumbs-003.jpg"))
    cues = thumbs_cues(with_thumbs(thumbs))
    assert cues is not None
    assert cues.count("-->") == 5
    assert "00:00:08.000 --> 00:00:08.037\n" in cues


def test_hours_and_rows_are_counted() -> None:
    long = sound(durations_ticks=(48_000 * 4000,), sizes_bytes=(1,))
    thumbs = Thumbs(
        interval_s=1800, width=10, height=20, columns=1, rows=3, frames=3, sheet_roles=("thumbs-001.jpg",)
    )
    page = file("thumbs-001.jpg", size_bytes=5, content_type="image/jpeg")
    cues = thumbs_cues(recording(track_file("audio.mp4", long), page, thumbs=thumbs))
    assert cues is not None
    assert "01:00:00.000 --> 01:06:40.000\nthumbs-001.jpg#xywh=0,40,10,20\n" in cues


class QuietFolder(SimpleHTTPRequestHandler):
    """Files of a folder with single ranges, which the standard library's handler does not know."""

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        data = path.read_bytes()
        first, last = re.findall(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "bytes=0-"))[0]
        piece = data[int(first) : int(last or len(data)) + 1]
        self.send_response(206)
        self.send_header("Content-Length", str(len(piece)))
        self.send_header("Content-Range", f"bytes {first}-{int(first) + len(piece) - 1}/{len(data)}")
        self.end_headers()
        self.wfile.write(piece)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietFolder, directory=tmp_path))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield tmp_path, f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def made_by_ffmpeg(folder: Path, name: str, *source: str, facts: Json) -> FileEntry:
    """One byte-range fMP4 track; its index is read from ffmpeg's own playlist."""
    playlist = folder / f"theirs-{name}.m3u8"
    hls = ["-f", "hls", "-hls_time", "2", "-hls_list_size", "0", "-hls_segment_type", "fmp4"]
    ffmpeg(
        *source, *hls, "-hls_flags", "single_file", "-hls_segment_filename", folder / f"{name}.mp4", playlist
    )
    text = playlist.read_text()
    (init, _), *segments = [(int(a), int(b)) for a, b in re.findall(r"BYTERANGE[:=]\"?(\d+)@(\d+)", text)]
    times = [round(float(each) * 90_000) for each in re.findall(r"#EXTINF:([0-9.]+),", text)]
    track = {
        "init_size_bytes": init,
        "sizes_bytes": tuple(size for size, _ in segments),
        "durations_ticks": tuple(times),
        "timescale": 90_000,
    }
    playlist.unlink()
    made = picture(**track, **facts) if "width" in facts else sound(**track, **facts)
    assert made.size_bytes == (folder / f"{name}.mp4").stat().st_size
    return track_file(f"{name}.mp4", made)


def packets(address: str, *, stream: str) -> int:
    command: list[str] = [str(tools().ffprobe), "-v", "warning", "-select_streams", stream, "-count_packets"]
    command += ["-show_entries", "stream=nb_read_packets", "-of", "csv=p=0", address]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr == ""
    return int(done.stdout.split()[0].strip(","))


def test_ffmpeg_plays_every_rung_to_its_last_packet_without_a_warning(served: tuple[Path, str]) -> None:
    folder, address = served
    scene = ["-f", "lavfi", "-i", "testsrc2=size=320x180:rate=30:duration=7", "-c:v", "libx264", "-g", "60"]
    tone = ["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000:duration=7", "-c:a", "aac"]
    small = {"width": 320, "height": 180, "frame_rate_millihertz": 30_000, "codecs": "avc1.64000d"}
    manifest = recording(
        made_by_ffmpeg(folder, "180p", *scene, "-pix_fmt", "yuv420p", facts=small),
        made_by_ffmpeg(folder, "audio", *tone, facts={}),
    )
    for name in ("master.m3u8", "180p.m3u8", "audio.m3u8"):
        made = written(manifest, name=name)
        assert made is not None
        (folder / name).write_text(made.text)
    assert packets(f"{address}/180p.m3u8", stream="v:0") == 210
    assert packets(f"{address}/master.m3u8", stream="v:0") == 210
    assert packets(f"{address}/master.m3u8", stream="a:0") == pytest.approx(7 * 48_000 / 1024, abs=3)
