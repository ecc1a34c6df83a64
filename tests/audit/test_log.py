"""The log: an entry that was awaited is on the disk, and what cannot be written down must not happen."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import os
import stat
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.audit.entries import NOW, event, sizes_in
from vault.audit import log as log_module
from vault.audit.entry import Action
from vault.audit.errors import AuditUnavailable
from vault.audit.log import AuditLog
from vault.audit.reading import read_chain

ROOT = Path(__file__).parent.parent.parent


def clock() -> dt.datetime:
    return NOW


@contextlib.asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[AuditLog]:
    log = await AuditLog.open(folder, role="stream", release="test", clock=clock)
    try:
        yield log
    finally:
        await log.aclose()


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_an_entry_is_in_the_file_when_it_was_awaited(tmp_path: Path) -> None:
    async with opened(tmp_path) as log:
        for number in range(5):
            await log.write(event(number))
            assert sizes_in(log.path) == list(range(number + 1))


async def test_it_begins_and_ends_with_itself(tmp_path: Path) -> None:
    async with opened(tmp_path) as log:
        await log.write(event())
    actions = [entry["action"] for entry in read_chain(log.path)]
    assert actions == [Action.WRITER_OPEN.value, Action.VIEW_OPEN.value, Action.WRITER_CLOSE.value]


async def test_it_is_private_and_nobody_elses(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "audit"
    async with opened(folder) as one, opened(folder) as other:
        assert one.path != other.path
        assert {one.path.parent, other.path.parent} == {folder}
        assert stat.S_IMODE(one.path.stat().st_mode) == 0o600
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


async def test_a_crowd_keeps_its_order_and_shares_its_syncs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    syncs = 0
    real = log_module._append

    def counting(descriptor: int, data: bytes, *, at: int) -> None:
        nonlocal syncs
        syncs += 1
        real(descriptor, data, at=at)

    async with opened(tmp_path) as log:
        monkeypatch.setattr(log_module, "_append", counting)
        await asyncio.gather(*(log.write(event(number)) for number in range(500)))
        assert sizes_in(log.path) == list(range(500))
        assert syncs <= 3


async def test_whoever_is_cancelled_stops_nobody(tmp_path: Path) -> None:
    async with opened(tmp_path) as log:
        waiting = [asyncio.create_task(log.write(event(number))) for number in range(20)]
        await asyncio.sleep(0)
        for task in waiting[::2]:
            task.cancel()
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(each) for each in results[:2]] == [asyncio.CancelledError, type(None)]
        await log.write(event(99))
        found = sizes_in(log.path)
    assert set(range(1, 20, 2)) | {99} <= set(found)


async def test_a_removed_file_is_noticed_before_the_next_entry(tmp_path: Path) -> None:
    async with opened(tmp_path) as log:
        await log.write(event())
        log.path.unlink()
        for _ in range(2):
            with pytest.raises(AuditUnavailable, match="removed"):
                await log.write(event())


async def test_a_long_stream_notices_too_and_asks_the_disk_seldom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(tmp_path) as log:
        before = log.path.stat().st_size
        await asyncio.gather(*(log.require_writable() for _ in range(50)))
        assert log.path.stat().st_size == before
        monkeypatch.setattr(log_module, "ALIVE_EVERY_S", 0.0)
        await asyncio.gather(*(log.require_writable() for _ in range(50)))
        assert [entry["action"] for entry in read_chain(log.path)][1:] == [Action.WRITER_ALIVE.value]
        log.path.unlink()
        with pytest.raises(AuditUnavailable):
            await log.require_writable()


async def test_after_its_end_it_refuses(tmp_path: Path) -> None:
    async with opened(tmp_path) as log:
        pass
    with pytest.raises(AuditUnavailable):
        await log.write(event())
    await log.aclose()


async def test_nobody_waits_for_ever_while_it_closes(tmp_path: Path) -> None:
    """Entries from before the end are written; those that come later are refused; all get an answer."""
    for _ in range(20):
        log = await AuditLog.open(tmp_path, role="stream", release="test", clock=clock)
        early = [asyncio.create_task(log.write(event(number))) for number in range(10)]
        await asyncio.sleep(0)
        closing = asyncio.create_task(log.aclose())
        late = []
        while not closing.done():
            late.append(asyncio.create_task(log.write(event(77))))
            await asyncio.sleep(0)
        async with asyncio.timeout(5):
            answers = await asyncio.gather(*early, *late, return_exceptions=True)
        assert answers[:10] == [None] * 10
        written = [each for each in answers[10:] if each is None]
        assert all(each is None or isinstance(each, AuditUnavailable) for each in answers)
        assert sizes_in(log.path) == [*range(10), *[77] * len(written)]
        *_, last = read_chain(log.path)
        assert last["action"] == Action.WRITER_CLOSE.value


async def test_a_log_that_breaks_answers_everybody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that nobody foresaw must not leave a request hanging with its bytes unsent."""

    def broken(_descriptor: int, _data: bytes, *, at: int) -> None:
        raise RuntimeError(at)

    log = await AuditLog.open(tmp_path, role="stream", release="test", clock=clock)
    with monkeypatch.context() as patch:
        patch.setattr(log_module, "_append", broken)
        async with asyncio.timeout(5):
            answers = await asyncio.gather(*(log.write(event()) for _ in range(5)), return_exceptions=True)
    assert [type(each) for each in answers] == [AuditUnavailable] * 5
    with pytest.raises(AuditUnavailable):
        await log.write(event())
    assert log._task is not None
    assert isinstance(log._task.exception(), RuntimeError)
    await log.aclose()


