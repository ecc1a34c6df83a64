"""Writer and reader over each store: what comes out is what went in, verified, or an error."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
import random
import tracemalloc

import pytest

from keys.errors import KeyMismatch
from keys.ids import new_file_id, parse_patient
from keys.secret import RecordingKey
from tests.objects.sealing import EDGES, ROLE, C, facts_of, new_access, noise, seal
from vault.objects.access import RecordingAccess
from vault.objects.container import HEADER_BYTES, PART_CHUNKS, SEALED_CHUNK_BYTES, FileFacts
from vault.objects.errors import (
    DamagedObject,
    MalformedObject,
    ObjectChanged,
    ObjectMissing,
    TooLarge,
    WrongChunk,
)
from vault.objects.folder import FolderStore
from vault.objects.sealed import SealedReader, SealedWriter
from vault.objects.store import ObjectName, ObjectStore

PART = PART_CHUNKS * C
LIMIT = 1 << 30
FUTURE = dt.datetime(2999, 1, 1, tzinfo=dt.UTC)


async def write(store: ObjectStore, access: RecordingAccess, plain: bytes, *, step: int = 0) -> FileFacts:
    async with SealedWriter(store, access=access, role=ROLE, limit_bytes=LIMIT) as writer:
        for at in range(0, len(plain), step or max(len(plain), 1)):
            await writer.write(plain[at : at + (step or len(plain))])
        return await writer.finish()


async def put(store: ObjectStore, name: ObjectName, body: bytes) -> None:
    """Plant any bytes as an object."""
    upload = await store.create(name)
    for at in range(0, max(len(body), 1), 8 << 20):
        await upload.part(body[at : at + (8 << 20)])
    await upload.complete()


async def planted(store: ObjectStore, plain: bytes, body: bytes, access: RecordingAccess) -> SealedReader:
    """A reader that expects `plain`, on an object that holds `body`; the header is that of `body`'s origin."""
    facts = facts_of(plain, body)
    await put(store, ObjectName(access.recording_id, facts.file_id), body)
    return SealedReader(store, facts, access=access)


async def is_empty(store: ObjectStore) -> bool:
    """No object, and no upload that was begun and never ended."""
    return await names(store) == [] and await store.sweep(before=FUTURE) == 0


async def names(store: ObjectStore) -> list[ObjectName]:
    return [info.name async for info in store.list()]


@pytest.mark.parametrize(
    "sizes", [EDGES, (PART - 1, PART, PART + 1, 2 * PART, 2 * PART + 5)], ids=["chunks", "parts"]
)
async def test_every_size_edge_comes_back(store: ObjectStore, sizes: tuple[int, ...]) -> None:
    for size in sizes:
        access, plain = new_access(), noise(size)
        facts = await write(store, access, plain, step=1_000_003)
        reader = SealedReader(store, facts, access=access)
        assert (reader.size_bytes, facts.plain_size_bytes) == (size, size)
        assert await reader.read_all() == plain
        [info] = [info async for info in store.list(access.recording_id)]
        assert info.name == ObjectName(access.recording_id, facts.file_id)
        assert info.size_bytes == facts.cipher_size_bytes


@pytest.mark.parametrize("step", [1, 7, C - 1, C, C + 1, 3 * C])
async def test_writes_of_any_size_seal_alike(folder_store: ObjectStore, step: int) -> None:
    access, plain = new_access(), noise(3 * C + 77 if step > 7 else C + 3)
    facts = await write(folder_store, access, plain, step=step)
    assert await SealedReader(folder_store, facts, access=access).read_all() == plain


async def test_random_ranges_equal_the_source(store: ObjectStore) -> None:
    access, plain = new_access(), noise(10 * C + 123)
    reader = SealedReader(store, await write(store, access, plain), access=access)
    choose = random.Random(7)  # noqa: S311 - a test must repeat
    for _ in range(1000 if isinstance(store, FolderStore) else 150):
        first = choose.randrange(len(plain))
        last = choose.choice((first, choose.randrange(first, len(plain)), min(first + C, len(plain) - 1)))
        assert await reader.read(first_byte=first, last_byte=last) == plain[first : last + 1]


@pytest.mark.parametrize("window", [1, C, C + 1, 3 * C, 100 * C])
async def test_windows_join_without_a_seam(folder_store: ObjectStore, window: int) -> None:
    access, plain = new_access(), noise(7 * C + 9)
    reader = SealedReader(folder_store, await write(folder_store, access, plain), access=access)
    first, last = 5, 6 * C + 1
    pieces = [piece async for piece in reader.iter(first_byte=first, last_byte=last, window_bytes=window)]
    assert b"".join(pieces) == plain[first : last + 1]
    assert max(map(len, pieces)) <= max(window, C)


