"""Sealed session records in Redis or Valkey, by the hash of their token.

Invariants: what is stored here opens with neither this store nor the tier secret alone; a record's time to live
never exceeds its session's; driver errors are `RecordsUnavailable`.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from typing import Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from keys.records import HEAD_BYTES, RecordId, sealed_under
from vault.sessions.errors import RecordsUnavailable

_PREFIX: Final = b"rv:record:"


@dataclass(frozen=True, slots=True)
class RecordStore:
    """Sealed records. Every method may raise `RecordsUnavailable`."""

    redis: Redis

    async def put(self, record_id: RecordId, record: bytes, *, ttl_s: int) -> None:
        """Store a record for `ttl_s` seconds."""
        async with _translated():
            await self.redis.set(_PREFIX + record_id, record, ex=max(ttl_s, 1))

    async def find(self, record_id: RecordId) -> bytes | None:
        """The record, or None where it was revoked or has run out."""
        async with _translated():
            record: bytes | None = await self.redis.get(_PREFIX + record_id)
            return record

    async def live(self, record_ids: Iterable[RecordId], *, ttl_s: int) -> bool:
        """Whether all of these still stand; they are kept for `ttl_s` seconds, those after the first at least."""
        names = [_PREFIX + each for each in record_ids]
        async with _translated(), self.redis.pipeline(transaction=False) as pipeline:
            pipeline.exists(*names)
            pipeline.expire(names[0], max(ttl_s, 1))
            for parent in names[1:]:
                pipeline.expire(parent, max(ttl_s, 1), gt=True)
            found, *_ = await pipeline.execute()
            return bool(found == len(names))

    async def shorten(self, record_id: RecordId, *, ttl_s: int) -> None:
        """Let a record end in `ttl_s` seconds unless it ends sooner."""
        async with _translated():
            await self.redis.expire(_PREFIX + record_id, max(ttl_s, 1), lt=True)

    async def drop(self, record_ids: Iterable[RecordId]) -> None:
        """Remove records: their sessions end now."""
        names = [_PREFIX + each for each in record_ids]
        if names:
            async with _translated():
                await self.redis.delete(*names)

    async def count_under(self, tier: str) -> int:
        """How many records were sealed under the tier secret of this id, in hexadecimal; looks at all of them."""
        found, cursor = 0, 0
        async with _translated():
            while True:
                cursor, names = await self.redis.scan(cursor, match=_PREFIX + b"*", count=1000)
                async with self.redis.pipeline(transaction=False) as pipeline:
                    for name in names:
                        pipeline.getrange(name, 0, HEAD_BYTES - 1)
                    heads: list[bytes] = await pipeline.execute()
                found += sum(sealed_under(head) == tier for head in heads)
                if not cursor:
                    return found

    async def ping(self) -> None:
        """Return when the store answers."""
        async with _translated():
            await self.redis.get(_PREFIX)


@contextlib.asynccontextmanager
async def _translated() -> AsyncIterator[None]:
    try:
        yield
    except (RedisError, OSError, TimeoutError) as error:
        raise RecordsUnavailable(f"the session store does not answer ({type(error).__name__})") from None
