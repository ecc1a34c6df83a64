"""What a recording consists of: its files, the segment index of its tracks, and how its pieces are put together.

Invariants, all checked when a manifest is made, so that a wrong one cannot exist:
- roles and file ids are unique, and every file's header names the manifest's recording;
- a track's init segment and segments are exactly its file, without gap or rest: offsets need not be stored;
- a replay's extents lie inside the files that they name, and whatever names a role names one that is there.
A manifest holds nothing about the patient, and no title: metadata is sealed apart from it.
"""

from __future__ import annotations

import enum
import itertools
import re
from dataclasses import dataclass
from typing import Final

from keys.ids import FileId, RecordingId
from vault.objects.container import FileFacts, Header
from vault.objects.errors import MalformedObject
from vault.objects.store import ObjectName

VERSION: Final = 1
# The role of what was uploaded.
SOURCE_ROLE: Final = "original"

_ROLE: Final = re.compile(r"[a-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
_CONTENT_TYPE: Final = re.compile(r"[a-z0-9.+-]+/[a-z0-9.+-]+(; ?[a-z]+=[A-Za-z0-9.-]+)*", re.ASCII)
# RFC 6381, section 3.2: what stands inside the quotes of codecs="…" for one track.
_CODECS: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)


class TrackKind(enum.Enum):
    """What a track carries."""

    VIDEO = "video"
    AUDIO = "audio"


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """A fragmented MP4 track. Width, height and frame rate are those of video and null for audio.

    `frame_rate_millihertz` is 29970 for 29.97 frames a second: whole numbers have one JSON form. Segment k has
    `sizes_bytes[k]` bytes and lasts `durations_ticks[k]` of `1/timescale` seconds; the first begins after
    `init_size_bytes`. Bandwidths are those of EXT-X-STREAM-INF (RFC 8216, section 4.3.4.2), in bits a second.
    """

    kind: TrackKind
    codecs: str
    width: int | None
    height: int | None
    frame_rate_millihertz: int | None
    timescale: int
    init_size_bytes: int
    sizes_bytes: tuple[int, ...]
    durations_ticks: tuple[int, ...]
    peak_bandwidth_bps: int
    average_bandwidth_bps: int

    def __post_init__(self) -> None:
        picture = (self.width, self.height, self.frame_rate_millihertz)
        if self.kind is TrackKind.VIDEO:
            _require(all(value is not None and value > 0 for value in picture), "a video track has a picture")
        else:
            _require(picture == (None, None, None), "an audio track has no picture")
        _require(_CODECS.fullmatch(self.codecs), "codecs are one entry of RFC 6381")
        _require(
            len(self.sizes_bytes) == len(self.durations_ticks) > 0, "every segment has a size and a duration"
        )
        positive = (self.timescale, self.init_size_bytes, *self.sizes_bytes)
        _require(min(positive) > 0, "timescale and sizes are positive")
        not_negative = (self.peak_bandwidth_bps, self.average_bandwidth_bps, *self.durations_ticks)
        _require(min(not_negative) >= 0, "bandwidths and durations are not negative")

    @property
    def size_bytes(self) -> int:
        """Size of the whole track file."""
        return self.init_size_bytes + sum(self.sizes_bytes)

    @property
    def duration_s(self) -> float:
        """Duration of all segments, in seconds."""
        return sum(self.durations_ticks) / self.timescale

    def offsets_bytes(self) -> tuple[int, ...]:
        """Where each segment begins in the file."""
        return tuple(itertools.accumulate(self.sizes_bytes[:-1], initial=self.init_size_bytes))


@dataclass(frozen=True, slots=True, kw_only=True)
class FileEntry:
    """One sealed file of the recording."""

    role: str
    header: Header
    plain_size_bytes: int
    content_type: str
    track: Track | None = None

    def __post_init__(self) -> None:
        _require(_ROLE.fullmatch(self.role), "a role has 1 to 64 characters of A-Z a-z 0-9 . _ -")
        _require(_CONTENT_TYPE.fullmatch(self.content_type), "a content type has the form type/subtype")
        try:
            _ = self.facts
        except ValueError:
            raise MalformedObject("a file's size is out of bounds") from None
        if self.track is not None:
            _require(
                self.track.size_bytes == self.plain_size_bytes, "a track's segments are exactly its file"
            )

    @property
    def facts(self) -> FileFacts:
        """What `SealedReader` needs."""
        return FileFacts(role=self.role, header=self.header, plain_size_bytes=self.plain_size_bytes)

    @property
    def file_id(self) -> FileId:
        """The file's id."""
        return self.header.file_id

    @property
    def cipher_size_bytes(self) -> int:
        """Size of the sealed object."""
        return self.facts.cipher_size_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """`size_bytes` plaintext bytes from `offset_bytes` on of the file `role`."""

    role: str
    offset_bytes: int
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """The progressive MP4 that is put together when it is asked for: the file `head_role`, then the extents."""

    head_role: str
    extents: tuple[Extent, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Thumbs:
    """Scrub pictures of `width` by `height` every `interval_s`, `columns` by `rows` on a sheet, `frames` in all."""

    interval_s: int
    width: int
    height: int
    columns: int
    rows: int
    frames: int
    sheet_roles: tuple[str, ...]

    def __post_init__(self) -> None:
        numbers = (self.interval_s, self.width, self.height, self.columns, self.rows, self.frames)
        _require(min(numbers) > 0, "a grid of thumbnails has positive sides")
        sheets = -(-self.frames // (self.columns * self.rows))
        _require(len(self.sheet_roles) == sheets, "there are as many sheets as the thumbnails need")


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """All files of one recording. Raises `MalformedObject` unless the invariants hold."""

    recording_id: RecordingId
    files: tuple[FileEntry, ...]
    replay: Replay | None = None
    thumbs: Thumbs | None = None
    version: int = VERSION

    def __post_init__(self) -> None:
        _require(self.version == VERSION, "a manifest of an unknown version")
        sizes = {entry.role: entry.plain_size_bytes for entry in self.files}
        ids = {entry.file_id for entry in self.files}
        _require(len(sizes) == len(ids) == len(self.files), "roles and file ids are unique")
        of_recording = all(entry.header.recording_id == self.recording_id for entry in self.files)
        _require(of_recording, "every file belongs to the recording")
        if self.thumbs is not None:
            _require(sizes.keys() >= set(self.thumbs.sheet_roles), "every sheet is a file")
        if self.replay is not None:
            _check_replay(self.replay, sizes)

    def file(self, role: str) -> FileEntry | None:
        """The file of that role, if there is one."""
        return next((entry for entry in self.files if entry.role == role), None)

    def name(self, entry: FileEntry) -> ObjectName:
        """Where the file's object stands."""
        return ObjectName(self.recording_id, entry.file_id)


def _check_replay(replay: Replay, sizes: dict[str, int]) -> None:
    _require(replay.head_role in sizes, "the replay's head is a file")
    _require(len(replay.extents) > 0, "a replay has media")
    for extent in replay.extents:
        _require(extent.offset_bytes >= 0 and extent.size_bytes > 0, "an extent is not empty")
        end = extent.offset_bytes + extent.size_bytes
        _require(end <= sizes.get(extent.role, -1), "an extent lies inside its file")


def _require(condition: object, otherwise: str) -> None:
    if not condition:
        raise MalformedObject(f"not a manifest: {otherwise}")
