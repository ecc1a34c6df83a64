"""Time to the first byte of a seek, for recordings of very different sizes: it must not grow."""

from __future__ import annotations

import random
import statistics
import time
from typing import Final

import aiohttp

from bench.place import Serving, serving
from bench.recordings import TRACK

SIZES_BYTES: Final = (10_000_000, 1_000_000_000, 4_000_000_000)
SEEKS: Final = 100
_WARM_UP: Final = 10
_SPAN_BYTES: Final = 1_000_000
# Noise of a busy machine; time that grew with the size would be hundreds of times more.
_FACTOR: Final = 2.0
_SLACK_MS: Final = 2.0


async def measure() -> bool:
    """Run and print; whether the time stayed the same."""
    print(f"seek: time to first byte of {SEEKS} random ranges of {_SPAN_BYTES / 1e6:.0f} MB each", flush=True)
    medians = []
    async with serving(SIZES_BYTES) as place, aiohttp.ClientSession(place.url) as http:
        for recording, size in zip(place.recordings, SIZES_BYTES, strict=True):
            times = await _seeks(http, place, recording, size)
            medians.append(statistics.median(times))
            slowest = sorted(times)[int(len(times) * 0.95)]
            print(f"  {size / 1e6:6.0f} MB   median {medians[-1]:6.2f} ms   95 % {slowest:6.2f} ms")
    return max(medians) < _FACTOR * medians[0] + _SLACK_MS


async def _seeks(http: aiohttp.ClientSession, place: Serving, recording: str, size: int) -> list[float]:
    """Milliseconds from the request to the first byte of each answer's body."""
    dice = random.Random(4)  # noqa: S311 - which ranges, not a secret
    times = []
    for number in range(_WARM_UP + SEEKS):
        first = dice.randrange(size - _SPAN_BYTES)
        headers = {
            "Authorization": f"Bearer {place.token}",
            "Range": f"bytes={first}-{first + _SPAN_BYTES - 1}",
        }
        started_s = time.perf_counter()
        async with http.get(f"/v1/recordings/{recording}/{TRACK}", headers=headers) as answer:
            answer.raise_for_status()
            await answer.content.readany()
            took_ms = (time.perf_counter() - started_s) * 1000
            await answer.read()
        times += [took_ms] if number >= _WARM_UP else []
    return times