@pytest.mark.parametrize(("first", "last"), [(-1, 3), (3, 2), (0, 10), (10, 10)])
async def test_a_range_outside_the_file_is_a_mistake(
    folder_store: ObjectStore, first: int, last: int
) -> None:
    access = new_access()
    reader = SealedReader(folder_store, await write(folder_store, access, bytes(10)), access=access)
    with pytest.raises(ValueError, match="range"):
        await reader.read(first_byte=first, last_byte=last)


class TestFromStore:
    """Without a header at hand."""

    async def test_it_opens_with_a_pinned_size_and_without(self, store: ObjectStore) -> None:
        for size in EDGES:
            access, plain = new_access(), noise(size)
            facts = await write(store, access, plain)
            name = ObjectName(access.recording_id, facts.file_id)
            for pinned in (size, None):
                reader = await SealedReader.from_store(
                    store, name, access=access, role=ROLE, plain_size_bytes=pinned
                )
                assert reader.facts == facts
                assert await reader.read_all() == plain

    async def test_another_size_than_the_pinned_one_is_refused(self, folder_store: ObjectStore) -> None:
        access = new_access()
        facts = await write(folder_store, access, bytes(100))
        name = ObjectName(access.recording_id, facts.file_id)
        for pinned in (0, 99, 101, C):
            with pytest.raises(DamagedObject):
                await SealedReader.from_store(
                    folder_store, name, access=access, role=ROLE, plain_size_bytes=pinned
                )

    async def test_an_object_under_another_name_is_refused(self, folder_store: ObjectStore) -> None:
        """THREATS A4: one valid object of the same recording copied over another."""
        access = new_access()
        name = ObjectName(access.recording_id, new_file_id())
        await put(folder_store, name, seal(b"older", access))
        with pytest.raises(KeyMismatch):
            await SealedReader.from_store(folder_store, name, access=access, role=ROLE)

    async def test_a_truncation_at_a_chunk_boundary_is_refused(self, store: ObjectStore) -> None:
        access, plain = new_access(), noise(2 * C)
        sealed = seal(plain, access)
        name = ObjectName(access.recording_id, facts_of(plain, sealed).file_id)
        await put(store, name, sealed[:-16])
        with pytest.raises(DamagedObject):
            await SealedReader.from_store(store, name, access=access, role=ROLE)

    async def test_a_size_is_believed_only_once_the_last_chunk_opened(
        self, folder_store: ObjectStore
    ) -> None:
        access, plain = new_access(), noise(C + 100)
        sealed = seal(plain, access)
        name = ObjectName(access.recording_id, facts_of(plain, sealed).file_id)
        await put(folder_store, name, sealed[:-50])
        with pytest.raises(DamagedObject, match="chunk 1"):
            await SealedReader.from_store(folder_store, name, access=access, role=ROLE)

    async def test_less_than_a_header_is_refused(self, store: ObjectStore) -> None:
        access = new_access()
        for size in (0, 1, 127):
            name = ObjectName(access.recording_id, new_file_id())
            await put(store, name, bytes(size))
            with pytest.raises(DamagedObject):
                await SealedReader.from_store(store, name, access=access, role=ROLE)

    async def test_something_else_is_refused(self, folder_store: ObjectStore) -> None:
        access = new_access()
        name = ObjectName(access.recording_id, new_file_id())
        await put(folder_store, name, noise(500))
        with pytest.raises(MalformedObject):
            await SealedReader.from_store(folder_store, name, access=access, role=ROLE)

    async def test_nothing_is_missing(self, store: ObjectStore) -> None:
        access = new_access()
        name = ObjectName(access.recording_id, new_file_id())
        with pytest.raises(ObjectMissing):
            await SealedReader.from_store(store, name, access=access, role=ROLE)


