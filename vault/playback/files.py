"""What a viewer can ask for of an open recording: tracks, pictures, generated playlists, the synthesised movie.

Invariants: the original, the manifest and other inner files have no name here; each answer has a strong tag that
changes whenever its bytes could.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from vault.objects.manifest import FileEntry, Manifest
from vault.objects.sealed import SealedReader
from vault.objects.store import ObjectStore
from vault.playback import playlists
from vault.playback.errors import NoSuchFile
from vault.playback.opening import OpenRecording
from vault.playback.reader import Piece

REPLAY: Final = "replay.mp4"
_STORED: Final = re.compile(r"(\d{3,4}p|audio)\.mp4|poster\.jpg|thumbs-\d{3}\.jpg|captions-[a-z]{2,8}\.vtt", re.ASCII)


@dataclass(frozen=True, slots=True)
class Text:
    """A small text made for this answer."""

    data: bytes
    content_type: str


@dataclass(frozen=True, slots=True)
class Media:
    """Bytes that lie in one or more sealed files, end to end. `tag` is the strong validator's text."""

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


def names(manifest: Manifest) -> tuple[str, ...]:
    """Every name that a viewer of this recording can ask for."""
    stored = [entry.role for entry in manifest.files if _STORED.fullmatch(entry.role)]
    lists = [name for name in playlists.names(manifest)]
    return tuple(stored + lists + ([REPLAY] if manifest.replay is not None else []))


def resolve(recording: OpenRecording, name: str, store: ObjectStore) -> Text | Media:
    """What stands behind a name; raises `NoSuchFile`, or `KeyMismatch` where a file is not this recording's."""
    manifest = recording.manifest
    text = playlists.render(manifest, name)
    if text is not None:
        return Text(text.encode(), playlists.content_type(name))
    if name == REPLAY and manifest.replay is not None:
        return _replay(recording, store)
    entry = next((each for each in manifest.files if each.role == name and _STORED.fullmatch(name)), None)
    if entry is None:
        raise NoSuchFile("no such file")
    whole = _whole(recording, entry, store)
    return Media((whole,), entry.facts.plain_size_bytes, entry.content_type, str(entry.facts.file_id))


def _whole(recording: OpenRecording, entry: FileEntry, store: ObjectStore) -> Piece:
    reader = SealedReader(store, entry.facts, access=recording.access)
    return Piece(reader, 0, entry.facts.plain_size_bytes - 1)
