"""Published recordings in milliseconds: everything of ingest and publishing is the product's own, ffmpeg is left out.

A pressed recording is announced over HTTP (its key, wrap and sealed metadata are the product's), and its files are
sealed and published as a worker does. Their plaintext is made of lines of 32 bytes, `<mark>:<offset>`: any fragment of
64 bytes tells what it is a fragment of, and from which place.

Use `async with pressing(world) as press:`. It holds every key of the world, as no role does: it is also how a test
builds an object that only an insider with the right key could build.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import datetime as dt
import secrets
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from keys import recording_wraps
from keys.database import Database, open_database
from keys.ids import PatientRef, RecordingId, TenantId
from keys.master.local import load_master_file
from keys.opening import open_recording_key
from keys.shares import ShareStore
from keys.strongroom import Strongroom
from tests.world import Backend, World
from vault.catalog import drafts, recordings
from vault.catalog.drafts import ObjectRow
from vault.catalog.rows import StoredFile
from vault.details import Summary, seal_details
from vault.objects.access import RecordingAccess
from vault.objects.container import FileFacts
from vault.objects.location import make_store
from vault.objects.manifest import Extent, FileEntry, Manifest, Replay, Thumbs, Track, TrackKind
from vault.objects.manifests import write_manifest
from vault.objects.sealed import SealedWriter
from vault.objects.store import ObjectName, ObjectStore

LINE: Final = 32
MIB: Final = 1 << 20

_TYPES: Final = {
    "jpg": "image/jpeg",
    "vtt": "text/vtt",
    "mp4": "video/mp4",
    "head": "application/octet-stream",
}
# Role and size of what a recording has; sizes that do not end with a chunk, and one that does.
SIZES: Final = {
    "360p.mp4": 5 * 16384 + 1234,
    "audio.mp4": 2 * 16384,
    "captions-en.vtt": 600,
    "poster.jpg": 3000,
    "replay.head": 700,
    "thumbs-001.jpg": 20000,
}
# For tests of lists, which read no media.
PICTURE: Final = {"poster.jpg": 600}
_INIT_BYTES: Final = 640


@dataclass(frozen=True, slots=True, kw_only=True)
class Pressed:
    """A published recording, and what only its maker knows."""

    access: RecordingAccess
    mark: str
    manifest: Manifest
    pinned: StoredFile

    @property
    def recording_id(self) -> RecordingId:
        """Its id."""
        return self.access.recording_id

    @property
    def url(self) -> str:
        """Where it is played."""
        return f"/v1/recordings/{self.recording_id}"

    def name(self, role: str) -> ObjectName:
        """Where the object of a role stands."""
        entry = self.manifest.file(role)
        assert entry is not None
        return self.manifest.name(entry)

    @property
    def manifest_name(self) -> ObjectName:
        """Where its manifest stands."""
        return ObjectName(self.recording_id, self.pinned.file_id)

    def plain(self, role: str) -> bytes:
        """The plaintext of a file."""
        entry = self.manifest.file(role)
        assert entry is not None
        return lines(f"{self.mark}{role[:4]}", size_bytes=entry.plain_size_bytes)


def lines(word: str, *, size_bytes: int) -> bytes:
    """Plaintext that says what and where it is, in every line of 32 bytes."""
    head = word.encode().ljust(20, b"-")[:20]
    count = -(-size_bytes // LINE)
    return b"".join(b"%s:%010d\n" % (head, at * LINE) for at in range(count))[:size_bytes]


@dataclass(frozen=True, slots=True)
class Press:
    """Makes recordings. `catalog` and `store` are connections of the test's own."""

    world: World
    catalog: Database
    store: ObjectStore
    strongroom: Strongroom

    async def publish(
        self,
        backend: Backend,
        patient: str,
        *,
        tenant: str = "clinic",
        mark: str = "",
        sizes: Mapping[str, int] = SIZES,
        **metadata: Any,
    ) -> Pressed:
        """A published recording of `patient`, with files of these roles and sizes."""
        mark = mark or f"M{secrets.token_hex(5)}"
        announced = await backend.announce(patient, **metadata)
        recording_id = RecordingId(uuid.UUID(announced["id"]))
        access = await self.access(tenant, patient, recording_id)
        files = [await self.file(access, role, size_bytes=size, mark=mark) for role, size in sizes.items()]
        manifest = Manifest(
            recording_id=recording_id,
            files=tuple(files),
            replay=_replay(sizes),
            thumbs=_thumbs() if "thumbs-001.jpg" in sizes else None,
        )
        source = await self.file(access, "original", size_bytes=100, mark=mark)
        pinned = await self.manifest(access, manifest)
        await self._publish(access, manifest, pinned, source)
        return Pressed(access=access, mark=mark, manifest=manifest, pinned=pinned)

    async def many(
        self, backend: Backend, patient: str, *, count: int, stem: str, sizes: Mapping[str, int] = SIZES
    ) -> Sequence[Pressed]:
        """So many recordings, whose titles, clinicians and media all hold the first twelve letters of `stem`."""
        return [
            await self.publish(
                backend,
                patient,
                mark=f"{stem[:12]}{number:03d}",
                sizes=sizes,
                title=f"{stem} follow-up {number}",
                clinician=f"Dr {stem}",
                description=f"{stem} is to rest.",
            )
            for number in range(count)
        ]

    async def uploaded(self, backend: Backend, patient: str, source: Path, **metadata: Any) -> RecordingId:
        """A recording that really went through the worker."""
        return RecordingId(uuid.UUID(await backend.upload(patient, source, **metadata)))

    async def access(self, tenant: str, patient: str, recording_id: RecordingId) -> RecordingAccess:
        """A recording opened by the patient's own key."""
        opened = await self.strongroom.open(TenantId(tenant), PatientRef(patient))
        async with self.catalog.reading() as connection:
            row = await recordings.by_id(connection, recording_id)
            wraps = (await recording_wraps.wraps_of(connection, [recording_id]))[recording_id]
        key = open_recording_key(
            wraps,
            opened.carried,
            tenant=opened.tenant,
            patient=opened.patient,
            recording_id=recording_id,
            recording_key_id=row.key_id,
        )
        return RecordingAccess(
            tenant=opened.tenant,
            patient=opened.patient,
            recording_id=recording_id,
            key_id=row.key_id,
            key=key,
        )

    async def file(self, access: RecordingAccess, role: str, *, size_bytes: int, mark: str) -> FileEntry:
        """One sealed file of lines."""
        facts = await self.seal(access, role, lines(f"{mark}{role[:4]}", size_bytes=size_bytes))
        track = _track(role, size_bytes) if role in {"360p.mp4", "audio.mp4"} else None
        kind = "audio/mp4" if role == "audio.mp4" else _TYPES.get(role.rpartition(".")[2], "video/webm")
        return FileEntry(
            role=role, header=facts.header, plain_size_bytes=size_bytes, content_type=kind, track=track
        )

    async def seal(self, access: RecordingAccess, role: str, plain: bytes) -> FileFacts:
        """A sealed object in the store, and the row that says it is wanted."""
        async with SealedWriter(self.store, access=access, role=role, limit_bytes=1 << 40) as writer:
            await writer.write(plain)
            facts = await writer.finish()
        await self._keep(access, facts)
        return facts

    async def manifest(self, access: RecordingAccess, manifest: Manifest) -> StoredFile:
        """A sealed manifest in the store."""
        facts = await write_manifest(self.store, manifest, access=access)
        await self._keep(access, facts)
        return StoredFile(facts.file_id, facts.plain_size_bytes)

    async def _keep(self, access: RecordingAccess, facts: FileFacts) -> None:
        async with self.catalog.writing() as connection:
            row = ObjectRow(access.recording_id, facts.file_id)
            await drafts.announce(connection, row, run_id=uuid.uuid4(), now=_now())
            await drafts.keep(connection, [facts.file_id])

    async def _publish(
        self, access: RecordingAccess, manifest: Manifest, pinned: StoredFile, source: FileEntry
    ) -> None:
        summary = Summary(
            duration_s=4.0,
            has_video=True,
            has_audio=True,
            files=tuple(entry.role for entry in manifest.files),
            published_at=_now(),
        )
        stored = StoredFile(source.file_id, source.plain_size_bytes)
        async with self.catalog.writing() as connection:
            await recordings.keep_source(connection, access.recording_id, stored)
            await recordings.start_processing(connection, access.recording_id)
            await recordings.publish(
                connection,
                access.recording_id,
                manifest=pinned,
                summary=seal_details(summary, access),
                now=_now(),
            )


