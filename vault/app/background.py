"""Work that goes on for ever beside a role: begun with it, ended with it, and missed where it ends by itself."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import structlog

from vault.api.traces import describe

_log = structlog.get_logger("replayvault.background")


@contextlib.asynccontextmanager
async def background(work: Coroutine[Any, Any, None], *, name: str) -> AsyncIterator[None]:
    """Run `work` for the length of the block."""
    task = asyncio.create_task(work, name=name)
    task.add_done_callback(_miss)
    try:
        yield
    finally:
        task.remove_done_callback(_miss)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _miss(task: asyncio.Task[None]) -> None:
    """Say at once that something stopped which should not have: a role that lost a part of it looks well otherwise."""
    if task.cancelled():
        return
    error = task.exception()
    why = {} if error is None else describe(error)
    _log.critical("work in the background has ended by itself", work=task.get_name(), **why)
