"""Which tier secrets each running replica holds, told through Redis or Valkey: ids, never a secret.

Invariants: what a replica said is forgotten `LIFE_S` after it fell silent; a replica tells what it holds at the
moment, so what is read here was true.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from vault.sessions.errors import RecordsUnavailable

LIFE_S: Final = 15
_PREFIX: Final = "rv:tiers:"


@dataclass(frozen=True, slots=True)
class Replicas:
    """Replicas by name. Every method may raise `RecordsUnavailable`."""

    redis: Redis

    async def tell(self, name: str, ids: Sequence[str]) -> None:
        """Say which tier secrets a replica holds, the sealing one first."""
        async with _translated():
            await self.redis.set(_PREFIX + name, " ".join(ids), ex=LIFE_S)

    async def leave(self, name: str) -> None:
        """A replica ends."""
        async with _translated():
            await self.redis.delete(_PREFIX + name)

    async def living(self) -> Mapping[str, tuple[str, ...]]:
        """What each living replica holds, the sealing one first."""
        async with _translated():
            names = sorted([each async for each in self.redis.scan_iter(match=f"{_PREFIX}*", count=1000)])
            told = await self.redis.mget(names) if names else []
            return {
                name.decode().removeprefix(_PREFIX): tuple(text.decode("ascii").split())
                for name, text in zip(names, told, strict=True)
                if text is not None
            }


@contextlib.asynccontextmanager
async def _translated() -> AsyncIterator[None]:
    try:
        yield
    except (RedisError, OSError, TimeoutError) as error:
        raise RecordsUnavailable(f"the session store does not answer ({type(error).__name__})") from None
