"""What all replicas share in Redis: the recent mismatches, and the last opening of the breaker.

`rv:breaker:recent` is a sorted set of mismatches by their time, `rv:breaker:state` a hash. Time is Redis's own: one
clock for all replicas.

Invariants: each change is one transaction or script, so that two replicas neither lose a mismatch nor open twice; an
opening that stands is never overwritten; no patient, recording or session stands here; driver errors are
`BreakerUnavailable`.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass
from typing import Any, Final, cast

from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError, WatchError

from vault.breaker.errors import AnotherOpening, BreakerUnavailable, UnreadableRecord
from vault.breaker.window import Limit, Opening, Record, counted, past_ms, too_many

RECENT: Final = "rv:breaker:recent"
STATE: Final = "rv:breaker:state"
# The driver tries again by itself; an answer that waits for it has to come all the same.
TIMEOUT_S: Final = 2.0

_UNREADABLE: Final = (
    "what Redis says of the listing breaker cannot be read, and no list is answered: find out who wrote it, then: "
    "replayvault breaker close --reason …"
)

# ARGV: id, at_ms, release, place, count.
_OPEN: Final = """
if redis.call('HGET', KEYS[1], 'state') == 'open' then return 0 end
redis.call('HSET', KEYS[1], 'state', 'open', 'id', ARGV[1], 'at_ms', ARGV[2], 'release', ARGV[3],
           'place', ARGV[4], 'count', ARGV[5])
return 1
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
        """The last opening, None where there never was one; raises `UnreadableRecord`."""
        async with _translated():
            return await _read(self.redis)

    async def mismatch(self, limit: Limit, *, release: str, place: str, now_ms: int) -> Opening | None:
        """Count one mismatch; the opening, where it is the one that opens."""
        count = counted(await self._remember(now_ms, limit), now_ms=now_ms, limit=limit)
        if not too_many(count, limit):
            return None
        opening = Opening.new(at_ms=now_ms, release=release, place=place, count=count)
        return opening if await self.open(opening) else None

    async def _remember(self, now_ms: int, limit: Limit) -> list[int]:
        """Add one mismatch in one transaction with what others added; the moments of all that may count."""
        async with _translated(), self.redis.pipeline(transaction=True) as pipeline:
            pipeline.zadd(RECENT, {f"{now_ms}-{secrets.token_hex(8)}": now_ms})
            pipeline.zremrangebyscore(RECENT, "-inf", past_ms(now_ms, limit))
            pipeline.zremrangebyrank(RECENT, 0, -(limit.threshold + 2))
            pipeline.pexpire(RECENT, limit.window_ms)
            pipeline.zrange(RECENT, 0, -1, withscores=True)
            *_, found = await pipeline.execute()
            return [int(score) for _, score in found]

    async def open(self, opening: Opening) -> bool:
        """Open it; False where it is open already, by whatever it was."""
        return bool(await self._run(_OPEN, *_fields(opening)))

    async def close(self, opening: Opening) -> None:
        """Close what `opening` opened, and forget recent mismatches; raises `AnotherOpening`."""
        if not await self._run(_CLOSE, opening.opening_id):
            raise AnotherOpening(
                "nothing was closed: it was closed, or opened anew, meanwhile; see: replayvault breaker status"
            )

    async def clear(self) -> None:
        """Remove a record that cannot be read; raises `AnotherOpening` where there is none such by now.

        Closes nothing: a process that saw an opening puts it back.
        """
        gone = AnotherOpening("nothing was cleared: see what stands there now: replayvault breaker status")
        async with _translated(), self.redis.pipeline(transaction=True) as pipeline:
            await pipeline.watch(STATE)
            with contextlib.suppress(UnreadableRecord):
                await _read(pipeline)
                raise gone
            cast("Any", pipeline).multi()  # the driver leaves this one untyped
            pipeline.delete(STATE)
            try:
                await pipeline.execute()
            except WatchError:
                raise gone from None

    async def _run(self, script: str, *words: str | int) -> Any:
        async with _translated():
            return await cast("Awaitable[Any]", self.redis.eval(script, 2, STATE, RECENT, *map(str, words)))


def _fields(opening: Opening) -> tuple[str | int, ...]:
    return opening.opening_id, opening.at_ms, opening.release, opening.place, opening.count


async def _read(redis: Redis) -> Record | None:
    try:
        found = await cast("Awaitable[dict[bytes, bytes]]", redis.hgetall(STATE))
    except ResponseError as error:
        if not str(error).startswith("WRONGTYPE"):
            raise
        raise UnreadableRecord(_UNREADABLE) from None
    try:
        return _record({name.decode(): value.decode() for name, value in found.items()})
    except (KeyError, ValueError):
        raise UnreadableRecord(_UNREADABLE) from None


def _record(fields: dict[str, str]) -> Record | None:
    if not fields:
        return None
    opening = Opening(
        fields["id"], int(fields["at_ms"]), fields["release"], fields["place"], int(fields["count"])
    )
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
