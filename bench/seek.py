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
    times: list[list[float]] = [[] for _ in SIZES_BYTES]
    dice = random.Random(4)  # noqa: S311 - which ranges, not a secret
    async with serving(SIZES_BYTES) as place, aiohttp.ClientSession(place.url) as http:
        # In turn, so that whatever else the machine does meets all sizes alike.
        for number in range(_WARM_UP + SEEKS):
            for taken, recording, size in zip(times, place.recordings, SIZES_BYTES, strict=True):
                took_ms = await _seek(http, place, recording, first=dice.randrange(size - _SPAN_BYTES))
                taken.extend([took_ms] if number >= _WARM_UP else [])
    medians = [statistics.median(taken) for taken in times]
    for taken, median, size in zip(times, medians, SIZES_BYTES, strict=True):
        slowest = sorted(taken)[int(len(taken) * 0.95)]
        print(f"  {size / 1e6:6.0f} MB   median {median:6.2f} ms   95 % {slowest:6.2f} ms")
    return max(medians) < _FACTOR * medians[0] + _SLACK_MS


async def _seek(http: aiohttp.ClientSession, place: Serving, recording: str, *, first: int) -> float:
    """Milliseconds from the request to the first byte of the answer's body."""
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
    return took_ms
