"""The tier secrets of a running role: looked at again every `LOOK_S`, and told to whoever rotates them.

Invariant: a file that cannot be read, and a Redis that does not answer, change nothing of what is held; both are said
in the log and tried again.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import structlog
from redis.asyncio import Redis

from keys.errors import MasterUnusable
from keys.tier import LiveTiers
from vault.app.background import background
from vault.sessions.errors import RecordsUnavailable
from vault.sessions.replicas import Replicas

LOOK_S: Final = 1.0

_log = structlog.get_logger("replayvault.tiers")


@contextlib.asynccontextmanager
async def live_tiers(path: Path, redis: Redis, *, role: str) -> AsyncIterator[LiveTiers]:
    """The secrets in a file, for the length of the block; raises `MasterUnusable`."""
    tiers, replicas = LiveTiers(path), Replicas(redis)
    name = f"{role}-{secrets.token_hex(4)}"
    try:
        async with background(_watch(tiers, replicas, name), name="tiers"):
            yield tiers
    finally:
        with contextlib.suppress(RecordsUnavailable):
            await replicas.leave(name)


async def _watch(tiers: LiveTiers, replicas: Replicas, name: str) -> None:
    while True:
        try:
            await asyncio.to_thread(tiers.look)
            await replicas.tell(name, tiers.ids)
        except MasterUnusable as error:
            _log.error("tier secrets cannot be read again", reason=str(error))
        except RecordsUnavailable as error:
            _log.warning("tier secrets are not told", reason=str(error))
        await asyncio.sleep(LOOK_S)
