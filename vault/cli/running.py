"""Runs a role until it is asked to stop: uvloop, hardened process, SIGTERM and SIGINT end it in order."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager

import uvloop

from vault.app.hardening import harden_process
from vault.logs import configure_logs


def run_until_stopped(role: Callable[[], AbstractAsyncContextManager[None]]) -> None:
    """Enter `role` and stay in it until SIGTERM or SIGINT."""
    harden_process()
    configure_logs()
    uvloop.run(_stay(role))


async def _stay(role: Callable[[], AbstractAsyncContextManager[None]]) -> None:
    async with _stop_signals() as stopped, role():
        await stopped.wait()


@contextlib.asynccontextmanager
async def _stop_signals() -> AsyncIterator[asyncio.Event]:
    loop, stopped = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    try:
        yield stopped
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
