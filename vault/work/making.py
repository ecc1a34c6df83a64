"""One run: from a sealed source to sealed renditions and a sealed manifest. Nothing of it is visible yet.

Invariants: every object is announced in the catalog before its first byte; ffmpeg's exit code is one clue among many
(`transcoder.verdict`); a damaged source is tried once more to save what can be played; a recording without stills is
worth publishing, one without a verdict is not.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import structlog

from keys.handover import Handover
from keys.ids import FileId
from transcoder import workshop
from transcoder.errors import SourceDamaged, SourceUnreadable, TranscoderError
from transcoder.facts import Facts
from transcoder.profiles import Plan
from transcoder.progressive import progressive
from transcoder.sandbox import Sandbox
from transcoder.track import TrackIndex
from transcoder.verdict import Evidence
from vault.catalog.rows import StoredFile
from vault.details import Summary, seal_details
from vault.objects.access import RecordingAccess
from vault.objects.container import FileFacts
from vault.objects.manifest import SOURCE_ROLE, Extent, FileEntry, Manifest, Replay, Thumbs, Track, TrackKind
from vault.objects.manifest_json import MAX_MANIFEST_BYTES, pack_manifest
from vault.objects.manifests import ROLE as MANIFEST_ROLE
from vault.objects.sealed import SealedReader, SealedWriter
from vault.objects.store import ObjectName, ObjectStore
from vault.work.gateway import Gateway

REPLAY_HEAD_ROLE: Final = "replay.head"
# Twelve hours of samples in tables; far above what a real recording needs.
_HEAD_LIMIT_BYTES: Final = 64 * 1024 * 1024

# Announces a draft before its first byte; raises `LostClaim` when the run is over.
Announce = Callable[[FileId], Awaitable[None]]
OnProgress = Callable[[float | None, float | None], None]

_log = structlog.get_logger("replayvault.work")


@dataclass(frozen=True, slots=True)
class Made:
    """What a run made: to be published in one step, or discarded."""

    manifest: StoredFile
    file_ids: tuple[FileId, ...]
    summary: bytes


@dataclass(frozen=True, slots=True)
class Maker:
    """Makes everything of one recording."""

    store: ObjectStore
    tools: workshop.Tools
    sandbox: Sandbox
    clock: Callable[[], dt.datetime]

    async def make(self, handover: Handover, *, announce: Announce, on_progress: OnProgress) -> Made:
        """Run ffmpeg and seal what it makes; raises `TranscoderError`, `ObjectsError`, `KeysError`, `LostClaim`."""
        access = RecordingAccess(
            tenant=handover.tenant,
            patient=handover.patient,
            recording_id=handover.recording_id,
            key_id=handover.key_id,
            key=handover.key,
        )
        source = await SealedReader.from_store(
            self.store,
            ObjectName(handover.recording_id, handover.source_file_id),
            access=access,
            role=SOURCE_ROLE,
            plain_size_bytes=handover.source_size_bytes,
        )
        shelf = _Shelf(self.store, access, announce)
        facts = await self._examine(source, shelf)
        plan, gateway = await self._render(source, shelf, facts, on_progress)
        return await self._assemble(source, shelf, plan, gateway)

    async def _examine(self, source: SealedReader, shelf: _Shelf) -> Facts:
        async with Gateway.listening(source, shelf.writer_for) as gateway:
            try:
                return await workshop.examine(
                    gateway.source_url,
                    tools=self.tools,
                    sandbox=self.sandbox,
                    source_size_bytes=source.size_bytes,
                )
            except TranscoderError:
                if gateway.source_errors:
                    raise SourceUnreadable from None
                raise

    async def _render(
        self, source: SealedReader, shelf: _Shelf, facts: Facts, on_progress: OnProgress
    ) -> tuple[Plan, Gateway]:
        plan = workshop.plan(facts)
        try:
            return plan, await self._run(source, shelf, facts, plan, on_progress)
        except SourceDamaged:
            salvaging = plan.salvaging()
            return salvaging, await self._run(source, shelf, facts, salvaging, on_progress)

    async def _run(
        self, source: SealedReader, shelf: _Shelf, facts: Facts, plan: Plan, on_progress: OnProgress
    ) -> Gateway:
        async with Gateway.listening(source, shelf.writer_for) as gateway:
            gateway.expect(plan)
            outcome = await workshop.render_tracks(
                plan,
                source_url=gateway.source_url,
                output_url=gateway.output_url,
                tools=self.tools,
                sandbox=self.sandbox,
                on_progress=on_progress,
            )
            await gateway.drained()
            evidence = Evidence(
                return_code=outcome.return_code,
                used_xerror=plan.strictness is workshop.Strictness.STRICT,
                source_errors=gateway.source_errors,
                puts=gateway.puts,
                tracks=gateway.tracks,
                demuxed_duration_s=plan.duration_s,
            )
            workshop.judge(plan, facts, evidence)
            await self._render_stills(plan, gateway)
            return gateway

    async def _render_stills(self, plan: Plan, gateway: Gateway) -> None:
        try:
            await workshop.render_stills(
                plan,
                source_url=gateway.source_url,
                output_url=gateway.output_url,
                tools=self.tools,
                sandbox=self.sandbox,
            )
            await gateway.drained()
        except TranscoderError as error:
            _log.warning("published without stills", reason=error.code)

    async def _assemble(self, source: SealedReader, shelf: _Shelf, plan: Plan, gateway: Gateway) -> Made:
        entries = [
            FileEntry(
                role=name,
                header=facts.header,
                plain_size_bytes=facts.plain_size_bytes,
                content_type=_content_type(name),
                track=_track(gateway.tracks[name]) if name in gateway.tracks else None,
            )
            for name, facts in sorted(gateway.files.items())
        ]
        entries.append(_plain_entry(source.facts, "application/octet-stream"))
        replay, head = await self._replay(shelf, plan, gateway)
        entries.append(_plain_entry(head, "application/octet-stream"))
        manifest = Manifest(
            recording_id=shelf.access.recording_id,
            files=tuple(entries),
            replay=replay,
            thumbs=_thumbs(plan, gateway),
        )
        async with await shelf.writer_for(MANIFEST_ROLE, MAX_MANIFEST_BYTES) as writer:
            await writer.write(pack_manifest(manifest))
            facts = await writer.finish()
        tracks = gateway.tracks.values()
        summary = Summary(
            duration_s=round(max(track.duration_s for track in tracks), 3),
            has_video=any(track.kind == "video" for track in tracks),
            has_audio=any(track.kind == "audio" for track in tracks),
            files=tuple(sorted(gateway.files)),
            published_at=self.clock(),
        )
        made = [*gateway.files.values(), head, facts]
        return Made(
            manifest=StoredFile(facts.file_id, facts.plain_size_bytes),
            file_ids=tuple(each.file_id for each in made),
            summary=seal_details(summary, shelf.access),
        )

    async def _replay(self, shelf: _Shelf, plan: Plan, gateway: Gateway) -> tuple[Replay, FileFacts]:
        video = next((name for name in plan.track_names if gateway.tracks[name].kind == "video"), None)
        audio = next((name for name in plan.track_names if gateway.tracks[name].kind == "audio"), None)
        movie = progressive(
            None if video is None else gateway.tracks[video],
            None if audio is None else gateway.tracks[audio],
        )
        async with await shelf.writer_for(REPLAY_HEAD_ROLE, _HEAD_LIMIT_BYTES) as writer:
            await writer.write(movie.head)
            head = await writer.finish()
        roles = {"video": video or "", "audio": audio or ""}
        extents = tuple(
            Extent(role=roles[each.track], offset_bytes=each.offset_bytes, size_bytes=each.size_bytes)
            for each in movie.extents
        )
        return Replay(head_role=REPLAY_HEAD_ROLE, extents=extents), head


@dataclass(frozen=True, slots=True)
class _Shelf:
    """Where a run's files go: each is announced before its first byte."""

    store: ObjectStore
    access: RecordingAccess
    announce: Announce

    async def writer_for(self, role: str, limit_bytes: int) -> SealedWriter:
        writer = SealedWriter(self.store, access=self.access, role=role, limit_bytes=limit_bytes)
        await self.announce(writer.file_id)
        return writer


