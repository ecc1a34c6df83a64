"""The breaker as one process knows it: what Redis says, and what this process must not forget meanwhile.

Invariants:
- it fails closed: where Redis does not answer, no list is answered, and one mismatch that cannot be counted there
  opens the breaker of this process, which Redis is told of as soon as it answers;
- an opening that this process has seen is put back where Redis lost it; only an operator closes it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final

from prometheus_client import Gauge

from vault.breaker.errors import BreakerUnavailable, ListingStopped
from vault.breaker.shared import SharedBreaker
from vault.breaker.window import Held, Limit, Opening, settle

# How long an idle process may show the past, or keep to itself what Redis was not told.
LOOK_EVERY_S: Final = 5.0


@dataclass(slots=True)
class Breaker:
    """Start `run` as a task."""

    shared: SharedBreaker
    limit: Limit
    release: str
    gauge: Gauge
    clock_s: Callable[[], float] = time.time
    _held: Held | None = field(default=None, init=False)

    async def require_closed(self) -> None:
        """Return while lists may be answered; raises `ListingStopped` or `BreakerUnavailable`."""
        await self.look()
        if self._held is not None:
            raise ListingStopped("lists are stopped until an operator closes the breaker")

    async def mismatch(self, place: str) -> Opening | None:
        """Count one mismatch; the opening, where it is the one that opens."""
        if self._held is not None and not self._held.told:
            self._count_here(self._held)  # one wait for Redis is enough: `look` will tell it
            return None
        try:
            now_ms = await self.shared.now_ms()
            opening = await self.shared.mismatch(self.limit, release=self.release, place=place, now_ms=now_ms)
        except BreakerUnavailable:
            return self._open_here(place)
        if opening is not None:
            self._hold(Held(opening, told=True))
        return opening

    async def look(self) -> None:
        """Learn what Redis says, and tell it what it lacks; raises `BreakerUnavailable`."""
        before = self._held
        believed = settle(before, await self.shared.read())
        if believed is not None and not believed.told:
            await self.shared.open(believed.opening)
            believed = replace(believed, told=True)
        if self._held is before:  # otherwise a mismatch came meanwhile, and knows better
            self._hold(believed)

    async def run(self) -> None:
        """Look again and again, for ever."""
        while True:
            with contextlib.suppress(BreakerUnavailable):
                await self.look()
            await asyncio.sleep(LOOK_EVERY_S)

    def _count_here(self, held: Held) -> None:
        opening = replace(held.opening, count=held.opening.count + 1)
        self._hold(Held(opening, told=False))

    def _open_here(self, place: str) -> Opening | None:
        if self._held is not None:
            self._count_here(self._held)
            return None
        at_ms = int(self.clock_s() * 1000)
        opening = Opening.new(at_ms=at_ms, release=self.release, place=place, count=1)
        self._hold(Held(opening, told=False))
        return opening

    def _hold(self, held: Held | None) -> None:
        self._held = held
        self.gauge.set(0 if held is None else 1)
