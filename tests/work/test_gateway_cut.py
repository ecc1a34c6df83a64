"""A run that is cut off while its gateway begins to listen, once or twice, leaves no socket behind."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from vault.work.gateway import Gateway

STEPS = 12


@pytest.fixture
def listeners(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[socket.socket]]:
    """Every socket that began to listen."""
    found: list[socket.socket] = []
    listen = socket.socket.listen

    def noted(self: socket.socket, *given: Any) -> None:
        found.append(self)
        listen(self, *given)

    monkeypatch.setattr(socket.socket, "listen", noted)
    yield found
    for each in found:
        each.close()


@pytest.mark.parametrize("again", [None, 0, 1, 2, 3])
@pytest.mark.parametrize("steps", range(STEPS))
async def test_cut_off_after_any_step(listeners: list[socket.socket], steps: int, again: int | None) -> None:
    nothing: Any = None

    async def listens() -> None:
        async with Gateway.listening(nothing, nothing):
            await asyncio.Event().wait()

    task = asyncio.create_task(listens())
    for _ in range(steps):
        await asyncio.sleep(0)
    task.cancel()
    if again is not None:
        for _ in range(again):
            await asyncio.sleep(0)
        task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert [each for each in listeners if each.fileno() >= 0] == []
    assert steps < STEPS - 1 or listeners, "the last of them listened"
