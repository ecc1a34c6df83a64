"""E2: where anchors go is slow, dead or full. Entries are written all the same, nothing piles up, and it is told."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from keys.notes import load_audit_key
from tests.audit.entries import NOW, event
from tests.audit.house import House
from vault.audit import anchoring, checkpointing
from vault.audit.checkpoint import Checkpoint, seal_checkpoint
from vault.audit.log import AuditLog


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpointing, "EVERY_S", 0.02)
    monkeypatch.setattr(anchoring, "_SOON_S", 0.02)
    monkeypatch.setattr(anchoring, "EVERY_S", 0.05)
    monkeypatch.setattr(anchoring, "CLOSE_TIMEOUT_S", 0.5)


@contextlib.asynccontextmanager
async def silent_server(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    """An object store that takes connections and never answers."""
    lines: list[asyncio.StreamWriter] = []

    def take(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines.append(writer)

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "not-a-secret")
    server = await asyncio.start_server(take, "127.0.0.1", 0)
    try:
        yield f"s3://bucket?endpoint=http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for writer in lines:
            writer.close()


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110 - what is waited for sends no events
            await asyncio.sleep(0.01)


async def slowest_of(log: AuditLog, count: int) -> float:
    slowest_s = 0.0
    for number in range(count):
        began_s = time.monotonic()
        await log.write(event(number))
        slowest_s = max(slowest_s, time.monotonic() - began_s)
    return slowest_s


async def test_a_store_that_hangs_delays_no_entry_and_no_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with silent_server(monkeypatch) as url:
        house = House(tmp_path, objects_url=url)
        async with house.writer("stream") as log:
            await asyncio.sleep(0.3)  # the first anchor hangs by now
            assert await slowest_of(log, 200) < 1
            assert house.unanchored == log.size == 201
            # The second place goes on by itself.
            await until(lambda: any(house.second.rglob(f"{201:020}")))
            began_s = time.monotonic()
        assert time.monotonic() - began_s < 3
    assert len(house.lines("stream")) == 202


async def test_a_dead_place_is_told_once_and_taken_up_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(anchoring, "_LONGEST_PAUSE_S", 0.05)
    house = House(tmp_path)
    shutil.rmtree(house.second)
    with capture_logs() as told:
        async with house.writer("stream") as log:
            await log.write(event())
            await asyncio.sleep(0.4)
            assert house.unanchored == log.size
            house.second.mkdir()
            await until(lambda: house.unanchored == 0)
    warnings = [line for line in told if line["event"] == "the audit log cannot be anchored"]
    assert [line["place"] for line in warnings] == ["the second place"]
    assert (await house.verify())["stream"].state == "anchored"


async def test_a_folder_without_room_for_checkpoints_fails_no_entry(tmp_path: Path) -> None:
    house = House(tmp_path)
    async with house.writer("stream") as log:
        await until(lambda: house.unanchored == 0)
        (house.folder / f".{log.path.stem}.checkpoint.draft").mkdir()
        await log.write(event())
        await asyncio.sleep(0.2)
        await log.write(event())
        (house.folder / f".{log.path.stem}.checkpoint.draft").rmdir()
        await until(lambda: house.unanchored == 0)
    assert (await house.verify())["stream"].state == "anchored"


async def test_what_a_dead_process_left_behind_is_anchored_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(anchoring, "CLOSE_TIMEOUT_S", 0.0)
    monkeypatch.setattr(anchoring, "EVERY_S", 60.0)
    house = House(tmp_path)
    async with house.writer("control") as log:
        await until(lambda: house.unanchored == 0)
        await log.write(event())
    verdict = (await house.verify())["control"]
    assert (verdict.state, verdict.unanchored) == ("unanchored", 2)
    left = house.file("control").with_suffix(".checkpoint")
    os.utime(left, (time.time() - 1000, time.time() - 1000))
    async with house.writer("stream"):
        await until(lambda: any(house.second.rglob(f"*-control-*/{3:020}")))
        await until(lambda: any(house.settings.data_dir.rglob(f"*-control-*/{3:020}")))
    assert (await house.verify())["control"].state == "anchored"


async def test_a_live_writer_has_a_tail_that_is_fine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(anchoring, "EVERY_S", 60.0)
    house = House(tmp_path)
    async with house.writer("stream") as log:
        await until(lambda: house.unanchored == 0)
        for number in range(5):
            await log.write(event(number))
        verdict = (await house.verify())["stream"]
        assert (verdict.state, verdict.unanchored, verdict.faults) == ("unanchored", 5, [])
        assert verdict.unanchored_since is not None
        assert house.unanchored == 5


async def test_a_busy_writer_has_few_anchors_and_a_checkpoint_each_thousand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(anchoring, "EVERY_S", 60.0)
    monkeypatch.setattr(checkpointing, "EVERY_S", 30.0)
    house = House(tmp_path)
    async with house.writer("stream") as log:
        await asyncio.gather(*(log.write(event(number)) for number in range(1500)))
        await until(log.path.with_suffix(".checkpoint").exists)
        await asyncio.gather(*(log.write(event(number)) for number in range(1500)))
    assert len(list(house.second.rglob("*/" + "?" * 20))) <= 2
    assert (await house.verify())["stream"].state == "anchored"


async def test_what_another_key_signed_is_not_carried(tmp_path: Path) -> None:
    """Whoever may write into the folder and not into the store gets nothing into the store."""
    house, other = House(tmp_path), House(tmp_path / "other")
    async with other.writer("control") as log:
        await until(lambda: other.unanchored == 0)
        note = log.path.with_suffix(".checkpoint").read_bytes()
    house.folder.mkdir(parents=True)
    planted = house.folder / f"{log.path.stem}.checkpoint"
    planted.write_bytes(note)
    os.utime(planted, (time.time() - 1000, time.time() - 1000))
    async with house.writer("stream"):
        await until(lambda: house.unanchored == 0)
        await asyncio.sleep(0.2)
    assert not list(house.second.rglob("*-control-*"))
    assert (await house.verify())["control"].state == "unknown-key"


async def test_an_anchor_that_says_otherwise_is_told_and_kept(tmp_path: Path) -> None:
    """A machine restored from a snapshot writes the same file a second time: the first anchor stays."""
    house = House(tmp_path)
    async with house.writer("stream") as log:
        await until(lambda: house.unanchored == 0)
        key = load_audit_key(house.settings.audit_key)
        before = Checkpoint(writer=log.path.stem, size=3, root=bytes(32), last_hash="ab" * 32, at=NOW)
        earlier = seal_checkpoint(before, key)
        anchor = house.second / "audit-anchors" / log.path.stem / f"{3:020}"
        anchor.write_bytes(earlier)
        with capture_logs() as told:
            await asyncio.gather(log.write(event()), log.write(event()))
            await until(lambda: any("forked" in line["event"] for line in told))
        assert house.unanchored == 2
    assert anchor.read_bytes() == earlier
    assert (await house.verify())["stream"].state == "forked"