class TestTampering:
    """THREATS A4 and A5 through the whole reader: an error, and nothing before it verified."""

    async def test_another_patient_or_key_reads_nothing_from_the_store(
        self, folder_store: ObjectStore
    ) -> None:
        access = new_access()
        facts = await write(folder_store, access, b"words")
        await folder_store.aclose()  # a reader that asked the store would fail otherwise
        for other in (
            dataclasses.replace(access, patient=parse_patient("patient-2")),
            dataclasses.replace(access, key=RecordingKey.generate()),
        ):
            with pytest.raises(KeyMismatch):
                SealedReader(folder_store, facts, access=other)

    async def test_each_truncation(self, store: ObjectStore) -> None:
        access, plain = new_access(), noise(3 * C + 100)
        for cut in (1, 15, 16, 17, 100, 116, 117, SEALED_CHUNK_BYTES, 2 * SEALED_CHUNK_BYTES + 116):
            reader = await planted(store, plain, seal(plain, access)[:-cut], access)
            for first, last in ((0, 0), (0, len(plain) - 1), (len(plain) - 1, len(plain) - 1)):
                with pytest.raises(DamagedObject):
                    await reader.read(first_byte=first, last_byte=last)

    async def test_bytes_added_at_the_end(self, store: ObjectStore) -> None:
        access, plain = new_access(), noise(C + 100)
        reader = await planted(store, plain, seal(plain, access) + b"x", access)
        with pytest.raises(DamagedObject):
            await reader.read(first_byte=0, last_byte=0)

    async def test_a_flipped_bit_spoils_the_ranges_that_touch_its_chunk_alone(
        self, store: ObjectStore
    ) -> None:
        access, plain = new_access(), noise(4 * C)
        sealed = bytearray(seal(plain, access))
        sealed[HEADER_BYTES + SEALED_CHUNK_BYTES + 5000] ^= 1
        reader = await planted(store, plain, bytes(sealed), access)
        assert await reader.read(first_byte=0, last_byte=C - 1) == plain[:C]
        assert await reader.read(first_byte=2 * C, last_byte=4 * C - 1) == plain[2 * C :]
        for first, last in ((0, C), (C, C), (2 * C - 1, 2 * C), (0, 4 * C - 1)):
            with pytest.raises(DamagedObject, match="chunk 1"):
                await reader.read(first_byte=first, last_byte=last)

    async def test_a_stream_ends_in_an_error_at_the_damaged_window(self, folder_store: ObjectStore) -> None:
        access, plain = new_access(), noise(4 * C)
        sealed = bytearray(seal(plain, access))
        sealed[HEADER_BYTES + 2 * SEALED_CHUNK_BYTES] ^= 1
        reader = await planted(folder_store, plain, bytes(sealed), access)
        windows = reader.iter(first_byte=0, last_byte=4 * C - 1, window_bytes=C)
        assert await anext(windows) + await anext(windows) == plain[: 2 * C]
        with pytest.raises(DamagedObject):
            await anext(windows)

    async def test_the_empty_last_chunk_is_verified_at_the_end_of_the_file(self, store: ObjectStore) -> None:
        access, plain = new_access(), noise(2 * C)
        sealed = bytearray(seal(plain, access))
        sealed[-1] ^= 1
        reader = await planted(store, plain, bytes(sealed), access)
        with pytest.raises(DamagedObject, match="chunk 2"):
            await reader.read(first_byte=2 * C - 1, last_byte=2 * C - 1)

    async def test_an_empty_file_is_verified_too(self, store: ObjectStore) -> None:
        access = new_access()
        sealed = bytearray(seal(b"", access))
        sealed[-1] ^= 1
        reader = await planted(store, b"", bytes(sealed), access)
        with pytest.raises(DamagedObject):
            await reader.read_all()

    async def test_damage_beyond_the_first_slice_of_a_large_read(self, folder_store: ObjectStore) -> None:
        access, plain = new_access(), noise(PART + 2 * C)
        sealed = bytearray(seal(plain, access))
        sealed[-1_000] ^= 1
        reader = await planted(folder_store, plain, bytes(sealed), access)
        with pytest.raises(DamagedObject, match=f"chunk {PART_CHUNKS + 1}"):
            await reader.read_all()

    async def test_an_object_replaced_between_two_ranges(self, store: ObjectStore) -> None:
        access, plain = new_access(), noise(2 * C)
        sealed = seal(plain, access)
        reader = await planted(store, plain, sealed, access)
        name = ObjectName(access.recording_id, facts_of(plain, sealed).file_id)
        await reader.read(first_byte=0, last_byte=0)
        await store.delete([name])
        await put(store, name, sealed[:-1] + bytes([sealed[-1] ^ 1]))
        with pytest.raises(ObjectChanged):
            await reader.read(first_byte=0, last_byte=0)


