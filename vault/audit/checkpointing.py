"""Checkpoints of the log that this process writes: signed, and kept beside the file as `<writer>.checkpoint`.

Invariants:
- a checkpoint covers entries that are durable, and nothing else;
- there is one for every second or `EVERY_ENTRIES` entries, whichever comes first, and none where nothing is new;
- what goes wrong here is logged and tried again; it fails no entry.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path
from typing import Final

import structlog

from keys.secret import AuditKey
from vault.audit.checkpoint import Checkpoint, seal_checkpoint
from vault.audit.log import AuditLog, Clock

EVERY_S: Final = 1.0
EVERY_ENTRIES: Final = 1000
SUFFIX: Final = ".checkpoint"

_log = structlog.get_logger("replayvault.audit")


class Checkpointer:
    """Start `run` as a task; call `aclose` once the log is closed."""

    def __init__(self, log: AuditLog, key: AuditKey, *, clock: Clock) -> None:
        self._log = log
        self._key = key
        self._clock = clock
        self._signed = 0
        self._is_failing = False
        self._writing: asyncio.Future[None] | None = None

    @property
    def path(self) -> Path:
        """Where the last checkpoint stands."""
        return self._log.path.with_suffix(SUFFIX)

    async def run(self) -> None:
        """Make checkpoints for ever."""
        while True:
            await self._log.wait_beyond(self._signed)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(EVERY_S):
                    await self._log.wait_beyond(self._signed + EVERY_ENTRIES - 1)
            await self.make()
            if self._is_failing:
                await asyncio.sleep(EVERY_S)

    async def make(self) -> None:
        """Sign what there is, if anything is new."""
        head = self._log.head()
        if head.size == self._signed:
            return
        checkpoint = Checkpoint(
            writer=self._log.path.stem,
            size=head.size,
            root=head.root,
            last_hash=head.last_hash,
            at=self._clock(),
        )
        if self._writing is not None:
            await asyncio.wait([self._writing])  # of a caller that was cancelled: never two at once
        note = seal_checkpoint(checkpoint, self._key)
        self._writing = asyncio.ensure_future(asyncio.to_thread(_replace, self.path, note))
        try:
            await asyncio.shield(self._writing)
        except OSError as error:
            if not self._is_failing:
                _log.error("a checkpoint of the audit log could not be written", reason=error.strerror)
            self._is_failing = True
            return
        self._signed, self._is_failing = head.size, False


def _replace(path: Path, note: bytes) -> None:
    """Put the note where the last one stands, whole or not at all."""
    draft = path.with_name(f".{path.name}.draft")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(note)
        file.flush()
        os.fsync(descriptor)
    draft.replace(path)
