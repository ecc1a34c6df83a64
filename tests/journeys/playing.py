"""ffmpeg as a foreign client: what it decodes of an address, frame by frame, and what it has to say about it."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from tests.media import tools
from tests.world import Client, World

_TIMEOUT_S = 60


@dataclass(slots=True)
class Stream:
    """One decoded stream: a digest for each frame, and where the last one ends."""

    kind: str
    frames: list[str] = field(default_factory=list)
    start_s: float | None = None
    end_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Decoded:
    """What ffmpeg made of an address."""

    return_code: int
    complaints: str
    streams: Mapping[int, Stream]

    def of(self, kind: str) -> list[Stream]:
        """The streams of a kind: `video` or `audio`."""
        return [stream for stream in self.streams.values() if stream.kind == kind]

    @property
    def only(self) -> Stream:
        """The stream, where there is just one."""
        (stream,) = self.streams.values()
        return stream


async def play(address: str, client: Client | None = None) -> Decoded:
    """Decode everything at an absolute address, with the client's token in a header where there is one."""
    token = None if client is None else client.token
    given = () if token is None else ("-headers", f"Authorization: Bearer {token}\r\n")
    return await asyncio.to_thread(decode, *given, "-i", address)


async def play_file(world: World, client: Client, recording: str, name: str) -> Decoded:
    """Decode one file of a recording as a session's holder."""
    return await play(f"{world.url}/v1/recordings/{recording}/{name}", client)


def decode(*source: str) -> Decoded:
    """Decode every stream of `source` (ffmpeg's input options); blocks."""
    done = subprocess.run(
        [
            *(str(tools().ffmpeg), "-nostdin", "-hide_banner", "-loglevel", "warning", "-xerror", *source),
            *("-map", "0", "-fps_mode", "passthrough", "-f", "framemd5", "-"),
        ],
        capture_output=True,
        check=False,
        timeout=_TIMEOUT_S,
        text=True,
        errors="replace",
    )
    return Decoded(done.returncode, done.stderr, _streams(done.stdout.splitlines()))


def _streams(lines: list[str]) -> dict[int, Stream]:
    streams: dict[int, Stream] = {}
    ticks: dict[int, Fraction] = {}
    for line in lines:
        if line.startswith("#tb "):
            number, tick = line.removeprefix("#tb ").split(":", 1)
            ticks[int(number)] = Fraction(tick.strip())
        elif line.startswith("#media_type "):
            number, kind = line.removeprefix("#media_type ").split(":", 1)
            streams[int(number)] = Stream(kind.strip())
        elif line and not line.startswith("#"):
            number, _dts, pts, duration, _size, digest = (part.strip() for part in line.split(","))
            stream, tick_s = streams[int(number)], ticks[int(number)]
            stream.frames.append(digest)
            start_s = float(int(pts) * tick_s)
            stream.start_s = start_s if stream.start_s is None else stream.start_s
            stream.end_s = max(stream.end_s, start_s + float(int(duration) * tick_s))
    return streams
