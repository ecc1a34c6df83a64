"""Consultation recordings for the demonstration, made in memory: a talking head and something like a voice.

The result is what a browser's MediaRecorder makes: WebM, VP8 and Opus, written live, without a duration.

Invariant: no film touches a disk; ffmpeg writes to a pipe, and the pipe ends in this process.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final

from vault.demo.scene import talking_head

LENGTH_S: Final = 20
_READ_BYTES: Final = 64 * 1024

# Three harmonics of a voice at `pitch` Hz, in syllables and phrases.
_VOICE: Final = (
    "0.35*(sin(2*PI*{pitch}*t)+0.5*sin(4*PI*{pitch}*t)+0.3*sin(6*PI*{pitch}*t))"
    "*max(0,sin(2*PI*3.1*t))*gt(sin(2*PI*0.21*t+{phase}),-0.3)"
)


class FilmError(Exception):
    """ffmpeg could not make a film."""


async def make_film(ffmpeg: Path, *, pitch_hz: int, on_progress: Callable[[float], None]) -> bytes:
    """A film of `LENGTH_S` seconds; `on_progress` gets 0 to 1. Raises `FilmError`."""
    process = await asyncio.create_subprocess_exec(
        *_command(ffmpeg, pitch_hz),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    film, _ = await asyncio.gather(_collect(process.stdout), _follow(process.stderr, on_progress))
    if await process.wait() != 0 or not film:
        raise FilmError("ffmpeg could not make a film for the demonstration; give one with --file")
    return film


def _command(ffmpeg: Path, pitch_hz: int) -> list[str]:
    voice = _VOICE.format(pitch=pitch_hz, phase=pitch_hz % 7)
    return [
        str(ffmpeg),
        *("-nostdin", "-hide_banner", "-loglevel", "error", "-progress", "pipe:2"),
        *("-f", "lavfi", "-i", f"aevalsrc='{voice}':s=48000:d={LENGTH_S}"),
        *("-filter_complex", talking_head(), "-map", "[v]", "-map", "0:a"),
        *("-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8", "-b:v", "800k"),
        *("-c:a", "libopus", "-b:a", "48k", "-t", str(LENGTH_S)),
        *("-f", "webm", "-live", "1", "pipe:1"),
    ]


async def _collect(stream: asyncio.StreamReader | None) -> bytes:
    film = bytearray()
    while stream is not None and (piece := await stream.read(_READ_BYTES)):
        film += piece
    return bytes(film)


async def _follow(stream: asyncio.StreamReader | None, on_progress: Callable[[float], None]) -> None:
    while stream is not None and (line := await stream.readline()):
        name, _, value = line.decode("ascii", "replace").strip().partition("=")
        if name == "out_time_us" and value.isdigit():
            on_progress(min(int(value) / 1e6 / LENGTH_S, 1.0))
