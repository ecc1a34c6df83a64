"""Plaintext in, sealed object out, and back: the only two ways through which media bytes pass.

Invariants:
- plaintext is sealed chunk by chunk as it arrives; at most one upload part is held, and of it less than one chunk
  in plaintext;
- a writer that fails or is cancelled leaves no object, and seals nothing after it: what was sealed once is never
  sealed again with other bytes;
- a reader returns plaintext only after every chunk that it came from verified, and it believes only sizes that
  are authenticated: those of the manifest or the catalog, or the last chunk's.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Final, Self

from keys.errors import KeyMismatch
from keys.ids import FileId
from vault.objects.access import RecordingAccess
from vault.objects.cipher import FileCipher, FileSealer
from vault.objects.container import (
    CHUNK_BYTES,
    HEADER_BYTES,
    PART_CHUNKS,
    SEALED_CHUNK_BYTES,
    ChunkRange,
    FileFacts,
    Header,
    chunk_range,
    last_chunk,
    plain_size_bytes,
)
from vault.objects.errors import DamagedObject, StoreUnavailable, TooLarge, WrongChunk
from vault.objects.store import Fetched, ObjectName, ObjectStore, Upload

# How much is opened in one go before other tasks get their turn: about two milliseconds of one core.
_SLICE_BYTES: Final = PART_CHUNKS * SEALED_CHUNK_BYTES


class _State(enum.Enum):
    NEW = enum.auto()
    READY = enum.auto()
    # In a call, or left by an exception: a call that did not come back has lost its place in the object.
    BUSY = enum.auto()
    FINISHED = enum.auto()


class SealedWriter:
    """Seals one new file: `async with SealedWriter(…) as writer`, `write` …, `finish`.

    Leaving the block without `finish` aborts the upload. One task at a time; after an exception the writer is spent.
    """

    def __init__(self, store: ObjectStore, *, access: RecordingAccess, role: str, limit_bytes: int) -> None:
        """`limit_bytes` bounds the plaintext."""
        self._store = store
        self._role = role
        self._limit_bytes = limit_bytes
        self._sealer: FileSealer = FileCipher.seal(access, role=role)
        self._index = 0
        self._plain_size_bytes = 0
        self._partial_chunk = bytearray()
        self._part = bytearray(self._sealer.header.pack())
        self._part_chunks = 0
        self._upload: Upload | None = None
        self._state = _State.NEW

    @property
    def name(self) -> ObjectName:
        """The object's name; the object exists once `finish` has returned."""
        return ObjectName(self._sealer.header.recording_id, self._sealer.header.file_id)

    @property
    def file_id(self) -> FileId:
        """The new file's id."""
        return self._sealer.header.file_id

    @property
    def plain_size_bytes(self) -> int:
        """Plaintext taken so far."""
        return self._plain_size_bytes

    async def __aenter__(self) -> Self:
        if self._state is not _State.NEW:
            raise WrongChunk("a writer seals one file")
        self._state = _State.BUSY
        self._upload = await self._store.create(self.name)
        self._state = _State.READY
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        finished, self._state = self._state is _State.FINISHED, _State.FINISHED
        if not finished and self._upload is not None:
            # Shielded: a second cancellation must not leave half an upload behind. A store that fails here too
            # does not hide the first error; its sweep takes the rest.
            with contextlib.suppress(StoreUnavailable):
                await asyncio.shield(asyncio.ensure_future(self._upload.abort()))

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        """Seal the next bytes, however many; raises `TooLarge` or `StoreUnavailable`."""
        upload = self._claim()
        rest = memoryview(data).cast("B")
        self._plain_size_bytes += len(rest)
        if self._plain_size_bytes > self._limit_bytes:
            raise TooLarge(f"more than the {self._limit_bytes} bytes allowed")
        while len(self._partial_chunk) + len(rest) >= CHUNK_BYTES:
            rest = self._seal_full_chunk(rest)
            if self._part_chunks == PART_CHUNKS:
                await self._flush(upload)
        self._partial_chunk += rest
        self._state = _State.READY

    async def finish(self) -> FileFacts:
        """Seal the last chunk and make the object visible and durable; raises as `write` does, or `ObjectExists`."""
        upload = self._claim()
        self._seal(self._partial_chunk, final=True)
        await self._flush(upload)
        await upload.complete()
        self._state = _State.FINISHED
        return FileFacts(role=self._role, header=self._sealer.header, plain_size_bytes=self._plain_size_bytes)

    def _claim(self) -> Upload:
        if self._state is not _State.READY or self._upload is None:
            raise WrongChunk("the writer is in use, spent or finished")
        self._state = _State.BUSY
        return self._upload

    def _seal_full_chunk(self, rest: memoryview) -> memoryview:
        """Seal one full chunk from what was left over and `rest`; returns what remains of `rest`."""
        taken = CHUNK_BYTES - len(self._partial_chunk)
        if self._partial_chunk:
            self._partial_chunk += rest[:taken]
            self._seal(self._partial_chunk, final=False)
            self._partial_chunk = bytearray()
        else:
            self._seal(rest[:taken], final=False)
        return rest[taken:]

    def _seal(self, plain: bytearray | memoryview, *, final: bool) -> None:
        self._part += self._sealer.seal_chunk(plain, index=self._index, final=final)
        self._index += 1
        self._part_chunks += 1

    async def _flush(self, upload: Upload) -> None:
        part, self._part, self._part_chunks = self._part, bytearray(), 0
        await upload.part(part)


