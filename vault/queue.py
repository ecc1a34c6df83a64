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
# A wake-up whose worker was silent for this long is swept.
HEARTBEAT_S: Final = 30

_log = structlog.get_logger("replayvault.work")


@dataclass(frozen=True, slots=True)
class WakeUps:
    """Wakes workers up."""

    queue: RedisQueue

    async def transcode(self, recording_id: RecordingId, *, attempt: int = 0) -> None:
        """Wake a worker for a recording. Best effort: an unreachable Redis only delays the job.

        `attempt` counts how often the job was begun. It stands in the key, so that repeated wake-ups for one
        attempt are one, and what is left of a dead worker's attempt keeps nobody from the next.
        """
        job = Job(
            function=TRANSCODE,
            kwargs={"recording_id": str(recording_id)},
            key=f"{TRANSCODE}:{recording_id}:{attempt}",
            timeout=0,
            heartbeat=HEARTBEAT_S,
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
