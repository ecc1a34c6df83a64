"""The worker role: transcodes what is queued for it, and sets right what crashes left behind."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from keys.handover import load_worker_key
from transcoder.binaries import find_tools
from transcoder.sandbox import Sandbox
from vault.app.background import background
from vault.app.ground import Ground, lay_ground, utc_now
from vault.catalog.migrate import Schema, require_current
from vault.queue import WakeUps, open_queue
from vault.redis_client import connect_waiting_redis
from vault.settings import WorkerSettings
from vault.work.consumer import consume
from vault.work.making import Maker
from vault.work.reconciler import Reconciler
from vault.work.worker import Worker


@contextlib.asynccontextmanager
async def worker_role(settings: WorkerSettings) -> AsyncIterator[None]:
    """The role by itself, for the length of the block."""
    async with lay_ground(settings, role="worker") as ground:
        await require_current(ground.catalog, Schema.CATALOG)
        async with working(settings, ground):
            yield


@contextlib.asynccontextmanager
async def working(settings: WorkerSettings, ground: Ground) -> AsyncIterator[None]:
    """Work on given ground; raises `ToolsMissing` or `MasterUnusable`."""
    tools = await asyncio.to_thread(find_tools, settings.ffmpeg_path)
    worker = Worker(
        catalog=ground.catalog,
        store=ground.store,
        key=load_worker_key(settings.worker_file),
        maker=Maker(ground.store, tools, Sandbox(), utc_now),
        alarm=ground.alarm,
        clock=utc_now,
    )
    queue = open_queue(connect_waiting_redis(settings.redis))
    reconciler = Reconciler(ground.catalog, ground.store, WakeUps(queue), utc_now)
    try:
        async with (
            background(consume(queue, worker, jobs=settings.worker_jobs), name="worker"),
            background(reconciler.run(), name="reconciler"),
        ):
            yield
    finally:
        await queue.disconnect()
