"""The init segment of a track: what its `moov` box says (ISO/IEC 14496-12 section 8, -15 and -14 for codecs).

Invariants: exactly one track, H.264 (`avc1`) or AAC (`mp4a`), fragmented (`mvex`), with at most one empty edit
before one edit at normal speed. Anything else is TrackDamaged, because ffmpeg was told to write just that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .boxes import Fields, children, only, optional
from .errors import TrackDamaged

Kind = Literal["video", "audio"]

_KINDS: dict[bytes, Kind] = {b"vide": "video", b"soun": "audio"}
_AVC_CONFIG_MIN_BYTES = 7
_MAX_SIDE, _MAX_TIMESCALE = 16384, 10_000_000
_TAG_ES, _TAG_DECODER_CONFIG, _TAG_DECODER_SPECIFIC = 3, 4, 5
_OBJECT_TYPE_AAC = 0x40
_ESCAPED_OBJECT_TYPE, _ESCAPED_RATE = 31, 15


@dataclass(frozen=True, slots=True)
class SampleDefaults:
    """Values of `trex` that a fragment may leave out."""

    duration: int
    size: int
    flags: int


@dataclass(frozen=True, slots=True)
class Format:
    """What the sample entry says; the measures of the other kind are 0. `codec` is as in RFC 6381 section 3.3."""

    codec: str
    width: int = 0
    height: int = 0
    channels: int = 0
    sample_rate_hz: int = 0


@dataclass(frozen=True, slots=True)
class TrackHeader:
    """One track's description.

    `sample_entry` is the whole `avc1` or `mp4a` box; `media_start` is where the edit list begins to show the
    media, in `timescale` units; `delay_s` is the empty edit before it.
    """

    kind: Kind
    format: Format
    track_id: int
    timescale: int
    sample_entry: bytes
    media_start: int
    delay_s: float
    defaults: SampleDefaults


def parse_moov(payload: memoryview) -> TrackHeader:
    """Read a `moov` payload. Raises TrackDamaged."""
    track = only(payload, b"trak")
    media = only(track, b"mdia")
    kind = _KINDS.get(bytes(only(media, b"hdlr")[8:12]))
    timescale = _timescale(only(media, b"mdhd"), limit=_MAX_TIMESCALE)
    movie_timescale = _timescale(only(payload, b"mvhd"), limit=_MAX_TIMESCALE)
    entry = _sample_entry(only(only(only(media, b"minf"), b"stbl"), b"stsd"))
    if kind is None:
        raise TrackDamaged
    delay, media_start = _edits(optional(track, b"edts"))
    return TrackHeader(
        kind=kind,
        track_id=_track_id(only(track, b"tkhd")),
        timescale=timescale,
        media_start=media_start,
        delay_s=delay / movie_timescale,
        defaults=_defaults(only(only(payload, b"mvex"), b"trex")),
        sample_entry=bytes(entry),
        format=_visual(entry) if kind == "video" else _sound(entry),
    )


def _timescale(payload: memoryview, *, limit: int) -> int:
    """Read the time scale of `mvhd` or `mdhd`, which begin alike."""
    fields = Fields(payload)
    version, _ = fields.version_and_flags()
    fields.take(16 if version == 1 else 8)
    timescale = fields.number(4)
    if not 0 < timescale <= limit:
        raise TrackDamaged
    return timescale


def _track_id(payload: memoryview) -> int:
    fields = Fields(payload)
    version, _ = fields.version_and_flags()
    fields.take(16 if version == 1 else 8)
    return fields.number(4)


def _defaults(payload: memoryview) -> SampleDefaults:
    fields = Fields(payload)
    fields.take(12)  # version and flags, track, sample description
    defaults = SampleDefaults(fields.number(4), fields.number(4), fields.number(4))
    fields.end()
    return defaults


def _edits(payload: memoryview | None) -> tuple[int, int]:
    """Return (length of the empty edit in movie time, start of the shown media in media time)."""
    if payload is None:
        return 0, 0
    fields = Fields(only(payload, b"elst"))
    version, _ = fields.version_and_flags()
    wide = 8 if version == 1 else 4
    count, delay = fields.number(4), 0
    for number in range(min(count, 3)):
        length, start, rate = fields.number(wide), fields.signed(wide), fields.number(4)
        if rate != 0x00010000:  # noqa: PLR2004  # 16.16 fixed point: normal speed
            raise TrackDamaged
        if start >= 0 and number == count - 1:
            fields.end()
            return delay, start
        if start != -1 or number != 0:
            raise TrackDamaged
        delay = length
    raise TrackDamaged


def _sample_entry(payload: memoryview) -> memoryview:
    """Return the one entry of `stsd`, as a whole box."""
    fields = Fields(payload)
    fields.take(4)
    if fields.number(4) != 1:
        raise TrackDamaged
    entry = fields.rest()
    if len(list(children(entry))) != 1:
        raise TrackDamaged
    return entry


def _visual(entry: memoryview) -> Format:
    """Read a VisualSampleEntry with an AVCDecoderConfigurationRecord."""
    if bytes(entry[4:8]) != b"avc1":
        raise TrackDamaged
    fields = Fields(entry[8:])
    fields.take(24)
    width, height = fields.number(2), fields.number(2)
    fields.take(50)
    config = only(fields.rest(), b"avcC")
    if (
        len(config) < _AVC_CONFIG_MIN_BYTES
        or config[0] != 1
        or not (0 < width <= _MAX_SIDE and 0 < height <= _MAX_SIDE)
    ):
        raise TrackDamaged
    return Format(f"avc1.{config[1:4].hex()}", width=width, height=height)


def _sound(entry: memoryview) -> Format:
    """Read an AudioSampleEntry with an `esds`."""
    if bytes(entry[4:8]) != b"mp4a":
        raise TrackDamaged
    fields = Fields(entry[8:])
    fields.take(16)
    fields.take(8)  # the channel count here says 2 whatever the stream holds
    rate = fields.number(4) >> 16
    object_type, channels = _audio_config(only(fields.rest(), b"esds")[4:])
    if channels == 0 or rate == 0:
        raise TrackDamaged
    return Format(f"mp4a.40.{object_type}", channels=channels, sample_rate_hz=rate)


def _audio_config(descriptors: memoryview) -> tuple[int, int]:
    """Return (audio object type, channels) of an AudioSpecificConfig (ISO/IEC 14496-3 section 1.6.2.1).

    It lies in ES_Descriptor, DecoderConfigDescriptor, DecoderSpecificInfo (ISO/IEC 14496-1 section 7.2.6).
    """
    stream = Fields(_descriptor(Fields(descriptors), _TAG_ES))
    stream.take(3)
    decoder = Fields(_descriptor(stream, _TAG_DECODER_CONFIG))
    if decoder.number(1) != _OBJECT_TYPE_AAC:
        raise TrackDamaged
    decoder.take(12)
    bits = Fields(_descriptor(decoder, _TAG_DECODER_SPECIFIC)).number(2)
    object_type, rate_index, channels = bits >> 11, bits >> 7 & 0xF, bits >> 3 & 0xF
    if object_type in (0, _ESCAPED_OBJECT_TYPE) or rate_index == _ESCAPED_RATE:
        raise TrackDamaged
    return object_type, channels


def _descriptor(fields: Fields, tag: int) -> memoryview:
    """Take one descriptor; its length is in groups of seven bits, four at most."""
    if fields.number(1) != tag:
        raise TrackDamaged
    size = 0
    for _ in range(4):
        byte = fields.number(1)
        size = size << 7 | byte & 0x7F
        if byte < 0x80:  # noqa: PLR2004  # the last group has no continuation bit
            return fields.take(size)
    raise TrackDamaged