def _plain_entry(facts: FileFacts, content_type: str) -> FileEntry:
    return FileEntry(
        role=facts.role,
        header=facts.header,
        plain_size_bytes=facts.plain_size_bytes,
        content_type=content_type,
    )


def _content_type(name: str) -> str:
    if name.endswith(".jpg"):
        return "image/jpeg"
    return "audio/mp4" if name == "audio.mp4" else "video/mp4"


def _track(index: TrackIndex) -> Track:
    is_video = index.kind == "video"
    return Track(
        kind=TrackKind.VIDEO if is_video else TrackKind.AUDIO,
        codecs=index.codec,
        width=index.width if is_video else None,
        height=index.height if is_video else None,
        frame_rate_millihertz=round(index.frame_rate * 1000) if is_video else None,
        timescale=index.timescale,
        init_size_bytes=index.init_size_bytes,
        sizes_bytes=tuple(segment.size_bytes for segment in index.segments),
        durations_ticks=tuple(round(segment.duration_s * index.timescale) for segment in index.segments),
        peak_bandwidth_bps=index.peak_bitrate,
        average_bandwidth_bps=index.average_bitrate,
    )


def _thumbs(plan: Plan, gateway: Gateway) -> Thumbs | None:
    sprites = plan.sprites
    sheets = tuple(sorted(name for name in gateway.files if name.startswith("thumbs-")))
    if sprites is None or not sheets:
        return None
    grid = sprites.columns * sprites.rows
    frames = min(sprites.frames, len(sheets) * grid)
    return Thumbs(
        interval_s=sprites.interval_s,
        width=sprites.canvas.width,
        height=sprites.canvas.height,
        columns=sprites.columns,
        rows=sprites.rows,
        frames=frames,
        sheet_roles=sheets[: -(-frames // grid)],
    )
