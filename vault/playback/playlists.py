"""HLS playlists and the scrub picture index, written from a manifest (RFC 8216; RFC 8216bis where it says so).

Invariants:
- every URI is a bare file name of the same folder, so that the same text serves `/v1/recordings/{id}/` and a ticket's
  path; a manifest's roles hold no character that a URI or a quoted string would read as its own;
- the byte ranges of a media playlist are the track's init segment and segments: together exactly the file;
- bandwidths are the measured ones: a variant's is the sum of its picture and of the sound that plays with it.

`{rung}.m3u8` lists the segments of `{rung}.mp4`; `master.m3u8` lists the rungs, or the sound where that is all.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from vault.objects.manifest import FileEntry, Manifest, Thumbs, Track, TrackKind

PLAYLIST_TYPE: Final = "application/vnd.apple.mpegurl"  # RFC 8216, section 4
CUES_TYPE: Final = "text/vtt"
MASTER: Final = "master.m3u8"
THUMBS: Final = "thumbs.vtt"

_AUDIO_GROUP: Final = "audio"
# 7 for EXT-X-MAP with fragmented MP4 (RFC 8216, section 7).
_HEAD: Final = ("#EXTM3U", "#EXT-X-VERSION:7", "#EXT-X-INDEPENDENT-SEGMENTS")


@dataclass(frozen=True, slots=True)
class Written:
    """A text made for one request, and its media type."""

    text: str
    content_type: str


@dataclass(frozen=True, slots=True)
class _Rung:
    name: str
    track: Track


def written(manifest: Manifest, *, name: str) -> Written | None:
    """`master.m3u8`, `{rung}.m3u8`, `audio.m3u8` or `thumbs.vtt`; None for a name this recording has no text for."""
    if name == THUMBS:
        cues = thumbs_cues(manifest)
        return None if cues is None else Written(cues, CUES_TYPE)
    playlist = master_playlist(manifest) if name == MASTER else media_playlist(manifest, name=name)
    return None if playlist is None else Written(playlist, PLAYLIST_TYPE)


def master_playlist(manifest: Manifest) -> str | None:
    """The multivariant playlist, best rung first; None where there is nothing to play."""
    rungs = sorted(_rungs(manifest, kind=TrackKind.VIDEO), key=_peak_bps, reverse=True)
    sound = next(iter(_rungs(manifest, kind=TrackKind.AUDIO)), None)
    if not rungs:
        return None if sound is None else _text(*_HEAD, *_variant(sound, sound=None))
    lines = [line for rung in rungs for line in _variant(rung, sound=sound)]
    return _text(*_HEAD, *(() if sound is None else (_rendition(sound),)), *lines)


def media_playlist(manifest: Manifest, *, name: str) -> str | None:
    """The segments of one track as byte ranges of its file; None unless `name` is `{rung}.m3u8` of a track."""
    role = f"{name.removesuffix('.m3u8')}.mp4"
    entry = manifest.file(role) if name.endswith(".m3u8") else None
    if entry is None or entry.track is None:
        return None
    track = entry.track
    return _text(
        *_HEAD,
        f"#EXT-X-TARGETDURATION:{_target_duration_s(track)}",
        "#EXT-X-MEDIA-SEQUENCE:0",
        "#EXT-X-PLAYLIST-TYPE:VOD",
        f'#EXT-X-MAP:URI="{role}",BYTERANGE="{track.init_size_bytes}@0"',
        *_segments(track, role=role),
        "#EXT-X-ENDLIST",
    )


def thumbs_cues(manifest: Manifest) -> str | None:
    """WebVTT cues that name a rectangle of a sheet for each span of time; None where there are no scrub pictures."""
    thumbs = manifest.thumbs
    if thumbs is None:
        return None
    lasts_s = max(
        (entry.track.duration_s for entry in manifest.files if entry.track is not None), default=0.0
    )
    cues = (_cue(thumbs, frame=frame, lasts_ms=round(lasts_s * 1000)) for frame in range(thumbs.frames))
    return _text("WEBVTT", *(line for cue in cues for line in cue))


def _rungs(manifest: Manifest, *, kind: TrackKind) -> list[_Rung]:
    return [_rung(entry, entry.track) for entry in manifest.files if entry.track and entry.track.kind is kind]


def _rung(entry: FileEntry, track: Track) -> _Rung:
    return _Rung(entry.role.removesuffix(".mp4"), track)


def _peak_bps(rung: _Rung) -> int:
    return rung.track.peak_bandwidth_bps


def _rendition(sound: _Rung) -> str:
    return (
        f'#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="{_AUDIO_GROUP}",NAME="Sound",DEFAULT=YES,AUTOSELECT=YES,'
        f'URI="{sound.name}.m3u8"'
    )


def _variant(rung: _Rung, *, sound: _Rung | None) -> tuple[str, str]:
    """EXT-X-STREAM-INF and its URI (RFC 8216, 4.3.4.2)."""
    tracks = [rung.track] if sound is None else [rung.track, sound.track]
    codecs = ",".join(track.codecs for track in tracks)
    attributes = [
        f"BANDWIDTH={sum(track.peak_bandwidth_bps for track in tracks)}",
        f"AVERAGE-BANDWIDTH={sum(track.average_bandwidth_bps for track in tracks)}",
        f'CODECS="{codecs}"',
        *_picture(rung.track),
        *(() if sound is None else (f'AUDIO="{_AUDIO_GROUP}"',)),
    ]
    return f"#EXT-X-STREAM-INF:{','.join(attributes)}", f"{rung.name}.m3u8"


def _picture(track: Track) -> tuple[str, ...]:
    if track.frame_rate_millihertz is None:
        return ()
    whole, thousandths = divmod(track.frame_rate_millihertz, 1000)
    return (
        f"RESOLUTION={track.width}x{track.height}",
        f"FRAME-RATE={whole}.{thousandths:03d}",
        "CLOSED-CAPTIONS=NONE",
    )


def _segments(track: Track, *, role: str) -> Iterator[str]:
    pieces = zip(track.durations_ticks, track.sizes_bytes, track.offsets_bytes(), strict=True)
    for duration_ticks, size_bytes, offset_bytes in pieces:
        yield f"#EXTINF:{duration_ticks / track.timescale:.6f},"
        yield f"#EXT-X-BYTERANGE:{size_bytes}@{offset_bytes}"
        yield role


def _target_duration_s(track: Track) -> int:
    """No segment, rounded to the nearest second, may be longer (RFC 8216, 4.3.3.1)."""
    longest = Fraction(max(track.durations_ticks), track.timescale)
    return max(1, int(longest + Fraction(1, 2)))


def _cue(thumbs: Thumbs, *, frame: int, lasts_ms: int) -> tuple[str, ...]:
    """The last picture stays to the end of the recording; one that would begin after it has no cue."""
    begins_ms = frame * thumbs.interval_s * 1000
    next_ms = begins_ms + thumbs.interval_s * 1000
    ends_ms = lasts_ms if frame == thumbs.frames - 1 else min(next_ms, lasts_ms)
    if ends_ms <= begins_ms:
        return ()
    sheet, place = divmod(frame, thumbs.columns * thumbs.rows)
    row, column = divmod(place, thumbs.columns)
    corner = f"{column * thumbs.width},{row * thumbs.height}"
    picture = f"{thumbs.sheet_roles[sheet]}#xywh={corner},{thumbs.width},{thumbs.height}"
    return "", f"{_clock(begins_ms)} --> {_clock(ends_ms)}", picture


def _clock(time_ms: int) -> str:
    seconds, ms = divmod(time_ms, 1000)
    minutes, s = divmod(seconds, 60)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{s:02d}.{ms:03d}"


def _text(*lines: str) -> str:
    return "\n".join((*lines, ""))
