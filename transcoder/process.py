"""One run of one program in the sandbox: started, watched, read to the end, always reaped.

Invariants: whatever happens — a cancelled task, a stall, a time limit, an error in `on_progress` — the process
group is killed with SIGKILL and waited for before `run` returns or raises; stdout and stderr are read all the time
(a full pipe would hang ffmpeg) and kept within bounds; stderr is never logged or shown, because it quotes titles
of the input: only `complaints` made from it may leave.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from .errors import SandboxUnavailable, ToolsMissing, TranscodeKilled, TranscodeStalled, TranscodeTimedOut
from .jail import REFUSED_STATUS
from .progress import Progress, ProgressParser
from .sandbox import Sandbox

ProgressCallback = Callable[[Progress], None]

_STDERR_TAIL_BYTES = 16 * 1024
_STDOUT_LIMIT_BYTES = 1024 * 1024
_READ_BYTES = 64 * 1024
_WATCH_EVERY_S = 0.25


class Complaint(enum.Enum):
    """What ffmpeg's stderr was found to say, by marker. The marker is ffmpeg's text and not the input's."""

    TOO_MANY_PIXELS = b"exceeds specified max pixel count"
    TOO_MANY_STREAMS = b"exceeds max_streams"
    INDEX_MISSING = b"moov atom not found"
    HTTP_FAILED = b"HTTP error "
    INPUT_CUT = b"ended prematurely"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended. `return_code` is negative for a signal, as in subprocess; it is not a verdict."""

    return_code: int
    progress: Progress
    complaints: frozenset[Complaint] = frozenset()
    stdout: bytes = field(default=b"", repr=False)
    stderr_tail: bytes = field(default=b"", repr=False)


def complaints_in(stderr: bytes) -> frozenset[Complaint]:
    """Classify a bounded piece of stderr."""
    return frozenset(complaint for complaint in Complaint if complaint.value in stderr)


async def run(
    argv: list[str],
    *,
    sandbox: Sandbox,
    connect_ports: tuple[int, ...] = (),
    on_progress: ProgressCallback | None = None,
    stall_timeout_s: float | None,
    limit_s: float,
) -> Outcome:
    """Run `argv` (absolute program first) in the sandbox until it ends.

    `stall_timeout_s` is how long progress may stand still; None for programs that report none. `limit_s` bounds
    the whole run. Raises TranscodeStalled, TranscodeTimedOut, TranscodeKilled, ToolsMissing,
    SandboxUnavailable.
    """
    jailed = await asyncio.to_thread(sandbox.wrap, argv, connect_ports=connect_ports)
    process = await _start(jailed)
    watched = _Watched(process, on_progress)
    try:
        async with asyncio.timeout(limit_s):
            await watched.until_end(stall_timeout_s)
    except TimeoutError:
        raise TranscodeTimedOut from None
    finally:
        await _kill_group(process)
    return _outcome(watched, process)


async def _start(jailed: list[str]) -> asyncio.subprocess.Process:
    try:
        return await asyncio.create_subprocess_exec(
            *jailed,
            env={},
            cwd="/",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
    except OSError:
        raise ToolsMissing from None


def _outcome(watched: _Watched, process: asyncio.subprocess.Process) -> Outcome:
    code = process.returncode
    assert code is not None  # noqa: S101  # reaped above
    if code == REFUSED_STATUS:
        raise SandboxUnavailable
    if code in (-signal.SIGXCPU, -signal.SIGKILL):
        raise TranscodeKilled
    stderr = bytes(watched.stderr)
    return Outcome(code, watched.progress, complaints_in(stderr), bytes(watched.stdout), stderr)


async def _kill_group(process: asyncio.subprocess.Process) -> None:
    """Kill what is left of the group, then reap; a second cancellation cannot interrupt the reaping."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    reaping = asyncio.ensure_future(process.wait())
    cancelled: asyncio.CancelledError | None = None
    while not reaping.done():
        try:
            await asyncio.shield(reaping)
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled


class _Watched:
    """Readers of both pipes and the watchdog, over one process."""

    def __init__(self, process: asyncio.subprocess.Process, on_progress: ProgressCallback | None) -> None:
        self.progress = Progress()
        self.stdout = bytearray()
        self.stderr = bytearray()
        self._process = process
        self._on_progress = on_progress
        self._parser = ProgressParser()
        self._moved_at_s = time.monotonic()

    async def until_end(self, stall_timeout_s: float | None) -> None:
        """Return when both pipes are at their end and the process has exited. Raises TranscodeStalled."""
        waiting = {
            asyncio.ensure_future(self._read_stdout()),
            asyncio.ensure_future(self._read_stderr()),
            asyncio.ensure_future(self._process.wait()),
        }
        try:
            while waiting:
                done, waiting = await asyncio.wait(
                    waiting, timeout=_WATCH_EVERY_S, return_when=asyncio.FIRST_EXCEPTION
                )
                for task in done:
                    task.result()
                self._insist_on_movement(stall_timeout_s)
        finally:
            for task in waiting:
                task.cancel()

    def _insist_on_movement(self, stall_timeout_s: float | None) -> None:
        if self._process.returncode is not None or stall_timeout_s is None:
            return
        if time.monotonic() - self._moved_at_s > stall_timeout_s:
            raise TranscodeStalled

    async def _read_stdout(self) -> None:
        assert self._process.stdout is not None  # noqa: S101  # asked for in _start
        while data := await self._process.stdout.read(_READ_BYTES):
            self.stdout += data[: max(_STDOUT_LIMIT_BYTES - len(self.stdout), 0)]
            for block in self._parser.feed(data):
                self._advance(block)

    async def _read_stderr(self) -> None:
        assert self._process.stderr is not None  # noqa: S101  # asked for in _start
        while data := await self._process.stderr.read(_READ_BYTES):
            self.stderr += data
            del self.stderr[:-_STDERR_TAIL_BYTES]

    def _advance(self, block: Progress) -> None:
        """Only a changed position counts as movement: a hung ffmpeg 8 goes on printing the same block."""
        if (block.out_time_s, block.frame) != (self.progress.out_time_s, self.progress.frame) or block.ended:
            self._moved_at_s = time.monotonic()
        self.progress = block
        if self._on_progress is not None:
            self._on_progress(block)
