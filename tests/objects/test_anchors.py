"""Anchors in every kind of store: written once, found again, and never taken for objects."""

from __future__ import annotations

import asyncio
import stat
from pathlib import Path

import pytest

from keys.ids import new_file_id, new_recording_id
from tests.servers import S3Bucket
from vault.objects.anchor_folder import FolderAnchors
from vault.objects.anchors import AnchorName, AnchorPlace
from vault.objects.errors import MalformedObject, ObjectExists, ObjectMissing, StoreUnavailable
from vault.objects.location import make_store
from vault.objects.store import ObjectName, ObjectStore

ONE, TWO = AnchorName("20260301T093000-stream-00c0ffee", 9), AnchorName("20260301T093000-stream-00c0ffee", 10)
OTHER = AnchorName("20260301T093000-control-00c0ffee", 1)


async def written(place: AnchorPlace) -> None:
    assert [name async for name in place.list_anchors(AnchorName)] == []
    with pytest.raises(ObjectMissing):
        await place.get_anchor(ONE)
    for name in (TWO, ONE, OTHER):
        await place.put_anchor(name, str(name).encode())
    with pytest.raises(ObjectExists):
        await place.put_anchor(ONE, b"another")
    assert await place.get_anchor(ONE) == str(ONE).encode()
    assert [name async for name in place.list_anchors(AnchorName)] == [OTHER, ONE, TWO]


async def test_an_anchor_is_written_once_and_is_no_object(store: ObjectStore) -> None:
    await written(store)
    upload = await store.create(ObjectName(new_recording_id(), new_file_id()))
    await upload.part(b"body")
    await upload.complete()
    assert len([info async for info in store.list()]) == 1
    assert len([name async for name in store.list_anchors(AnchorName)]) == 3


async def test_a_bucket_without_conditional_writes_is_looked_into_first(bucket: S3Bucket) -> None:
    store = make_store(f"{bucket.url}&conditional_writes=false")
    try:
        await written(store)
    finally:
        await store.aclose()


async def test_a_folder_of_its_own(tmp_path: Path) -> None:
    place = FolderAnchors(tmp_path)
    await written(place)
    path = tmp_path / str(ONE)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    (path.parent / "notes.txt").write_bytes(b"foreign")
    assert len([name async for name in place.list_anchors(AnchorName)]) == 3


async def test_a_folder_that_is_not_mounted_is_not_made(tmp_path: Path) -> None:
    place = FolderAnchors(tmp_path / "mount")
    with pytest.raises(ObjectMissing):
        await place.put_anchor(ONE, b"note")
    with pytest.raises(StoreUnavailable):
        [name async for name in place.list_anchors(AnchorName)]
    assert not (tmp_path / "mount").exists()


async def test_many_at_once_leave_one(tmp_path: Path) -> None:
    place = FolderAnchors(tmp_path)
    for size in range(50):
        name = AnchorName(ONE.writer, size)
        puts = (place.put_anchor(name, bytes([number])) for number in range(20))
        results = await asyncio.gather(*puts, return_exceptions=True)
        assert [type(each) for each in results if each is not None] == [ObjectExists] * 19
        assert await place.get_anchor(name) == bytes([results.index(None)])


async def test_what_a_crash_left_empty_is_filled(tmp_path: Path) -> None:
    place = FolderAnchors(tmp_path)
    path = tmp_path / str(ONE)
    path.parent.mkdir(parents=True)
    path.touch()
    await place.put_anchor(ONE, b"note")
    assert await place.get_anchor(ONE) == b"note"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "audit-anchors",
        "audit-anchors/w",
        "audit-anchors/w/1",
        f"audit-anchors/../{1:020}",
        f"x/w/{1:020}",
    ],
)
def test_a_name_has_one_form(text: str) -> None:
    assert AnchorName.parse(str(ONE)) == ONE
    with pytest.raises(MalformedObject):
        AnchorName.parse(text)
