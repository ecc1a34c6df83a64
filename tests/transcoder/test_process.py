"""One process: read to its end, watched, killed as a group, reaped, whatever happens around it."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest

from transcoder.errors import TranscodeKilled, TranscodeStalled, TranscodeTimedOut
from transcoder.process import Complaint, Outcome, complaints_in, run
from transcoder.progress import Progress
from transcoder.sandbox import Sandbox

BLOCK = "printf 'out_time_us=%s000000\\nspeed=2x\\nprogress=continue\\n' {}"


async def shell(script: str, *, stall_timeout_s: float | None = None, limit_s: float = 10.0) -> Outcome:
    return await run(
        ["/bin/bash", "-c", script], sandbox=Sandbox(), stall_timeout_s=stall_timeout_s, limit_s=limit_s
    )


def processes_with(marker: str) -> list[int]:
    """Pids whose command line holds a word that only this run of one test uses."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if marker.encode() in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue
    return found


def appeared(marker: str) -> None:
    """Return when such a process runs, or fail."""
    deadline = time.monotonic() + 5
    while not processes_with(marker):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def disappeared(marker: str) -> None:
    """Return when no such process is left, or fail: the kernel takes a moment to end a grandchild."""
    deadline = time.monotonic() + 5
    while processes_with(marker):
        assert time.monotonic() < deadline
        time.sleep(0.02)


async def test_progress_and_status_are_reported() -> None:
    seen: list[Progress] = []
    script = f"{BLOCK.format(1)}; {BLOCK.format(2)}; exit 3"
    outcome = await run(
        ["/bin/bash", "-c", script],
        sandbox=Sandbox(),
        on_progress=seen.append,
        stall_timeout_s=5.0,
        limit_s=10.0,
    )
    assert outcome.return_code == 3
    assert [block.out_time_s for block in seen] == [1.0, 2.0]
    assert outcome.progress == seen[-1]


async def test_a_signal_is_a_negative_status() -> None:
    assert (await shell("kill -SEGV $$")).return_code == -11


async def test_much_stderr_is_read_and_little_is_kept() -> None:
    outcome = await shell("for i in {1..40000}; do echo 'title: Jane Roe' >&2; done; echo end >&2")
    assert outcome.stderr_tail.endswith(b"end\n")
    assert len(outcome.stderr_tail) <= 16 * 1024
    assert "Jane Roe" not in repr(outcome)


async def test_what_repeats_itself_stands_still() -> None:
    """A hung ffmpeg 8 goes on printing one block: printing is not progress."""
    with pytest.raises(TranscodeStalled):
        await shell(f"while :; do {BLOCK.format(1)}; done", stall_timeout_s=0.5)


async def test_what_moves_is_left_alone() -> None:
    script = f"for i in 1 2 3 4 5 6; do {BLOCK.format('$i')}; for ((n=0;n<60000;n++)); do :; done; done"
    assert (await shell(script, stall_timeout_s=2.0)).progress.out_time_s == 6.0


async def test_a_run_has_a_limit_however_busy() -> None:
    started = time.monotonic()
    with pytest.raises(TranscodeTimedOut):
        await shell("while :; do :; done", limit_s=0.5)
    assert time.monotonic() - started < 3.0


async def test_processor_time_has_a_limit_of_its_own() -> None:
    with pytest.raises(TranscodeKilled):
        await run(
            ["/bin/bash", "-c", "while :; do :; done"],
            sandbox=Sandbox(cpu_s=1),
            stall_timeout_s=None,
            limit_s=20.0,
        )


async def test_the_whole_group_dies() -> None:
    marker = f"group-of-{os.getpid()}"
    with pytest.raises(TranscodeTimedOut):
        await shell(f"while :; do :; done & while :; do :; done; : {marker}", limit_s=0.5)
    await asyncio.to_thread(disappeared, marker)


async def test_a_cancelled_task_leaves_nothing_running() -> None:
    marker = f"cancel-of-{os.getpid()}"
    task = asyncio.create_task(shell(f"while :; do :; done; : {marker}"))
    await asyncio.to_thread(appeared, marker)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(processes_with, marker) == []


async def test_a_listener_that_fails_ends_the_run() -> None:
    marker = f"listener-of-{os.getpid()}"

    def fail(_: Progress) -> None:
        raise RuntimeError("listener")

    with pytest.raises(RuntimeError, match="listener"):
        await run(
            ["/bin/bash", "-c", f"{BLOCK.format(1)}; while :; do :; done; : {marker}"],
            sandbox=Sandbox(),
            on_progress=fail,
            stall_timeout_s=None,
            limit_s=10.0,
        )
    assert await asyncio.to_thread(processes_with, marker) == []


def test_complaints_are_recognised_in_what_ffmpeg_says() -> None:
    said = b"[mov @ 0x1] moov atom not found\n[h264] Picture size 9x9 exceeds specified max pixel count 8\n"
    assert complaints_in(said) == {Complaint.INDEX_MISSING, Complaint.TOO_MANY_PIXELS}
    assert complaints_in(b"") == frozenset()