class TestWriter:
    """Whatever goes wrong, nothing stays and nothing is sealed twice."""

    async def test_leaving_without_finish_leaves_nothing(self, store: ObjectStore) -> None:
        for size in (0, 5, C, PART + C):
            async with SealedWriter(store, access=new_access(), role=ROLE, limit_bytes=LIMIT) as writer:
                await writer.write(bytes(size))
            assert await is_empty(store)

    async def test_an_exception_leaves_nothing(self, store: ObjectStore) -> None:
        async def broken() -> None:
            async with SealedWriter(store, access=new_access(), role=ROLE, limit_bytes=LIMIT) as writer:
                await writer.write(bytes(2 * PART))
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await broken()
        assert await is_empty(store)

    async def test_a_cancelled_writer_leaves_nothing(self, store: ObjectStore) -> None:
        reached = asyncio.Event()

        async def endless() -> None:
            async with SealedWriter(store, access=new_access(), role=ROLE, limit_bytes=LIMIT) as writer:
                while True:
                    await writer.write(bytes(PART))
                    reached.set()

        task = asyncio.create_task(endless())
        await reached.wait()
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await is_empty(store)

    async def test_the_object_is_invisible_until_it_is_finished(self, store: ObjectStore) -> None:
        access = new_access()
        async with SealedWriter(store, access=access, role=ROLE, limit_bytes=LIMIT) as writer:
            await writer.write(bytes(PART + C))
            assert await names(store) == []
            with pytest.raises(ObjectMissing):
                await store.read(writer.name, first_byte=0, last_byte=0)
            await writer.finish()
            assert await names(store) == [writer.name]

    async def test_the_limit_holds_and_spends_the_writer(self, folder_store: ObjectStore) -> None:
        async with SealedWriter(folder_store, access=new_access(), role=ROLE, limit_bytes=10) as writer:
            await writer.write(bytes(10))
            with pytest.raises(TooLarge):
                await writer.write(b"x")
            with pytest.raises(WrongChunk):
                await writer.write(b"")
            with pytest.raises(WrongChunk):
                await writer.finish()
        assert await is_empty(folder_store)

    async def test_a_finished_writer_seals_no_more(self, folder_store: ObjectStore) -> None:
        async with SealedWriter(folder_store, access=new_access(), role=ROLE, limit_bytes=10) as writer:
            await writer.finish()
            with pytest.raises(WrongChunk):
                await writer.write(b"x")
            with pytest.raises(WrongChunk):
                await writer.finish()
        assert await names(folder_store) == [writer.name]
        with pytest.raises(WrongChunk):
            await writer.__aenter__()

    async def test_two_calls_at_once_are_refused(self, folder_store: ObjectStore) -> None:
        async with SealedWriter(folder_store, access=new_access(), role=ROLE, limit_bytes=LIMIT) as writer:
            calls = (writer.write(bytes(PART)), writer.write(bytes(PART)))
            outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert outcomes[0] is None
        assert isinstance(outcomes[1], WrongChunk)

    async def test_writing_outside_the_block_is_refused(self, folder_store: ObjectStore) -> None:
        writer = SealedWriter(folder_store, access=new_access(), role=ROLE, limit_bytes=LIMIT)
        with pytest.raises(WrongChunk):
            await writer.write(b"x")

    async def test_no_plaintext_reaches_the_store(self, folder_store: ObjectStore) -> None:
        access, mark = new_access(patient="patient-with-a-name"), b"WATERMARK" * 4000
        facts = await write(folder_store, access, mark)
        name = ObjectName(access.recording_id, facts.file_id)
        stored = await folder_store.read(name, first_byte=0, last_byte=facts.cipher_size_bytes - 1)
        for word in (b"WATERMARK", b"patient-with-a-name", b"acme", ROLE.encode()):
            assert word not in bytes(stored.data)


async def test_memory_is_bounded(store: ObjectStore) -> None:
    """However large the file: a few parts on the way in, one window on the way out."""
    is_folder = isinstance(store, FolderStore)
    megabytes = 200 if is_folder else 64
    access, piece = new_access(), noise(1 << 20)
    tracemalloc.start()
    try:
        async with SealedWriter(store, access=access, role=ROLE, limit_bytes=LIMIT) as writer:
            for _ in range(megabytes):
                await writer.write(piece)
            facts = await writer.finish()
        _, writing = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        reader, total = SealedReader(store, facts, access=access), 0
        async for window in reader.iter(first_byte=0, last_byte=(megabytes << 20) - 1, window_bytes=4 << 20):
            total += len(window)
        _, reading = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert total == megabytes << 20
    assert writing < (25 << 20 if is_folder else 70 << 20)
    assert reading < (25 << 20 if is_folder else 45 << 20)
