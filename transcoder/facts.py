"""What a source is, as plain facts, and how ffprobe's JSON becomes them.

Invariants: only formats, codecs and sizes of the allow-lists come out as facts; width and height are as displayed
(rotation and pixel shape applied); JSON that is not what ffprobe writes raises SourceNotMedia, never KeyError.
"""

from __future__ import annotations

import errno
import json
import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from .errors import (
    SourceEmpty,
    SourceHasNothingPlayable,
    SourceNotMedia,
    SourceTooLarge,
    SourceUnreadable,
    TranscoderError,
)

# Names as ffprobe gives codecs, for the decoders that `command` allows.
VIDEO_CODECS = frozenset({"h264", "hevc", "vp8", "vp9", "av1"})
AUDIO_CODECS = frozenset({"opus", "vorbis", "aac", "mp3", "flac", "pcm_s16le"})
MAX_PIXELS = 3840 * 2160
_MAX_JSON_BYTES = 1 << 20

# libavutil/error.h: an AVERROR is a negated errno or four letters. What is not listed is the file's own fault:
# formats that are not on the allow-list give EINVAL or "invalid data", depending on the build.
_ERROR_EOF = -541478725
_SOURCE_ERRORS: dict[int, type[TranscoderError]] = {
    _ERROR_EOF: SourceEmpty,
    -errno.ENOMEM: SourceTooLarge,  # avformat's answer to more streams than max_streams
}
_HTTP_ERRORS = (
    -808465656,
    -825242872,
    -858797304,
    -875574520,
    -1482175736,
    -1482175992,
)  # 400 401 403 404 4XX 5XX
_NETWORK_ERRORS = (
    errno.EIO,
    errno.EPIPE,
    errno.ECONNRESET,
    errno.ETIMEDOUT,
    errno.ECONNREFUSED,
    errno.EACCES,
)
_SOURCE_ERRORS |= dict.fromkeys([*_HTTP_ERRORS, *(-number for number in _NETWORK_ERRORS)], SourceUnreadable)


@dataclass(frozen=True, slots=True)
class VideoFacts:
    """One picture stream; `width` and `height` in square pixels as displayed, `duration_s` as demuxed."""

    index: int
    codec: str
    width: int
    height: int
    fps: float | None
    rotation: int = 0
    duration_s: float | None = None


@dataclass(frozen=True, slots=True)
class AudioFacts:
    """One sound stream; `duration_s` as demuxed."""

    index: int
    codec: str
    channels: int
    sample_rate_hz: int
    duration_s: float | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a source. `damaged`: demuxing met an error, and durations are of what could be read."""

    format_name: str
    duration_s: float | None
    video: VideoFacts | None
    audio: AudioFacts | None
    damaged: bool = False


def parse_probe(document: bytes) -> Facts:
    """Read ffprobe's JSON.

    Raises SourceNotMedia, SourceEmpty, SourceTooLarge, SourceHasNothingPlayable, or SourceUnreadable where the
    error is one of reading.
    """
    try:
        if len(document) > _MAX_JSON_BYTES:
            raise SourceTooLarge
        data = json.loads(document)
        if "error" in data:
            raise _error_of(int(data["error"]["code"]))
        return _facts(data)
    except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError):
        raise SourceNotMedia from None


def _error_of(code: int) -> TranscoderError:
    return _SOURCE_ERRORS.get(code, SourceNotMedia)()


def _facts(data: dict[str, Any]) -> Facts:
    streams = [stream for stream in data["streams"] if not _is_cover(stream)]
    videos = (_video(stream) for stream in streams if _is(stream, "video", VIDEO_CODECS))
    audios = (_audio(stream) for stream in streams if _is(stream, "audio", AUDIO_CODECS))
    video, audio = next(filter(None, videos), None), next(filter(None, audios), None)
    if video is None and audio is None:
        raise SourceHasNothingPlayable
    form = data["format"]
    return Facts(str(form["format_name"]), _seconds(form.get("duration")), video, audio)


def _is(stream: dict[str, Any], kind: str, codecs: frozenset[str]) -> bool:
    return stream.get("codec_type") == kind and stream.get("codec_name") in codecs


def _is_cover(stream: dict[str, Any]) -> bool:
    return bool(stream.get("disposition", {}).get("attached_pic"))


def _video(stream: dict[str, Any]) -> VideoFacts | None:
    width, height = int(stream.get("width", 0)), int(stream.get("height", 0))
    if width <= 0 or height <= 0:
        return None
    if width * height > MAX_PIXELS:
        raise SourceTooLarge
    shape = _ratio(stream.get("sample_aspect_ratio"), ":")
    if shape is not None and Fraction(1, 8) <= shape <= Fraction(8):
        width = max(round(width * shape), 1)
    rotation = _rotation(stream)
    if rotation in (90, 270):
        width, height = height, width
    fps = _ratio(stream.get("avg_frame_rate"), "/")
    return VideoFacts(
        int(stream["index"]), stream["codec_name"], width, height, float(fps) if fps else None, rotation
    )


def _rotation(stream: dict[str, Any]) -> int:
    """Quarter turns of the display matrix, 0 to 270; other angles are not displayed by ffmpeg's autorotation."""
    for side in stream.get("side_data_list", ()):
        if "rotation" in side:
            return round(float(side["rotation"]) / 90) * 90 % 360
    return 0


def _audio(stream: dict[str, Any]) -> AudioFacts | None:
    channels, rate = int(stream.get("channels", 0)), int(stream.get("sample_rate", 0))
    if channels <= 0 or rate <= 0:
        return None
    return AudioFacts(int(stream["index"]), stream["codec_name"], channels, rate)


def _ratio(text: object, sign: str) -> Fraction | None:
    over, _, under = str(text or "").partition(sign)
    if not (over.isascii() and over.isdigit() and under.isascii() and under.isdigit() and int(under)):
        return None
    return Fraction(int(over), int(under)) or None


def _seconds(text: object) -> float | None:
    value = float(str(text)) if text is not None else math.nan
    return value if math.isfinite(value) and value > 0 else None
