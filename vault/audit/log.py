"""The audit log of one process: an append-only file, synced before any entry counts as written.

Invariants:
- `write` returns only once the entry is on the disk; entries that arrive together share one sync;
- it fails closed: disk full, read-only or unlinked raise `AuditUnavailable`, and a later entry tries again;
- a failed write leaves no half line: the file is cut back to its last good byte;
- each process writes a file of its own, so that two can never fork one chain;
- whoever waits for an entry gets an answer, also when the log is closed or breaks meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import os
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from vault.audit.entry import FIRST_PREV, Action, Decision, Event, seal_line
from vault.audit.errors import AuditUnavailable
from vault.audit.merkle import Tree, leaf_hash

Clock = Callable[[], dt.datetime]

ALIVE_EVERY_S: Final = 4.0


@dataclass(frozen=True, slots=True)
class Head:
    """The entries of a file so far: how many, the Merkle root over their lines, the hash of the last one."""

    size: int
    root: bytes
    last_hash: str


class AuditLog:
    """Open with `AuditLog.open`; close with `aclose`."""

    def __init__(self, path: Path, descriptor: int, *, role: str, release: str, clock: Clock) -> None:
        self._path = path
        self._descriptor = descriptor
        self._role = role
        self._release = release
        self._clock = clock
        self._tree = Tree()
        self._seq = 0
        self._prev = FIRST_PREV
        self._size_bytes = 0
        self._waiting: list[tuple[Event, asyncio.Future[None]]] = []
        self._wake = asyncio.Event()
        self._closing = False
        self._task: asyncio.Task[None] | None = None
        self._alive: asyncio.Future[None] | None = None
        self._written_s = 0.0
        self._grown = asyncio.Event()

    @classmethod
    async def open(cls, folder: Path, *, role: str, release: str, clock: Clock) -> Self:
        """Begin a new file in `folder`; raises `AuditUnavailable`."""
        name = f"{clock():%Y%m%dT%H%M%S}-{role}-{secrets.token_hex(4)}.jsonl"
        try:
            descriptor = await asyncio.to_thread(_create, folder / name)
        except OSError as error:
            raise AuditUnavailable(f"cannot write the audit log in {folder}: {error.strerror}") from None
        log = cls(folder / name, descriptor, role=role, release=release, clock=clock)
        log._task = task = asyncio.create_task(log._run(), name="audit-log")
        try:
            await log.write(Event(action=Action.WRITER_OPEN, decision=Decision.ALLOW, actor="system"))
        except BaseException:
            await log._end(task)
            raise
        return log

    @property
    def path(self) -> Path:
        """The file that this process writes."""
        return self._path

    @property
    def size(self) -> int:
        """Entries that are durable."""
        return self._tree.size

    def head(self) -> Head:
        """What a checkpoint says of the file as it is now."""
        return Head(self._tree.size, self._tree.root(), self._prev)

    async def wait_beyond(self, size: int) -> None:
        """Return once there are more than `size` entries. For one task alone."""
        while self._tree.size <= size:
            self._grown.clear()
            await self._grown.wait()

    async def write(self, event: Event) -> None:
        """Return when the entry is durable; raises `AuditUnavailable`."""
        if self._task is None or self._task.done() or self._closing:
            raise AuditUnavailable("the audit log is closed")
        await self._queued(event)

    def _queued(self, event: Event) -> asyncio.Future[None]:
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((event, written))
        self._wake.set()
        return written

    async def require_writable(self) -> None:
        """Return while entries can be written; raises `AuditUnavailable`.

        For streams that run long after their entry: asks the disk at most every `ALIVE_EVERY_S`, by an entry of
        its own that all of them share.
        """
        if time.monotonic() - self._written_s < ALIVE_EVERY_S:
            return
        if self._alive is None or self._alive.done():
            event = Event(action=Action.WRITER_ALIVE, decision=Decision.ALLOW, actor="system")
            self._alive = asyncio.ensure_future(self.write(event))
        await asyncio.shield(self._alive)

    async def aclose(self) -> None:
        """Write a last entry and close the file."""
        if self._task is None or self._closing:
            return
        # From here on nothing is queued behind the last entry, so nothing is being written when the file closes.
        self._closing = True
        last = Event(action=Action.WRITER_CLOSE, decision=Decision.ALLOW, actor="system")
        try:
            if not self._task.done():
                with contextlib.suppress(AuditUnavailable):
                    await self._queued(last)
        finally:
            await self._end(self._task)

    async def _end(self, task: asyncio.Task[None]) -> None:
        self._closing = True
        self._wake.set()
        await asyncio.wait([task])  # not cancelled: a thread may be writing to the descriptor
        self._task = None
        await asyncio.to_thread(os.close, self._descriptor)

    async def _run(self) -> None:
        batch: list[tuple[Event, asyncio.Future[None]]] = []
        try:
            while self._waiting or not self._closing:
                await self._wake.wait()
                self._wake.clear()
                batch, self._waiting = self._waiting, []
                await self._flush(batch)
        finally:
            _settle(batch + self._waiting, failure=AuditUnavailable("the audit log is closed"))
            self._waiting = []

    async def _flush(self, batch: list[tuple[Event, asyncio.Future[None]]]) -> None:
        lines, seq, prev = [], self._seq, self._prev
        for event, _ in batch:
            line, prev = seal_line(
                event,
                seq=seq,
                at=self._clock(),
                role=self._role,
                release=self._release,
                prev=prev,
            )
            lines.append(line)
            seq += 1
        data = b"".join(lines)
        try:
            await asyncio.to_thread(_append, self._descriptor, data, at=self._size_bytes)
        except OSError as error:
            reason = AuditUnavailable(f"the audit log cannot be written: {error.strerror}")
            _settle(batch, failure=reason)
            return
        self._seq, self._prev, self._size_bytes = seq, prev, self._size_bytes + len(data)
        for line in lines:
            self._tree.add(leaf_hash(line[:-1]))
        self._written_s = time.monotonic()
        self._grown.set()
        _settle(batch, failure=None)


def _settle(batch: list[tuple[Event, asyncio.Future[None]]], *, failure: AuditUnavailable | None) -> None:
    for _, written in batch:
        if written.done():
            continue  # whoever waited was cancelled
        if failure is None:
            written.set_result(None)
        else:
            written.set_exception(failure)


def _create(path: Path) -> int:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return descriptor


def _append(descriptor: int, data: bytes, *, at: int) -> None:
    if os.fstat(descriptor).st_nlink == 0:
        raise FileNotFoundError(None, "the file was removed")
    try:
        if os.pwrite(descriptor, data, at) != len(data):
            raise OSError(None, "short write")  # noqa: TRY301 - one way out for every failure
        os.fsync(descriptor)
    except OSError:
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, at)
        raise