class TestFullDisk:
    """Disk full: the entry is refused, nothing of it stays, and with room again the chain goes on."""

    @pytest.fixture
    def small_disk(self, tmp_path: Path) -> Iterator[Path]:
        """A file system of 64 KiB, where we may mount one."""
        folder = tmp_path / "small"
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(folder)]
        if os.geteuid() != 0 or subprocess.run(command, check=False, capture_output=True).returncode != 0:
            pytest.skip("needs the right to mount a small file system")
        try:
            yield folder
        finally:
            subprocess.run(["umount", "-l", str(folder)], check=True)

    async def test_it_refuses_keeps_the_chain_and_recovers(self, small_disk: Path) -> None:
        async with opened(small_disk) as log:
            await log.write(event(1))
            before = log.path.read_bytes()
            filler = small_disk / "filler"
            _fill(filler)
            for _ in range(3):
                with pytest.raises(AuditUnavailable, match=r"No space left|short write"):
                    await asyncio.gather(*(log.write(event(number)) for number in range(200)))
                assert log.path.read_bytes()[: len(before)] == before
                assert sizes_in(log.path) == [1]
            filler.unlink()
            await log.write(event(2))
            assert sizes_in(log.path) == [1, 2]

    async def test_it_does_not_open_and_leaves_nothing_open(self, small_disk: Path) -> None:
        _fill(small_disk / "filler")
        before, tasks = descriptors(), asyncio.all_tasks()
        with pytest.raises(AuditUnavailable):
            await AuditLog.open(small_disk, role="stream", release="test", clock=clock)
        assert descriptors() == before
        assert asyncio.all_tasks() == tasks

    async def test_a_read_only_disk_is_told(self, small_disk: Path) -> None:
        command = ["mount", "-o", "remount,ro", str(small_disk)]
        done = await asyncio.to_thread(subprocess.run, command, check=False, capture_output=True)
        assert done.returncode == 0, done.stderr
        with pytest.raises(AuditUnavailable, match="Read-only"):
            await AuditLog.open(small_disk, role="stream", release="test", clock=clock)

    def test_a_limit_in_the_middle_of_an_entry_leaves_no_half_line(self, tmp_path: Path) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "tests.audit.writer", str(tmp_path), "3000"],
            cwd=ROOT,
            check=True,
            capture_output=True,
            text=True,
            timeout=30,
        )
        told = done.stdout.split()
        assert "refused" in told
        assert told[-1] == "1000"
        (path,) = tmp_path.glob("*.jsonl")
        assert sizes_in(path) == [int(each) for each in told if each != "refused"]


def _fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(1024))


async def test_a_folder_that_is_none_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(AuditUnavailable):
        await AuditLog.open(tmp_path / "file", role="stream", release="test", clock=clock)


@pytest.mark.parametrize("patience_s", [0.3, 0.5])
def test_what_was_awaited_survives_a_kill(tmp_path: Path, patience_s: float) -> None:
    command = [sys.executable, "-m", "tests.audit.writer", str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        first = writer.stdout.readline()
        time.sleep(patience_s)
        writer.kill()
        told = [
            int(each)
            for each in (first + writer.stdout.read()).splitlines(keepends=True)
            if each[-1:] == b"\n"
        ]
    (path,) = tmp_path.glob("*.jsonl")
    found = sizes_in(path)
    assert len(told) >= 16
    assert found == list(range(len(found)))
    assert set(told) <= set(found)