class SealedReader:
    """Reads ranges of one sealed file. Every `read` is one request for whole chunks."""

    def __init__(self, store: ObjectStore, facts: FileFacts, *, access: RecordingAccess) -> None:
        """`facts` come from an authenticated place: a manifest, or the catalog. Raises `KeyMismatch`."""
        self._store = store
        self._facts = facts
        self._cipher = FileCipher.open(facts.header, access=access, role=facts.role)
        self._pin: str | None = None

    @classmethod
    async def from_store(
        cls,
        store: ObjectStore,
        name: ObjectName,
        *,
        access: RecordingAccess,
        role: str,
        plain_size_bytes: int | None = None,
    ) -> Self:
        """A reader of an object whose header is not at hand: reads the header first, one request more.

        The header must name what was asked for. Without an authenticated `plain_size_bytes` the size is taken
        from the store and authenticated by opening the last chunk. Raises `MalformedObject`, `KeyMismatch`,
        `DamagedObject`, `ObjectMissing` or `StoreUnavailable`.
        """
        start = await store.read(name, first_byte=0, last_byte=HEADER_BYTES - 1)
        reader = cls(store, _facts(start, name=name, role=role, expected=plain_size_bytes), access=access)
        reader._check(start, size_bytes=HEADER_BYTES)
        if plain_size_bytes is None:
            await reader._open(last_chunk(reader.size_bytes))
        return reader

    @property
    def size_bytes(self) -> int:
        """Size of the plaintext, authenticated."""
        return self._facts.plain_size_bytes

    @property
    def facts(self) -> FileFacts:
        """What is known of the file."""
        return self._facts

    async def read(self, *, first_byte: int, last_byte: int) -> bytes:
        """Plaintext bytes `first_byte` to `last_byte`, both included: exactly these, all verified.

        Raises `DamagedObject`, `ObjectMissing`, `StoreUnavailable`, or `ValueError` for a range outside the file.
        """
        chunks = chunk_range(
            first_plain_byte=first_byte, last_plain_byte=last_byte, plain_size_bytes=self.size_bytes
        )
        plain = memoryview(await self._open(chunks))
        return bytes(plain[chunks.lead_bytes : chunks.lead_bytes + last_byte - first_byte + 1])

    async def read_all(self) -> bytes:
        """The whole plaintext, end included, also where it is empty. For small files."""
        if self.size_bytes == 0:
            return bytes(await self._open(last_chunk(0)))
        return await self.read(first_byte=0, last_byte=self.size_bytes - 1)

    async def iter(self, *, first_byte: int, last_byte: int, window_bytes: int) -> AsyncIterator[bytes]:
        """The range in verified windows of whole chunks, about `window_bytes` each, one request a window."""
        step = max(window_bytes // CHUNK_BYTES, 1) * CHUNK_BYTES
        while first_byte <= last_byte:
            window_end = min((first_byte // CHUNK_BYTES) * CHUNK_BYTES + step - 1, last_byte)
            yield await self.read(first_byte=first_byte, last_byte=window_end)
            first_byte = window_end + 1

    async def _open(self, chunks: ChunkRange) -> bytearray:
        fetched = await self._store.read(
            self._name, first_byte=chunks.first_cipher_byte, last_byte=chunks.last_cipher_byte, pin=self._pin
        )
        self._check(fetched, size_bytes=chunks.cipher_bytes)
        sealed = memoryview(fetched.data)
        if len(sealed) <= _SLICE_BYTES:
            return self._cipher.open_chunks(sealed, first_index=chunks.first_index)
        plain = bytearray()
        for at in range(0, len(sealed), _SLICE_BYTES):
            index = chunks.first_index + at // SEALED_CHUNK_BYTES
            plain += self._cipher.open_chunks(sealed[at : at + _SLICE_BYTES], first_index=index)
            await asyncio.sleep(0)
        return plain

    @property
    def _name(self) -> ObjectName:
        return ObjectName(self._facts.header.recording_id, self._facts.header.file_id)

    def _check(self, fetched: Fetched, *, size_bytes: int) -> None:
        if len(fetched.data) != size_bytes or fetched.object_size_bytes != self._facts.cipher_size_bytes:
            raise DamagedObject("the object's size is not the one that was sealed")
        self._pin = fetched.pin


def _facts(start: Fetched, *, name: ObjectName, role: str, expected: int | None) -> FileFacts:
    header = Header.parse(bytes(start.data))
    if (header.recording_id, header.file_id) != (name.recording_id, name.file_id):
        raise KeyMismatch("another object stands under this name")
    size = plain_size_bytes(start.object_size_bytes) if expected is None else expected
    return FileFacts(role=role, header=header, plain_size_bytes=size)
