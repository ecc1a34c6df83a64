"""The folder store: modes, links, races and crashes."""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import stat
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from keys.ids import new_file_id, new_recording_id
from vault.objects.errors import (
    DamagedObject,
    ObjectExists,
    ObjectMissing,
    StoreRefused,
    StoreUnavailable,
)
from vault.objects.folder import FolderStore
from vault.objects.store import ObjectName

PAST = dt.datetime(2001, 1, 1, tzinfo=dt.UTC)
FUTURE = dt.datetime(2999, 1, 1, tzinfo=dt.UTC)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "objects"


@pytest.fixture
async def store(root: Path) -> AsyncIterator[FolderStore]:
    store = FolderStore(root)
    yield store
    await store.aclose()


def a_name() -> ObjectName:
    return ObjectName(new_recording_id(), new_file_id())


async def put(store: FolderStore, name: ObjectName, body: bytes = b"body") -> None:
    upload = await store.create(name)
    await upload.part(body)
    await upload.complete()


def modes_in(root: Path) -> dict[Path, int]:
    return {path: stat.S_IMODE(path.stat().st_mode) for path in (root, *root.rglob("*"))}


def everything_in(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


async def test_files_and_folders_are_for_their_owner_alone(store: FolderStore, root: Path) -> None:
    before = os.umask(0)
    try:
        await put(store, a_name())
        upload = await store.create(a_name())
    finally:
        os.umask(before)
    for path, mode in modes_in(root).items():
        assert mode == (0o600 if path.is_file() else 0o700)
    await upload.abort()


async def test_an_unfinished_upload_is_not_listed_or_read(store: FolderStore, root: Path) -> None:
    name = a_name()
    upload = await store.create(name)
    await upload.part(b"body")
    assert [info async for info in store.list()] == []
    with pytest.raises(ObjectMissing):
        await store.read(name, first_byte=0, last_byte=0)
    assert len(everything_in(root)) == 1
    await upload.abort()
    await upload.abort()
    assert everything_in(root) == []


async def test_of_many_uploads_of_one_name_one_wins_and_the_others_leave_nothing(
    store: FolderStore, root: Path
) -> None:
    name = a_name()
    uploads = [await store.create(name) for _ in range(8)]
    for number, upload in enumerate(uploads):
        await upload.part(bytes([number]) * 100)
    outcomes = await asyncio.gather(*(upload.complete() for upload in uploads), return_exceptions=True)
    [winner] = [number for number, outcome in enumerate(outcomes) if outcome is None]
    assert sum(isinstance(outcome, ObjectExists) for outcome in outcomes) == 7
    for upload in uploads:
        await upload.abort()
    stored = await store.read(name, first_byte=0, last_byte=99)
    assert bytes(stored.data) == bytes([winner]) * 100
    assert everything_in(root) == [str(name)]


async def test_an_existing_name_is_refused_at_once(store: FolderStore, root: Path) -> None:
    name = a_name()
    await put(store, name)
    with pytest.raises(ObjectExists):
        await store.create(name)
    assert everything_in(root) == [str(name)]


async def test_an_acknowledged_object_survives_a_late_abort(store: FolderStore) -> None:
    name = a_name()
    upload = await store.create(name)
    await upload.part(b"body")
    await upload.complete()
    await upload.abort()
    assert bytes((await store.read(name, first_byte=0, last_byte=3)).data) == b"body"


class Gate:
    """Holds one system call back in its thread, so that its caller can go away meanwhile."""

    def __init__(self, call: Callable[..., Any]) -> None:
        self._call = call
        self._reached, self._open = threading.Event(), threading.Event()

    def __call__(self, *args: Any, **words: Any) -> Any:
        self._reached.set()
        self._open.wait(10)
        return self._call(*args, **words)

    async def reached(self) -> None:
        assert await asyncio.to_thread(self._reached.wait, 10)

    def open(self) -> None:
        self._open.set()


async def cut_off(call: Coroutine[Any, Any, None], gate: Gate) -> None:
    task = asyncio.ensure_future(call)
    await gate.reached()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("system_call", ["write", "fsync", "link", "unlink"])
async def test_an_abort_waits_for_what_its_cancelled_caller_left_running_and_removes_it(
    store: FolderStore, root: Path, monkeypatch: pytest.MonkeyPatch, system_call: str
) -> None:
    upload = await store.create(a_name())
    if system_call != "write":
        await upload.part(b"body")
    gate = Gate(getattr(os, system_call))
    monkeypatch.setattr(os, system_call, gate)
    await cut_off(upload.part(b"body") if system_call == "write" else upload.complete(), gate)
    aborting = asyncio.ensure_future(upload.abort())
    await asyncio.sleep(0.05)
    assert not aborting.done()
    gate.open()
    await aborting
    assert everything_in(root) == []


async def test_deleting_removes_the_recordings_folder_with_its_last_object(
    store: FolderStore, root: Path
) -> None:
    recording = new_recording_id()
    first, second = (ObjectName(recording, new_file_id()) for _ in range(2))
    await put(store, first)
    await put(store, second)
    await store.delete([first, first, a_name()])
    assert [info.name async for info in store.list(recording)] == [second]
    await store.delete([second])
    assert not (root / str(recording)).exists()
    await put(store, first)
    assert [info.name async for info in store.list()] == [first]


async def test_uploads_and_deletions_of_one_recording_do_not_trip_over_each_other(store: FolderStore) -> None:
    recording = new_recording_id()

    async def cycle() -> None:
        for _ in range(15):
            name = ObjectName(recording, new_file_id())
            await put(store, name)
            await store.delete([name])

    await asyncio.gather(*(cycle() for _ in range(6)))
    assert [info async for info in store.list()] == []


async def test_listing_passes_over_foreign_names(store: FolderStore, root: Path) -> None:
    name = a_name()
    await put(store, name)
    (root / str(name.recording_id) / "notes.txt").write_text("mine")
    (root / "lost+found").mkdir()
    (root / "README").write_text("mine")
    (root / str(name.recording_id) / str(new_file_id()).upper()).write_text("not canonical")
    [info] = [info async for info in store.list()]
    assert (info.name, info.size_bytes) == (name, 4)
    assert abs(dt.datetime.now(dt.UTC) - info.modified_at) < dt.timedelta(minutes=1)


async def test_sweeping_removes_what_a_crash_left_and_nothing_newer(store: FolderStore, root: Path) -> None:
    kept = a_name()
    await put(store, kept)
    upload = await store.create(a_name())
    await upload.part(b"half")
    assert await store.sweep(before=PAST) == 0
    assert await store.sweep(before=FUTURE) == 1
    assert everything_in(root) == [str(kept)]
    with pytest.raises(StoreUnavailable, match="swept"):
        await upload.complete()
    await upload.abort()


async def test_symbolic_links_below_the_root_are_not_followed(
    store: FolderStore, root: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"not an object")
    name = a_name()
    await put(store, name)
    linked_file = ObjectName(name.recording_id, new_file_id())
    (root / str(name.recording_id) / str(linked_file.file_id)).symlink_to(outside / "secret")
    linked_folder = a_name()
    (root / str(linked_folder.recording_id)).symlink_to(outside)
    for each in (linked_file, ObjectName(linked_folder.recording_id, linked_folder.file_id)):
        with pytest.raises(StoreRefused):
            await store.read(each, first_byte=0, last_byte=0)
    upload = await store.create(a_name())
    await upload.part(b"x")
    upload._name = linked_folder
    with pytest.raises(StoreRefused):
        await upload.complete()
    assert everything_in(outside) == ["secret"]
    await upload.abort()


async def test_what_is_not_a_file_is_refused_and_hangs_nobody(store: FolderStore, root: Path) -> None:
    name, pipe = a_name(), new_file_id()
    await put(store, name)
    path = root / str(name.recording_id) / str(pipe)
    os.mkfifo(path)
    try:
        with pytest.raises(StoreRefused):
            await asyncio.wait_for(
                store.read(ObjectName(name.recording_id, pipe), first_byte=0, last_byte=0), timeout=5
            )
    finally:
        os.close(os.open(path, os.O_RDWR | os.O_NONBLOCK))  # lets go a thread that waits for the other end


@pytest.mark.parametrize(("first", "last"), [(0, 4), (4, 4), (100, 200), (0, 1 << 40)])
async def test_a_range_beyond_the_end_is_damage_and_allocates_nothing(
    store: FolderStore, first: int, last: int
) -> None:
    name = a_name()
    await put(store, name)
    with pytest.raises(DamagedObject):
        await store.read(name, first_byte=first, last_byte=last)


@pytest.mark.parametrize(("first", "last"), [(-1, 0), (1, 0)])
async def test_a_range_backwards_is_a_mistake(store: FolderStore, first: int, last: int) -> None:
    with pytest.raises(ValueError, match="range"):
        await store.read(a_name(), first_byte=first, last_byte=last)


async def test_a_folder_that_went_away_is_not_an_object_that_is_missing(
    store: FolderStore, root: Path
) -> None:
    await store.probe()
    os.rename(root, f"{root}.moved")  # noqa: PTH104 - pathlib's own would be flagged in a coroutine
    with pytest.raises(StoreUnavailable):
        await store.read(a_name(), first_byte=0, last_byte=0)
    with pytest.raises(StoreUnavailable):
        await store.create(a_name())
    with pytest.raises(StoreUnavailable):
        await store.probe()
    assert root.name not in os.listdir(root.parent)  # noqa: PTH208 - as above


async def test_probing_needs_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    store = FolderStore(tmp_path / "file")
    with pytest.raises(StoreUnavailable):
        await store.probe()
    await store.aclose()


async def test_probing_leaves_nothing(store: FolderStore, root: Path) -> None:
    await store.probe()
    assert everything_in(root) == []


async def test_errors_name_no_path(store: FolderStore, root: Path) -> None:
    with pytest.raises(ObjectMissing) as caught:
        await store.read(a_name(), first_byte=0, last_byte=0)
    assert str(root) not in str(caught.value)
    assert caught.value.__suppress_context__
