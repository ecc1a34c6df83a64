"""Encrypting anew: megabytes a second of the job, beside opening and sealing alone, and its memory for small and large.

The objects stand in a folder, the catalog is SQLite: what is measured is this product and no network.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from keys.database import open_database
from keys.ids import RecordingId, new_key_id, parse_patient
from keys.secret import RecordingKey
from tests.catalog.rows import TENANT
from tests.rotation.room import Room
from vault.catalog import drafts, recordings
from vault.catalog.drafts import ObjectRow
from vault.catalog.key_job_states import JobState
from vault.catalog.key_jobs import JobKind
from vault.catalog.migrate import Schema, migrate
from vault.catalog.rows import StoredFile
from vault.catalog.unlocking import unlock
from vault.objects.access import RecordingAccess
from vault.objects.container import FileFacts
from vault.objects.manifest import SOURCE_ROLE
from vault.objects.sealed import SealedReader, SealedWriter
from vault.rotation.copying import WINDOW_BYTES
from vault.rotation.renewal_job import GRACE

SIZES_BYTES: Final = (256 * 1024**2, 2 * 1024**3)
LEAST_SHARE: Final = 0.6
MOST_PEAK_MB: Final = 100.0
_BLOCK: Final = os.urandom(1 << 20)
_MB: Final = 1_000_000


async def measure() -> bool:
    """Run and print; whether every limit held."""
    with tempfile.TemporaryDirectory(prefix="rv-bench-") as folder:
        found = [await _measured(Path(folder) / str(size), size) for size in SIZES_BYTES]
    print("reencrypt: one recording, in a folder")
    for size, one in zip(SIZES_BYTES, found, strict=True):
        print(
            f"  {size / _MB:8.0f} MB: {one.job_mb_s:5.0f} MB/s, opening and sealing alone {one.plain_mb_s:5.0f} MB/s"
        )
        print(f"               memory +{one.peak_mb:.0f} MB at most (limit {MOST_PEAK_MB:.0f})")
    large = found[-1]  # a small one is done in less than a second, most of which is not its bytes
    return large.job_mb_s >= LEAST_SHARE * large.plain_mb_s and all(
        one.peak_mb <= MOST_PEAK_MB for one in found
    )


@dataclass(frozen=True, slots=True)
class _Figures:
    job_mb_s: float
    plain_mb_s: float
    peak_mb: float


async def _measured(folder: Path, size_bytes: int) -> _Figures:
    await asyncio.to_thread(folder.mkdir)
    urls = [f"sqlite+aiosqlite:///{folder / name}" for name in ("catalog.sqlite", "shares.sqlite")]
    catalog, shares = open_database(urls[0]), open_database(urls[1])
    await migrate(catalog, Schema.CATALOG)
    await migrate(shares, Schema.SHARES)
    room = await Room.open(catalog, shares, folder / "audit")
    recording_id = (await room.patient("ann", recordings=1))[0]
    facts, access = await _received(room, recording_id, size_bytes)
    await _copied(room, facts, access)  # the first one finds the disk's cache cold
    plain_s = await _copied(room, facts, access)
    before_mb = _begin_peak()
    begun_s = time.monotonic()
    job = await room.ask(JobKind.REENCRYPT, options={GRACE: 0})
    await room.runner().once()
    job_s, peak_mb = time.monotonic() - begun_s, _peak_mb() - before_mb
    if (await room.job(job)).state is not JobState.DONE:
        raise RuntimeError("the job did not end")
    await room.aclose()
    await catalog.aclose()
    await shares.aclose()
    return _Figures(size_bytes / _MB / job_s, size_bytes / _MB / plain_s, peak_mb)


async def _received(
    room: Room, recording_id: RecordingId, size_bytes: int
) -> tuple[FileFacts, RecordingAccess]:
    """A source of that size, of a recording that has failed."""
    row, opened, key = await unlock(room.strongroom, await room.row(recording_id))
    access = RecordingAccess(
        tenant=TENANT, patient=opened.patient, recording_id=recording_id, key_id=row.key_id, key=key
    )
    async with SealedWriter(room.store, access=access, role=SOURCE_ROLE, limit_bytes=size_bytes) as writer:
        for _ in range(size_bytes // len(_BLOCK)):
            await writer.write(_BLOCK)
        facts = await writer.finish()
    async with room.catalog.writing() as connection:
        draft = ObjectRow(recording_id, facts.file_id)
        await drafts.announce(connection, draft, run_id=uuid.uuid4(), now=room.at)
        await drafts.keep(connection, [facts.file_id])
        await recordings.keep_source(connection, recording_id, StoredFile(facts.file_id, size_bytes))
        await recordings.start_processing(connection, recording_id)
        await recordings.fail(connection, recording_id, code="bench", detail="bench")
    return facts, access


async def _copied(room: Room, facts: FileFacts, old: RecordingAccess) -> float:
    """Open and seal once, without anything around it; how long that took, in seconds."""
    new = RecordingAccess(
        tenant=TENANT,
        patient=parse_patient("ann"),
        recording_id=old.recording_id,
        key_id=new_key_id(),
        key=RecordingKey.generate(),
    )
    begun_s = time.monotonic()
    reader = SealedReader(room.store, facts, access=old)
    size = reader.size_bytes
    async with SealedWriter(room.store, access=new, role=SOURCE_ROLE, limit_bytes=size) as writer:
        async for window in reader.iter(first_byte=0, last_byte=size - 1, window_bytes=WINDOW_BYTES):
            await writer.write(window)
        await writer.finish()
    taken_s = time.monotonic() - begun_s
    await room.store.delete([writer.name])
    return taken_s


def _begin_peak() -> float:
    """Forget the peak so far; the memory in use now, in MB."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return _peak_mb()


def _peak_mb() -> float:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024 / _MB
