"""One `moof` box and one `sidx` box as numbers (ISO/IEC 14496-12 sections 8.8 and 8.16.3).

Invariants: one run of samples a fragment, its data right behind the `moof` in one `mdat`, in order and without gaps, so
that sizes alone say where a sample is; no table is longer than the box that holds it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from .boxes import HEADER_BYTES, Fields, only
from .errors import TrackDamaged
from .movie import SampleDefaults, TrackHeader

_TFHD_DESCRIPTION, _TFHD_DURATION, _TFHD_SIZE, _TFHD_FLAGS = 0x02, 0x08, 0x10, 0x20
_TFHD_BASE_IS_MOOF = 0x020000
_TFHD_KNOWN = _TFHD_DESCRIPTION | _TFHD_DURATION | _TFHD_SIZE | _TFHD_FLAGS | _TFHD_BASE_IS_MOOF
_TRUN_DATA_OFFSET, _TRUN_FIRST_FLAGS = 0x01, 0x04
_TRUN_DURATION, _TRUN_SIZE, _TRUN_FLAGS, _TRUN_COMPOSITION = 0x100, 0x200, 0x400, 0x800
_TRUN_COLUMNS = (_TRUN_DURATION, _TRUN_SIZE, _TRUN_FLAGS, _TRUN_COMPOSITION)
_TRUN_KNOWN = _TRUN_DATA_OFFSET | _TRUN_FIRST_FLAGS | sum(_TRUN_COLUMNS)
_SAMPLE_IS_NOT_SYNC = 0x10000
_SIDX_REFERENCE_BYTES = 12


@dataclass(frozen=True, slots=True)
class Fragment:
    """Samples of one `moof`, column by column; `composition` is presentation minus decoding time."""

    sequence: int
    decode_time: int
    durations: tuple[int, ...]
    sizes: tuple[int, ...]
    composition: tuple[int, ...]
    is_sync: tuple[bool, ...]


def parse_sidx(payload: memoryview, *, timescale: int) -> int:
    """Read a segment index; return how many bytes directly behind it are its segment. Raises TrackDamaged."""
    fields = Fields(payload)
    version, _ = fields.version_and_flags()
    fields.take(4)
    if fields.number(4) != timescale:
        raise TrackDamaged
    fields.take(8 if version == 1 else 4)
    first_offset = fields.number(8 if version == 1 else 4)
    fields.take(2)
    references = fields.number(2)
    size = 0
    for _ in range(references):
        kind_and_size, _, _ = struct.unpack(">III", fields.take(_SIDX_REFERENCE_BYTES))
        if kind_and_size >> 31:
            raise TrackDamaged
        size += kind_and_size
    fields.end()
    if first_offset or not references:
        raise TrackDamaged
    return size


def parse_moof(payload: memoryview, header: TrackHeader) -> Fragment:
    """Read a `moof` of the one track. Raises TrackDamaged."""
    sequence_box = Fields(only(payload, b"mfhd"))
    sequence_box.take(4)
    sequence = sequence_box.number(4)
    traf = only(payload, b"traf")
    defaults = _track_fragment_defaults(only(traf, b"tfhd"), header)
    data_offset = 2 * HEADER_BYTES + len(payload)  # behind this box and the header of its mdat
    return _run(
        only(traf, b"trun"), defaults, data_offset=data_offset, sequence=sequence, time=_decode_time(traf)
    )


def _track_fragment_defaults(payload: memoryview, header: TrackHeader) -> SampleDefaults:
    fields = Fields(payload)
    _, flags = fields.version_and_flags()
    if flags & ~_TFHD_KNOWN or not flags & _TFHD_BASE_IS_MOOF or fields.number(4) != header.track_id:
        raise TrackDamaged
    if flags & _TFHD_DESCRIPTION and fields.number(4) != 1:
        raise TrackDamaged
    defaults = SampleDefaults(
        fields.number(4) if flags & _TFHD_DURATION else header.defaults.duration,
        fields.number(4) if flags & _TFHD_SIZE else header.defaults.size,
        fields.number(4) if flags & _TFHD_FLAGS else header.defaults.flags,
    )
    fields.end()
    return defaults


def _decode_time(traf: memoryview) -> int:
    fields = Fields(only(traf, b"tfdt"))
    version, _ = fields.version_and_flags()
    time = fields.number(8 if version == 1 else 4)
    fields.end()
    return time


def _run(
    payload: memoryview, defaults: SampleDefaults, *, data_offset: int, sequence: int, time: int
) -> Fragment:
    """Read one `trun`: a table whose columns are chosen by its flags."""
    fields = Fields(payload)
    version, flags = fields.version_and_flags()
    count = fields.number(4)
    if flags & ~_TRUN_KNOWN or not flags & _TRUN_DATA_OFFSET or fields.signed(4) != data_offset:
        raise TrackDamaged
    first_flags = fields.number(4) if flags & _TRUN_FIRST_FLAGS else None
    present = [column for column in _TRUN_COLUMNS if flags & column]
    if not count or (not present and count > 1):  # a table without columns could claim any number of samples
        raise TrackDamaged
    table = struct.unpack(f">{count * len(present)}I", _exactly(fields, 4 * count * len(present)))
    columns = {column: table[number :: len(present)] for number, column in enumerate(present)}
    sample_flags = columns.get(_TRUN_FLAGS, (defaults.flags,) * count)
    if first_flags is not None:
        sample_flags = (first_flags, *sample_flags[1:])
    return Fragment(
        sequence=sequence,
        decode_time=time,
        durations=columns.get(_TRUN_DURATION, (defaults.duration,) * count),
        sizes=columns.get(_TRUN_SIZE, (defaults.size,) * count),
        composition=_composition(columns.get(_TRUN_COMPOSITION, (0,) * count), version),
        is_sync=tuple(not value & _SAMPLE_IS_NOT_SYNC for value in sample_flags),
    )


def _exactly(fields: Fields, size_bytes: int) -> memoryview:
    rest = fields.rest()
    if len(rest) != size_bytes:
        raise TrackDamaged
    return rest


def _composition(column: tuple[int, ...], version: int) -> tuple[int, ...]:
    """Version 1 is signed; version 0 is not, and half its range is more than any reordering needs."""
    if version == 0 and any(value >> 31 for value in column):
        raise TrackDamaged
    return tuple(value - (value >> 31 << 32) for value in column)
