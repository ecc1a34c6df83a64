"""Anchors of the log: its checkpoints, copied to where this machine's disk cannot take them back.

One `Anchoring` for each place, so that a place that hangs holds up no other. It reads checkpoints from the audit
folder, where they wait; so it needs no memory for what is still to do, and finds what a process that died left behind.

Invariants:
- what is copied was signed by this process's own key, and is copied as it stands;
- a busy writer has one anchor at once, one for every `EVERY_S`, and one at its end; each stands under its own size;
- a place that is slow or dead delays nothing and fails nothing: it shows in `unanchored` and in the log.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from pathlib import Path
from typing import Final

import structlog

from keys.errors import KeysError
from keys.notes import NoteKey
from vault.audit.checkpoint import Checkpoint, open_checkpoint
from vault.audit.checkpointing import SUFFIX
from vault.objects.anchors import AnchorName, AnchorPlace
from vault.objects.errors import ObjectExists, ObjectsError

# The time for which whoever owns disk and key of this machine could still rewrite the log unseen.
EVERY_S: Final = 60.0
# Until the first checkpoint of a new file is anchored.
_SOON_S: Final = 0.5
_LONGEST_PAUSE_S: Final = 300.0
CLOSE_TIMEOUT_S: Final = 5.0
# A writer that did not move for so long is dead, or has anchored this itself.
_LEFT_BEHIND_S: Final = 2 * EVERY_S
_OTHERS_A_ROUND: Final = 200

_log = structlog.get_logger("replayvault.audit")


class Anchoring:
    """Carries checkpoints to one place. Start `run` as a task; call `aclose` after the last checkpoint."""

    def __init__(self, place: AnchorPlace, own: Path, *, key: NoteKey, name: str) -> None:
        self._place = place
        self._own = own
        self._key = key
        self._name = name
        self._failures = 0
        self._carried: dict[str, int] = {}  # checkpoint file → time of the version that stands there
        self.anchored = 0

    async def run(self) -> None:
        """Anchor for ever."""
        while True:
            pause_s = _SOON_S if self.anchored == 0 else EVERY_S
            try:
                await self._round()
                self._failures = 0
            except (ObjectsError, OSError) as error:
                pause_s = self._failed(error)
            await asyncio.sleep(pause_s)

    async def aclose(self) -> None:
        """Anchor the last checkpoint if that can be done soon."""
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._carry(self._own)
        except (ObjectsError, OSError) as error:  # TimeoutError is one
            self._failed(error)

    async def _round(self) -> None:
        await self._carry(self._own)
        for path in await asyncio.to_thread(self._left_behind):
            await self._carry(path)

    def _left_behind(self) -> list[Path]:
        """Checkpoints of other writers that did not move for long, the oldest first."""
        found = []
        for path in self._own.parent.glob(f"*{SUFFIX}"):
            with contextlib.suppress(FileNotFoundError):
                moved_ns = path.stat().st_mtime_ns
                is_idle = time.time() - moved_ns / 1e9 > _LEFT_BEHIND_S
                if path != self._own and is_idle and self._carried.get(path.name) != moved_ns:
                    found.append((moved_ns, path))
        return [path for _, path in sorted(found)[:_OTHERS_A_ROUND]]

    async def _carry(self, path: Path) -> None:
        """Copy one checkpoint; raises `StoreUnavailable`."""
        found = await asyncio.to_thread(_read, path, self._key)
        if found is None:
            return
        note, checkpoint, moved_ns = found
        if self._carried.get(path.name) == moved_ns:
            return
        if checkpoint is not None and not await self._stands(note, checkpoint):
            checkpoint = None
        self._carried[path.name] = moved_ns
        if checkpoint is not None and path == self._own:
            self.anchored = max(self.anchored, checkpoint.size)

    async def _stands(self, note: bytes, checkpoint: Checkpoint) -> bool:
        name = AnchorName(checkpoint.writer, checkpoint.size)
        try:
            await self._place.put_anchor(name, note)
        except ObjectExists:
            standing = await self._place.get_anchor(name)
            if not _says_the_same(standing, checkpoint, self._key):
                _log.error("another anchor stands there: the audit log was forked", anchor=str(name))
                return False
        return True

    def _failed(self, error: Exception) -> float:
        self._failures += 1
        if self._failures == 1:
            reason = str(error) or type(error).__name__
            _log.warning("the audit log cannot be anchored", place=self._name, reason=reason)
        longest_s = min(2.0 ** min(self._failures, 10), _LONGEST_PAUSE_S)
        return longest_s * random.uniform(0.5, 1.0)  # noqa: S311 - no secret


def _read(path: Path, key: NoteKey) -> tuple[bytes, Checkpoint | None, int] | None:
    """The note, the checkpoint in it if `key` signed it for this file, and the time of the file."""
    try:
        moved_ns = path.stat().st_mtime_ns
        note = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        checkpoint = open_checkpoint(note, [key])
    except KeysError:
        return note, None, moved_ns
    return note, checkpoint if checkpoint.writer == path.stem else None, moved_ns


def _says_the_same(note: bytes, checkpoint: Checkpoint, key: NoteKey) -> bool:
    try:
        standing = open_checkpoint(note, [key])
    except KeysError:
        return False
    return (standing.size, standing.root) == (checkpoint.size, checkpoint.root)
