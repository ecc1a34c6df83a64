"""Published recordings of any size, made in seconds: the product's own writer, manifest and publishing step.

Invariant: only ffmpeg is left out. The bytes are sealed by `SealedWriter`, the run claims its job, announces its
drafts and publishes as every worker does; the track's content is a pattern, which no reader looks into.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Final

from keys.handover import Handover
from vault.catalog.rows import StoredFile
from vault.details import Summary, seal_details
from vault.objects.access import RecordingAccess
from vault.objects.container import FileFacts
from vault.objects.manifest import FileEntry, Manifest, Track, TrackKind
from vault.objects.manifest_json import MAX_MANIFEST_BYTES, pack_manifest
from vault.objects.manifests import ROLE as MANIFEST_ROLE
from vault.objects.sealed import SealedWriter
from vault.objects.store import ObjectStore
from vault.work.making import Announce, Made, Maker, OnProgress

TRACK: Final = "720p.mp4"
_BLOCK: Final = bytes(range(256)) * 4096
_INIT_BYTES: Final = 1024
_SEGMENT_BYTES: Final = 1_000_000  # four seconds at two megabits a second
_SEGMENT_S: Final = 4


@dataclass(frozen=True, slots=True)
class BulkMaker(Maker):
    """Makes one track of `size_bytes` in place of ffmpeg."""

    size_bytes: int

    async def make(self, handover: Handover, *, announce: Announce, on_progress: OnProgress) -> Made:
        """Seal the track and its manifest; raises what writing raises."""
        del on_progress
        access = RecordingAccess(
            tenant=handover.tenant,
            patient=handover.patient,
            recording_id=handover.recording_id,
            key_id=handover.key_id,
            key=handover.key,
        )
        shelf = _Shelf(self.store, access, announce)
        track = await shelf.seal(TRACK, self.size_bytes)
        manifest = Manifest(recording_id=access.recording_id, files=(_entry(track),))
        text = pack_manifest(manifest)
        sealed = await shelf.seal(MANIFEST_ROLE, len(text), content=text, limit_bytes=MAX_MANIFEST_BYTES)
        summary = Summary(
            duration_s=float(len(_sizes(self.size_bytes)) * _SEGMENT_S),
            has_video=True,
            has_audio=False,
            files=(TRACK,),
            published_at=dt.datetime.now(tz=dt.UTC),
        )
        return Made(
            manifest=StoredFile(sealed.file_id, sealed.plain_size_bytes),
            file_ids=(track.file_id, sealed.file_id),
            summary=seal_details(summary, access),
        )


@dataclass(frozen=True, slots=True)
class _Shelf:
    store: ObjectStore
    access: RecordingAccess
    announce: Announce

    async def seal(
        self, role: str, size_bytes: int, *, content: bytes = _BLOCK, limit_bytes: int | None = None
    ) -> FileFacts:
        """Seal `content`, over and over, up to a size."""
        writer = SealedWriter(
            self.store, access=self.access, role=role, limit_bytes=limit_bytes or size_bytes
        )
        await self.announce(writer.file_id)
        async with writer:
            for _ in range(size_bytes // len(content)):
                await writer.write(content)
            await writer.write(content[: size_bytes % len(content)])
            return await writer.finish()


def _sizes(size_bytes: int) -> tuple[int, ...]:
    whole, rest = divmod(size_bytes - _INIT_BYTES, _SEGMENT_BYTES)
    return (*(_SEGMENT_BYTES for _ in range(whole)), *((rest,) if rest else ()))


def _entry(facts: FileFacts) -> FileEntry:
    sizes = _sizes(facts.plain_size_bytes)
    rate = _SEGMENT_BYTES * 8 // _SEGMENT_S
    track = Track(
        kind=TrackKind.VIDEO,
        codecs="avc1.4d401f",
        width=1280,
        height=720,
        frame_rate_millihertz=30_000,
        timescale=1000,
        init_size_bytes=_INIT_BYTES,
        sizes_bytes=sizes,
        durations_ticks=tuple(_SEGMENT_S * 1000 for _ in sizes),
        peak_bandwidth_bps=rate,
        average_bandwidth_bps=rate,
    )
    return FileEntry(
        role=TRACK,
        header=facts.header,
        plain_size_bytes=facts.plain_size_bytes,
        content_type="video/mp4",
        track=track,
    )
