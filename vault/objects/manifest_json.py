"""A manifest as bytes: canonical JSON, one form for each manifest. Pure.

UTF-8, members sorted by name, no white space, integers only. A replay's extents are `[track, offset, size]` with
`track` an index into `tracks`, which lists the roles in the order of their first use.

Invariant: `parse_manifest` takes exactly what `pack_manifest` makes. Whatever is parsed is packed again and must give
the same bytes, so that no unknown member, double member, other number form or derived value that disagrees passes.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import ClassVar, Final
from uuid import UUID

from pydantic import ConfigDict, TypeAdapter, ValidationError

from keys.ids import RecordingId
from vault.objects.container import Header
from vault.objects.errors import MalformedObject
from vault.objects.manifest import Extent, FileEntry, Manifest, Replay, Thumbs, Track

# Eight hours in three renditions take about 600 kB.
MAX_MANIFEST_BYTES: Final = 16 * 1024 * 1024
_STRICT: Final = ConfigDict(strict=True, extra="forbid")


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    role: str
    file_id: UUID
    plain_size_bytes: int
    cipher_size_bytes: int
    header: str
    content_type: str
    track: Track | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Replay:
    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    head: str
    tracks: tuple[str, ...]
    extents: tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Document:
    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    version: int
    recording_id: UUID
    files: tuple[_File, ...]
    replay: _Replay | None
    thumbs: Thumbs | None


_DOCUMENT: Final = TypeAdapter(_Document)


def pack_manifest(manifest: Manifest) -> bytes:
    """The canonical bytes; raises `MalformedObject` beyond `MAX_MANIFEST_BYTES`."""
    document = _Document(
        version=manifest.version,
        recording_id=manifest.recording_id,
        files=tuple(_file(entry) for entry in manifest.files),
        replay=None if manifest.replay is None else _replay(manifest.replay),
        thumbs=manifest.thumbs,
    )
    plain = _DOCUMENT.dump_python(document, mode="json")
    data = json.dumps(plain, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
    if len(data) > MAX_MANIFEST_BYTES:
        raise MalformedObject("not a manifest: too large")
    return data


def parse_manifest(data: bytes) -> Manifest:
    """The manifest in `data`; raises `MalformedObject` for anything that `pack_manifest` does not make."""
    if len(data) > MAX_MANIFEST_BYTES:
        raise MalformedObject("not a manifest: too large")
    try:
        document = _DOCUMENT.validate_json(data)
    except ValidationError:
        raise MalformedObject("not a manifest: wrong form") from None
    manifest = Manifest(
        version=document.version,
        recording_id=RecordingId(document.recording_id),
        files=tuple(_entry(file) for file in document.files),
        replay=None if document.replay is None else _parsed_replay(document.replay),
        thumbs=document.thumbs,
    )
    if pack_manifest(manifest) != data:
        raise MalformedObject("not a manifest: not in canonical form")
    return manifest


def _file(entry: FileEntry) -> _File:
    return _File(
        role=entry.role,
        file_id=entry.file_id,
        plain_size_bytes=entry.plain_size_bytes,
        cipher_size_bytes=entry.cipher_size_bytes,
        header=base64.b64encode(entry.header.pack()).decode(),
        content_type=entry.content_type,
        track=entry.track,
    )


def _entry(file: _File) -> FileEntry:
    try:
        header = Header.parse(base64.b64decode(file.header, validate=True))
    except (binascii.Error, ValueError):
        raise MalformedObject("not a manifest: a header is not base64") from None
    return FileEntry(
        role=file.role,
        header=header,
        plain_size_bytes=file.plain_size_bytes,
        content_type=file.content_type,
        track=file.track,
    )


def _replay(replay: Replay) -> _Replay:
    tracks = {role: at for at, role in enumerate(dict.fromkeys(extent.role for extent in replay.extents))}
    return _Replay(
        head=replay.head_role,
        tracks=tuple(tracks),
        extents=tuple((tracks[each.role], each.offset_bytes, each.size_bytes) for each in replay.extents),
    )


def _parsed_replay(replay: _Replay) -> Replay:
    if not all(0 <= track < len(replay.tracks) for track, _, _ in replay.extents):
        raise MalformedObject("not a manifest: an extent of no track")
    extents = tuple(
        Extent(role=replay.tracks[track], offset_bytes=offset, size_bytes=size)
        for track, offset, size in replay.extents
    )
    return Replay(head_role=replay.head, extents=extents)
