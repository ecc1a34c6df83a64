"""Takes wake-ups from the queue and hands them to the worker.

Invariants: a consumer never stops for an unreachable Redis, and asks it no more than twice a second; on shutdown
running jobs are cancelled, which hands them back.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Any, Final

from redis.exceptions import RedisError
from saq import Job
from saq import Worker as SaqWorker
from saq.queue.redis import RedisQueue

from keys.ids import parse_recording_id
from vault.queue import HEARTBEAT_S, TRANSCODE
from vault.work.worker import Worker

_PAUSE_S: Final = 0.5

# Its lines hold tracebacks; ours come from `vault.work.worker`.
logging.getLogger("saq").setLevel(logging.CRITICAL)


class _Consumer(SaqWorker[Any]):
    # The process that runs us handles signals.
    SIGNALS = []  # noqa: RUF012 - SAQ declares it as a list

    async def process(self) -> bool:
        """One wake-up; SAQ would ask an unreachable Redis again at once, for ever."""
        done = await super().process()
        if not done:
            await asyncio.sleep(_PAUSE_S)
        return done


async def consume(queue: RedisQueue, worker: Worker, *, jobs: int) -> None:
    """Work until cancelled, on `jobs` recordings at a time."""

    async def transcode(context: dict[str, Any], *, recording_id: str) -> None:
        async with _beating(context["job"]):
            await worker.transcode(parse_recording_id(recording_id))

    consumer = _Consumer(
        queue,
        functions=[(TRANSCODE, transcode)],
        concurrency=jobs,
        cancellation_hard_deadline_s=10.0,
    )
    await consumer.start()


@contextlib.asynccontextmanager
async def _beating(job: Job) -> AsyncIterator[None]:
    async def beat() -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_S / 3)
            with contextlib.suppress(RedisError, OSError):
                await job.update()

    task = asyncio.create_task(beat())
    try:
        yield
    finally:
        task.cancel()
