"""What a viewer can ask for of an open recording: tracks, pictures, generated playlists, the synthesised movie.

Invariants: the original, the manifest and other inner files have no name here; each answer has a strong tag that
changes whenever its bytes could.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from vault.objects.manifest import FileEntry, Manifest, Replay
from vault.objects.store import ObjectStore
from vault.playback import playlists
from vault.playback.errors import NoSuchFile
from vault.playback.lasting import LastingReader
from vault.playback.opening import OpenRecording
from vault.playback.reader import Piece

REPLAY: Final = "replay.mp4"
_STORED: Final = re.compile(
    r"\d{3,4}p\.mp4|audio\.mp4|poster\.jpg|thumbs-\d{3}\.jpg|captions-[a-z]{2,8}\.vtt", re.ASCII
)


@dataclass(frozen=True, slots=True)
class Media:
    """Bytes that lie in one or more sealed files, end to end; `tag` is the text of a strong validator."""

    parts: tuple[Piece, ...]
    size_bytes: int
    content_type: str
    tag: str

    def pieces(self, first: int, last: int) -> Iterator[Piece]:
        """Where bytes `first` to `last` (inclusive) lie."""
        start = 0
        for part in self.parts:
            size = part.last - part.first + 1
            if start + size > first and start <= last:
                lower, upper = max(first - start, 0), min(last - start, size - 1)
                yield Piece(part.reader, part.first + lower, part.first + upper)
            start += size


def resolve(recording: OpenRecording, name: str, store: ObjectStore) -> playlists.Written | Media:
    """What stands behind a name; raises `NoSuchFile`, or `KeyMismatch` where a file is not this recording's."""
    manifest = recording.manifest
    text = playlists.written(manifest, name=name)
    if text is not None:
        return text
    if name == REPLAY and manifest.replay is not None:
        return _movie(recording, manifest.replay, store)
    entry = manifest.file(name) if _STORED.fullmatch(name) else None
    if entry is None:
        raise NoSuchFile("no such file")
    return Media(
        (_whole(recording, entry, store),), entry.plain_size_bytes, entry.content_type, str(entry.file_id)
    )


def _movie(recording: OpenRecording, replay: Replay, store: ObjectStore) -> Media:
    """The head, then the extents of the tracks (see `transcoder.progressive`)."""
    manifest = recording.manifest
    head = _whole(recording, _required(manifest, replay.head_role), store)
    readers = {
        role: LastingReader(store, recording, _required(manifest, role))
        for role in {extent.role for extent in replay.extents}
    }
    parts = [head]
    parts += [
        Piece(readers[each.role], each.offset_bytes, each.offset_bytes + each.size_bytes - 1)
        for each in replay.extents
    ]
    size_bytes = sum(part.last - part.first + 1 for part in parts)
    video = any(entry.role in readers and entry.content_type == "video/mp4" for entry in manifest.files)
    tag = str(_required(manifest, replay.head_role).file_id)
    return Media(tuple(parts), size_bytes, "video/mp4" if video else "audio/mp4", tag)


def _whole(recording: OpenRecording, entry: FileEntry, store: ObjectStore) -> Piece:
    return Piece(LastingReader(store, recording, entry), 0, entry.plain_size_bytes - 1)


def _required(manifest: Manifest, role: str) -> FileEntry:
    entry = manifest.file(role)
    if entry is None:
        raise NoSuchFile("no such file")
    return entry
