"""Everything that one recording consists of, sealed once more under a new key. Nothing of it is visible yet.

Invariants:
- every object is announced in the catalog before its first byte, in a transaction that renews the job's claim;
- plaintext passes window by window: memory does not grow with the size of a recording, and nothing is written down;
- a copy counts once its end has been read back from the store and opened: what it replaces will be destroyed.
"""

from __future__ import annotations

import dataclasses
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from keys.ids import FileId
from vault.catalog.rows import RecordingRow, StoredFile
from vault.details import Metadata, Summary, open_details, seal_details
from vault.objects.access import RecordingAccess
from vault.objects.container import CHUNK_BYTES, FileFacts
from vault.objects.errors import DamagedObject
from vault.objects.manifest import SOURCE_ROLE, Manifest
from vault.objects.manifest_json import MAX_MANIFEST_BYTES, pack_manifest
from vault.objects.manifests import ROLE as MANIFEST_ROLE
from vault.objects.manifests import read_manifest
from vault.objects.sealed import SealedReader, SealedWriter
from vault.objects.store import ObjectName, ObjectStore

# Two mebibytes: a request to the store is worth its round trip, and the event loop is held for a few milliseconds.
WINDOW_BYTES: Final = 128 * CHUNK_BYTES
_ALIVE_EVERY_S: Final = 5.0

# Announces an object before its first byte; raises `LostClaim` when the job is somebody else's.
Announce = Callable[[FileId, uuid.UUID], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Copied:
    """What a recording consists of, under its new key."""

    metadata: bytes
    summary: bytes | None
    source: StoredFile | None
    manifest: StoredFile | None
    file_ids: tuple[FileId, ...]


@dataclass(slots=True)
class Copying:
    """Copies one recording from the key `old` to the key `new`. `alive` renews the job's claim."""

    store: ObjectStore
    old: RecordingAccess
    new: RecordingAccess
    run_id: uuid.UUID
    announce: Announce
    alive: Callable[[], Awaitable[None]]
    _file_ids: list[FileId] = field(default_factory=list)
    _alive_s: float = field(default_factory=time.monotonic)

    async def copy(self, row: RecordingRow) -> Copied:
        """Everything that `row` points at.

        Raises `KeyMismatch`, `Damaged`, `Malformed`, `ObjectsError` or `LostClaim`; what was written then is a draft.
        """
        metadata = open_details(row.metadata, self.old, kind=Metadata)
        summary = None if row.summary is None else open_details(row.summary, self.old, kind=Summary)
        manifest = None if row.manifest is None else await self._manifest(row.manifest)
        source, pinned = row.source, None
        if manifest is not None:
            pinned, ids = await self._files(manifest)
            source = _moved(source, ids)
        if source is not None and source == row.source:
            source = await self._source(source)
        return Copied(
            metadata=seal_details(metadata, self.new),
            summary=None if summary is None else seal_details(summary, self.new),
            source=source,
            manifest=pinned,
            file_ids=tuple(self._file_ids),
        )

    async def _manifest(self, pinned: StoredFile) -> Manifest:
        name = ObjectName(self.old.recording_id, pinned.file_id)
        return await read_manifest(self.store, name, plain_size_bytes=pinned.size_bytes, access=self.old)

    async def _files(self, manifest: Manifest) -> tuple[StoredFile, dict[FileId, FileId]]:
        """Copy what a manifest names, and write one that names the copies; old ids and new ones."""
        entries, ids = [], {}
        for entry in manifest.files:
            facts = await self._file(SealedReader(self.store, entry.facts, access=self.old))
            entries.append(dataclasses.replace(entry, header=facts.header))
            ids[entry.file_id] = facts.file_id
        packed = pack_manifest(dataclasses.replace(manifest, files=tuple(entries)))
        async with await self._writer(MANIFEST_ROLE, MAX_MANIFEST_BYTES) as writer:
            await writer.write(packed)
            facts = await writer.finish()
        await self._require_whole(facts)
        return StoredFile(facts.file_id, facts.plain_size_bytes), ids

    async def _source(self, source: StoredFile) -> StoredFile:
        """Copy a source that no manifest names."""
        reader = await SealedReader.from_store(
            self.store,
            ObjectName(self.old.recording_id, source.file_id),
            access=self.old,
            role=SOURCE_ROLE,
            plain_size_bytes=source.size_bytes,
        )
        return StoredFile((await self._file(reader)).file_id, source.size_bytes)

    async def _file(self, reader: SealedReader) -> FileFacts:
        async with await self._writer(reader.facts.role, reader.size_bytes) as writer:
            if reader.size_bytes == 0:
                await reader.read_all()  # so that its end is authenticated, too
            async for window in reader.iter(
                first_byte=0, last_byte=reader.size_bytes - 1, window_bytes=WINDOW_BYTES
            ):
                await writer.write(window)
                await self._stay_alive()
            facts = await writer.finish()
        await self._require_whole(facts)
        return facts

    async def _writer(self, role: str, limit_bytes: int) -> SealedWriter:
        writer = SealedWriter(self.store, access=self.new, role=role, limit_bytes=limit_bytes)
        await self.announce(writer.file_id, self.run_id)
        self._file_ids.append(writer.file_id)
        return writer

    async def _require_whole(self, facts: FileFacts) -> None:
        """Open the end of a copy, which its size hangs on; raises as a reader does."""
        name = ObjectName(self.new.recording_id, facts.file_id)
        reader = await SealedReader.from_store(self.store, name, access=self.new, role=facts.role)
        if reader.facts != facts:
            raise DamagedObject("the copy in the store is not what was written")

    async def _stay_alive(self) -> None:
        if time.monotonic() - self._alive_s > _ALIVE_EVERY_S:
            await self.alive()
            self._alive_s = time.monotonic()


def _moved(source: StoredFile | None, ids: dict[FileId, FileId]) -> StoredFile | None:
    """Where a source is now; where it was, if it is not among these."""
    if source is None:
        return None
    return StoredFile(ids.get(source.file_id, source.file_id), source.size_bytes)
