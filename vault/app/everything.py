"""Every role in one process: the default on one machine, with an embedded Valkey."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from vault.app.control import control, prepare_key_files
from vault.app.ground import lay_ground
from vault.app.serving import Served, join
from vault.app.stream import playback
from vault.app.worker import working
from vault.embedded import embedded_valkey
from vault.settings import AllSettings


@contextlib.asynccontextmanager
async def every_role(settings: AllSettings) -> AsyncIterator[Served]:
    """All roles, for the length of the block."""
    async with contextlib.AsyncExitStack() as stack:
        prepare_key_files(settings)
        if settings.embedded_redis:
            await stack.enter_async_context(embedded_valkey(settings.data_dir / "valkey"))
        ground = await stack.enter_async_context(lay_ground(settings, role="all"))
        controlled = await stack.enter_async_context(control(settings, ground))
        streamed = await stack.enter_async_context(playback(settings, ground))
        await stack.enter_async_context(working(settings, ground))
        # Control first: its fixed paths (…/events) must win over playback's `{file}`.
        yield join(controlled, streamed)