@contextlib.asynccontextmanager
async def pressing(world: World) -> AsyncIterator[Press]:
    """A press for the length of the block."""
    settings = world.settings
    async with contextlib.AsyncExitStack() as stack:
        catalog = await asyncio.to_thread(open_database, settings.catalog)
        shares = await asyncio.to_thread(open_database, settings.shares)
        store = make_store(settings.objects)
        for each in (catalog, shares, store):
            stack.push_async_callback(each.aclose)
        master = await asyncio.to_thread(load_master_file, settings.master_file)
        yield Press(world, catalog, store, Strongroom(catalog, master, ShareStore(shares)))


def with_file(manifest: Manifest, entry: FileEntry) -> Manifest:
    """The manifest with another file of the same role."""
    files = tuple(entry if each.role == entry.role else each for each in manifest.files)
    return dataclasses.replace(manifest, files=files)


def _track(role: str, size_bytes: int) -> Track:
    video = role != "audio.mp4"
    return Track(
        kind=TrackKind.VIDEO if video else TrackKind.AUDIO,
        codecs="avc1.64001e" if video else "mp4a.40.2",
        width=640 if video else None,
        height=360 if video else None,
        frame_rate_millihertz=25000 if video else None,
        timescale=1000,
        init_size_bytes=_INIT_BYTES,
        sizes_bytes=(size_bytes - _INIT_BYTES,),
        durations_ticks=(4000,),
        peak_bandwidth_bps=100_000,
        average_bandwidth_bps=90_000,
    )


def _replay(sizes: Mapping[str, int]) -> Replay | None:
    if "replay.head" not in sizes:
        return None
    extents = tuple(
        Extent(role=role, offset_bytes=_INIT_BYTES, size_bytes=sizes[role] - _INIT_BYTES)
        for role in ("360p.mp4", "audio.mp4")
    )
    return Replay(head_role="replay.head", extents=extents)


def _thumbs() -> Thumbs:
    return Thumbs(
        interval_s=1, width=160, height=90, columns=2, rows=2, frames=4, sheet_roles=("thumbs-001.jpg",)
    )


def _now() -> dt.datetime:
    return dt.datetime.now(tz=dt.UTC)
