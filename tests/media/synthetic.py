"""Recordings as other clients send them, whole and broken, made by ffmpeg from scene.py and speech.py.

`consultation.mp4` is the realistic one: half a minute of talking, and the metadata that a telephone adds (title,
place, maker), none of which may reach what viewers get.
"""

from __future__ import annotations

import struct
from pathlib import Path

from tests.media.tools import ffmpeg
from vault.demo import scene

FILES = (
    "consultation.mp4",
    "consultation.webm",
    "moov-at-end.mp4",
    "video-only.webm",
    "resolution-change.webm",
    "portrait.mp4",
    "truncated.webm",
    "truncated.mp4",
    "empty.webm",
    "notes.txt",
    "huge-frame.mp4",
    "many-streams.mkv",
)
CONSULTATION_S = 30
PART_S = 4  # resolution-change.webm: how long each size lasts
PART_SIZES = ("640x360", "320x180", "960x540")
TITLE = "Persistent cough, second visit"
PLACE = "+51.5072-000.1276/"
MAKER = "Replay Phone"

_H264 = ("-c:v", "libx264", "-preset", "veryfast", "-crf", "26", "-g", "60", "-pix_fmt", "yuv420p")
_VP8 = ("-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8", "-b:v", "700k", "-g", "90")
_OPUS = ("-c:a", "libopus", "-b:a", "48k")
_AAC = ("-c:a", "aac", "-b:a", "96k")

# The rotation by 90° in a track header: ISO/IEC 14496-12, 8.3.2. Sixteen-bit fractions, the last column 2.30.
_UPRIGHT = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
_ROTATED = struct.pack(">9I", 0, 0x10000, 0, 0xFFFF0000, 0, 0, 360 << 16, 0, 0x40000000)


def make(folder: Path, *, talk: Path) -> None:
    """Make every file of `FILES`."""
    _consultations(folder, talk=talk)
    _resolution_change(folder, talk=talk)
    _portrait(folder)
    _broken(folder)
    _oversized(folder)


def _film(seconds: float) -> tuple[str, ...]:
    return ("-filter_complex", scene.talking_head(), "-map", "[v]", "-t", str(seconds))


def _consultations(folder: Path, *, talk: Path) -> None:
    tags = {"title": TITLE, "location": PLACE, "make": MAKER, "comment": "told in confidence"}
    told = [word for key, value in tags.items() for word in ("-metadata", f"{key}={value}")]
    sound = ("-map", "0:a", "-ac", "1")
    front = ("-movflags", "+faststart+use_metadata_tags")
    film = _film(CONSULTATION_S)
    ffmpeg("-i", talk, *film, *sound, *_H264, *_AAC, *told, *front, folder / "consultation.mp4")
    ffmpeg("-i", talk, *film, *sound, *_VP8, *_OPUS, *told[:2], folder / "consultation.webm")
    copy = ("-i", folder / "consultation.mp4", "-t", "10", "-c", "copy")
    ffmpeg(*copy, folder / "moov-at-end.mp4")
    ffmpeg("-i", folder / "consultation.webm", "-t", "8", "-an", "-c", "copy", folder / "video-only.webm")


def _resolution_change(folder: Path, *, talk: Path) -> None:
    """Join VP8 of three sizes under one sound track that never stops, as WebRTC recorders do on a bad line."""
    parts = [folder / f"part-{number}.webm" for number in range(len(PART_SIZES))]
    for part, size in zip(parts, PART_SIZES, strict=True):
        ffmpeg(*_film(PART_S), "-s", size, *_VP8, part)
    listing = folder / "parts.txt"
    listing.write_text("".join(f"file '{part.name}'\n" for part in parts), encoding="ascii")
    length = ("-t", str(PART_S * len(parts)))
    video = ("-f", "concat", "-i", listing, "-i", talk, "-map", "0:v", "-map", "1:a", "-c:v", "copy")
    ffmpeg(*video, *_OPUS, *length, folder / "resolution-change.webm", cwd=folder)
    for leftover in (*parts, listing):
        leftover.unlink()


def _portrait(folder: Path) -> None:
    """Turn the picture by its track header, as a telephone held upright does: coded 640x360, shown 360x640."""
    path = folder / "portrait.mp4"
    lying = "crop=ih*9/16:ih,scale=360:640,transpose=cclock"
    told = ("-t", "6", "-vf", lying, *_H264, "-c:a", "copy", "-map_metadata", "-1")
    ffmpeg("-i", folder / "consultation.mp4", *told, path)
    body = path.read_bytes()
    header = body.index(b"tkhd")
    matrix = body.index(_UPRIGHT, header)
    path.write_bytes(body[:matrix] + _ROTATED + body[matrix + len(_ROTATED) :])


def _broken(folder: Path) -> None:
    for whole, cut in (("consultation.webm", "truncated.webm"), ("moov-at-end.mp4", "truncated.mp4")):
        body = (folder / whole).read_bytes()
        (folder / cut).write_bytes(body[: len(body) * 6 // 10])
    (folder / "empty.webm").write_bytes(b"")
    (folder / "notes.txt").write_text("Not a recording at all.\n" * 200, encoding="ascii")


def _oversized(folder: Path) -> None:
    """One frame of 7680x4320, and a file of forty streams: small to send, dear to decode."""
    huge = ("-f", "lavfi", "-i", "color=black:s=7680x4320:r=1:d=1")
    ffmpeg(*huge, "-c:v", "libx264", "-preset", "ultrafast", folder / "huge-frame.mp4")
    silence = ("-f", "lavfi", "-i", "anullsrc=r=48000:cl=mono:d=1")
    ffmpeg(*silence, *("-map", "0") * 40, "-c:a", "flac", folder / "many-streams.mkv")
