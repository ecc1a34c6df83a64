"""The wake-up queue: SAQ on Redis. It carries recording ids and nothing else; the catalog is the truth.

Invariants: losing the whole queue loses time and no work, since the reconciler fills it from the catalog; a wake-up
for a job that is done or held does nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError
from saq import Job
from saq.queue.redis import RedisQueue

from keys.ids import RecordingId

NAME: Final = "replayvault"
TRANSCODE: Final = "transcode"

_log = structlog.get_logger("replayvault.work")


@dataclass(frozen=True, slots=True)
class WakeUps:
    """Wakes workers up."""

    queue: RedisQueue

    async def transcode(self, recording_id: RecordingId) -> None:
        """Wake a worker for a recording. Best effort: an unreachable Redis only delays the job."""
        # The key makes a second wake-up of a waiting one the same job. A lost or stuck one must not keep a new
        # one away for ever, so it is swept after the heartbeat that a dead worker no longer sends.
        job = Job(
            function=TRANSCODE,
            kwargs={"recording_id": str(recording_id)},
            key=f"{TRANSCODE}:{recording_id}",
            timeout=0,
            heartbeat=30,
            retries=3,
            ttl=1,
        )
        try:
            await self.queue.enqueue(job)
        except (RedisError, OSError, TimeoutError) as error:
            _log.warning("wake-up not sent; the reconciler will", error=type(error).__name__)


def open_queue(redis: Redis) -> RedisQueue:
    """The queue on a client of its own (blocking reads must not hold up session records)."""
    return RedisQueue(redis, name=NAME)
