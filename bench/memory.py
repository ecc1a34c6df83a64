"""Peak memory of `serve` while fifty slow clients stream one recording of 4 GiB."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from bench.place import Serving, serving
from bench.recordings import TRACK

SIZE_BYTES: Final = 4 * 1024**3
CLIENTS: Final = 50
LENGTH_S: Final = 30.0
LIMIT_MB: Final = 300.0
_SIP_BYTES: Final = 64 * 1024
_PAUSE_S: Final = 0.1
_MB: Final = 1_000_000


async def measure() -> bool:
    """Run and print; whether the limit held."""
    print(f"memory: {CLIENTS} slow clients on one recording of {SIZE_BYTES / 1024**3:.0f} GiB", flush=True)
    async with serving([SIZE_BYTES]) as place:
        before_mb = _resident_mb(place.pid)
        started_s = time.monotonic()
        received = await asyncio.gather(*(_sip(place, number) for number in range(CLIENTS)))
        took_s, peak_mb = time.monotonic() - started_s, _peak_mb(place.pid)
    total = sum(received)
    print(
        f"  sent          {total / _MB:8.0f} MB in {took_s:.0f} s, every client at least {min(received) / _MB:.1f} MB"
    )
    print(f"  RSS before    {before_mb:8.0f} MB")
    print(f"  RSS at most   {peak_mb:8.0f} MB (limit {LIMIT_MB:.0f})")
    return peak_mb < LIMIT_MB and min(received) > 0


async def _sip(place: Serving, number: int) -> int:
    """Read slowly from somewhere in the recording, then hang up; bytes received."""
    first = number * (SIZE_BYTES // CLIENTS)
    parts = urlsplit(place.url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port, limit=_SIP_BYTES)
    try:
        writer.write(
            f"GET /v1/recordings/{place.recordings[0]}/{TRACK} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
            f"Authorization: Bearer {place.token}\r\nRange: bytes={first}-\r\n\r\n".encode()
        )
        head = await reader.readuntil(b"\r\n\r\n")
        if b" 206 " not in head.partition(b"\r\n")[0]:
            raise RuntimeError("the server did not send a range")
        received, until_s = 0, time.monotonic() + LENGTH_S
        while time.monotonic() < until_s:
            received += len(await reader.read(_SIP_BYTES))
            await asyncio.sleep(_PAUSE_S)
        return received
    finally:
        writer.transport.abort()


def _resident_mb(pid: int) -> float:
    return _status_mb(pid, "VmRSS")


def _peak_mb(pid: int) -> float:
    return _status_mb(pid, "VmHWM")


def _status_mb(pid: int, field: str) -> float:
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    kib = next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))
    return kib * 1024 / _MB
