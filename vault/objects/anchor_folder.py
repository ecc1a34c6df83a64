"""A second place for anchors: a folder, best on another machine's write-once disk.

Invariant: every call runs in a thread of its own that dies with the process, so that a mount that hangs holds back
neither a shutdown nor any other thread of ours.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

from vault.objects.anchors import AnchorFolder, N, SmallName
from vault.objects.folder import mapped

T = TypeVar("T")


class FolderAnchors:
    """Anchors in a folder that somebody else made or mounted."""

    def __init__(self, root: Path) -> None:
        self._folder = AnchorFolder(root)

    async def put_anchor(self, name: SmallName, data: bytes) -> None:
        """Raises `ObjectExists`, `ObjectMissing` (the folder is not there) or `StoreUnavailable`."""
        await _in_a_thread(mapped(partial(self._folder.put, name, data)))

    async def get_anchor(self, name: SmallName) -> bytes:
        """Raises `ObjectMissing` or `StoreUnavailable`."""
        return await _in_a_thread(mapped(partial(self._folder.get, name)))

    async def list_anchors(self, kind: type[N]) -> AsyncIterator[N]:
        """Raises `StoreUnavailable`."""
        for name in await _in_a_thread(mapped(partial(self._folder.names, kind))):
            yield name


async def _in_a_thread(work: Callable[[], T]) -> T:
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[T] = loop.create_future()

    def settle(tell: Callable[[], None]) -> None:
        if not ended.done():  # else nobody waits any more
            tell()

    def run() -> None:
        try:
            tell = partial(ended.set_result, work())
        except Exception as error:  # noqa: BLE001 - handed over to whoever waits
            tell = partial(ended.set_exception, error)
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(settle, tell)

    threading.Thread(target=run, name="anchors", daemon=True).start()
    return await ended
