"""What all replicas share in Redis: the recent mismatches, and the last opening of the breaker.

`rv:breaker:recent` is a sorted set of mismatches by their time, `rv:breaker:state` a hash. Time is Redis's own: one
clock for all replicas.

Invariants: each change is one script, so that two replicas neither lose a mismatch nor open twice; an opening that
stands is never overwritten; no patient, recording or session stands here; driver errors are `BreakerUnavailable`.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass
from typing import Any, Final, cast

from redis.asyncio import Redis
from redis.exceptions import RedisError

from vault.breaker.errors import AnotherOpening, BreakerUnavailable
from vault.breaker.window import Limit, Opening, Record

RECENT: Final = "rv:breaker:recent"
STATE: Final = "rv:breaker:state"
# The driver tries again by itself; an answer that waits for it has to come all the same.
TIMEOUT_S: Final = 2.0

# ARGV of both: id, at_ms, release, place, count.
_PUT: Final = """
local function put()
  if redis.call('HGET', KEYS[1], 'state') == 'open' then return 0 end
  redis.call('HSET', KEYS[1], 'state', 'open', 'id', ARGV[1], 'at_ms', ARGV[2], 'release', ARGV[3],
             'place', ARGV[4], 'count', ARGV[5])
  return 1
end
"""
_OPEN: Final = f"{_PUT} return put()"
# `vault.breaker.window.slide` and `too_many`, where all replicas can see them. More ARGV: window_ms, threshold, member.
_MISMATCH: Final = f"""
{_PUT}
local now, window, threshold = tonumber(ARGV[2]), tonumber(ARGV[6]), tonumber(ARGV[7])
redis.call('ZADD', KEYS[2], now, ARGV[8])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now - window)
redis.call('ZREMRANGEBYRANK', KEYS[2], 0, -(threshold + 2))
redis.call('PEXPIRE', KEYS[2], window)
local count = redis.call('ZCARD', KEYS[2])
if count <= threshold then return {{count, 0}} end
ARGV[5] = count
return {{count, put()}}
"""
_CLOSE: Final = """
if redis.call('HGET', KEYS[1], 'state') ~= 'open' or redis.call('HGET', KEYS[1], 'id') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'state', 'closed')
redis.call('DEL', KEYS[2])
return 1
"""


@dataclass(frozen=True, slots=True)
class SharedBreaker:
    """The breaker of all replicas. Every method may raise `BreakerUnavailable`."""

    redis: Redis

    async def now_ms(self) -> int:
        """The time that all replicas agree on."""
        async with _translated():
            seconds, micros = cast("tuple[int, int]", await self.redis.time())
            return seconds * 1000 + micros // 1000

    async def read(self) -> Record | None:
        """The last opening, None where there never was one."""
        async with _translated():
            fields = await cast("Awaitable[dict[bytes, bytes]]", self.redis.hgetall(STATE))
        return _record({name.decode(): value.decode() for name, value in fields.items()})

    async def mismatch(self, limit: Limit, *, release: str, place: str, now_ms: int) -> Opening | None:
        """Count one mismatch; the opening, where it is the one that opens."""
        opening = Opening.new(at_ms=now_ms, release=release, place=place, count=0)
        more = (limit.window_ms, limit.threshold, f"{now_ms}-{secrets.token_hex(8)}")
        count, opened = await self._run(_MISMATCH, *_fields(opening), *more)
        return Opening(opening.opening_id, now_ms, release, place, count) if opened else None

    async def open(self, opening: Opening) -> bool:
        """Open it; False where it is open already, by whatever it was."""
        return bool(await self._run(_OPEN, *_fields(opening)))

    async def close(self, opening: Opening) -> None:
        """Close what `opening` opened, and forget recent mismatches; raises `AnotherOpening`."""
        if not await self._run(_CLOSE, opening.opening_id):
            raise AnotherOpening(
                "nothing was closed: it was closed, or opened anew, meanwhile; see: replayvault breaker status"
            )

    async def _run(self, script: str, *words: str | int) -> Any:
        async with _translated():
            return await cast("Awaitable[Any]", self.redis.eval(script, 2, STATE, RECENT, *map(str, words)))


def _fields(opening: Opening) -> tuple[str | int, ...]:
    return opening.opening_id, opening.at_ms, opening.release, opening.place, opening.count


def _record(fields: dict[str, str]) -> Record | None:
    if not fields:
        return None
    try:
        opening = Opening(
            fields["id"], int(fields["at_ms"]), fields["release"], fields["place"], int(fields["count"])
        )
    except (KeyError, ValueError):
        raise BreakerUnavailable("what Redis says of the listing breaker cannot be read") from None
    return Record(opening, is_open=fields["state"] != "closed")


@contextlib.asynccontextmanager
async def _translated() -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(TIMEOUT_S):
            yield
    except (RedisError, OSError, TimeoutError) as error:
        raise BreakerUnavailable(
            f"the listing breaker cannot be read or changed: Redis does not answer ({type(error).__name__})"
        ) from None
