"""Writes fragmented MP4 tracks as ffmpeg's HLS muxer does, and wrong in one place where a test asks for it."""

from __future__ import annotations

import struct

from transcoder.boxes import box, full_box

VIDEO, AUDIO = "video", "audio"
_KEY, _NOT_KEY = 0x02000000, 0x01010000


class TrackWriter:
    """One track: `init()`, then `segment(sizes)` as often as wanted. A sample lasts half a second."""

    def __init__(
        self, kind: str, *, sidx: bool = True, styp: bool = False, media_start: int = 0, delay: int = 0
    ) -> None:
        self.kind = kind
        self.timescale = 15360 if kind == VIDEO else 48000
        self._sample = self.timescale // 2
        self._with_sidx, self._with_styp = sidx, styp
        self._edits = ([(delay, -1)] if delay else []) + [(0, media_start)]
        self._sequence = 0
        self._time = 0

    def track(self, *segments: list[int]) -> bytes:
        return self.init() + b"".join(self.segment(sizes) for sizes in segments)

    def init(self) -> bytes:
        handler, about = (b"vide", b"vmhd") if self.kind == VIDEO else (b"soun", b"smhd")
        stsd = full_box(b"stsd", struct.pack(">I", 1), self._video() if self.kind == VIDEO else self._audio())
        empty = [full_box(name, bytes(4)) for name in (b"stts", b"stsc", b"stco")]
        stbl = box(b"stbl", stsd, *empty, full_box(b"stsz", bytes(8)))
        mdia = box(
            b"mdia",
            full_box(b"mdhd", struct.pack(">IIIIHH", 0, 0, self.timescale, 0, 0x55C4, 0)),
            full_box(b"hdlr", struct.pack(">4x4s12x", handler), b"\0"),
            box(b"minf", full_box(about, bytes(8)), stbl),
        )
        rows = [struct.pack(">Iii", length, start, 0x10000) for length, start in self._edits]
        elst = full_box(b"elst", struct.pack(">I", len(rows)), *rows)
        tkhd = full_box(b"tkhd", struct.pack(">III", 0, 0, 1), bytes(68), flags=3)
        trex = full_box(b"trex", struct.pack(">IIIII", 1, 1, 0, 0, 0))
        mvhd = full_box(b"mvhd", struct.pack(">IIII", 0, 0, 1000, 0), bytes(80))
        moov = box(b"moov", mvhd, box(b"trak", tkhd, box(b"edts", elst), mdia), box(b"mvex", trex))
        return box(b"ftyp", b"iso5", bytes(4), b"iso5iso6mp41") + moov

    def segment(self, sizes: list[int], **broken: int) -> bytes:
        body = self.fragment(sizes, broken=broken)
        styp = box(b"styp", b"msdh", bytes(4)) if self._with_styp else b""
        return styp + (self.sidx(len(body)) if self._with_sidx else b"") + body

    def sidx(self, size_bytes: int) -> bytes:
        head = struct.pack(">IIQQHH", 1, self.timescale, 0, 0, 0, 1)
        return full_box(b"sidx", head, struct.pack(">III", size_bytes, 1, 0x90000000), version=1)

    def fragment(
        self, sizes: list[int], *, media: bool = True, broken: dict[str, int] | None = None
    ) -> bytes:
        broken = broken or {}
        self._sequence += 1
        flags = [_KEY if at == 0 or self.kind == AUDIO else _NOT_KEY for at in range(len(sizes))]
        if not broken.get("first_is_key", True):
            flags[0] = _NOT_KEY
        rows = b"".join(
            struct.pack(">IIIi", self._sample, size, flag, 0) for size, flag in zip(sizes, flags, strict=True)
        )
        moof = self._moof(rows, count=len(sizes), data_offset=0, broken=broken)
        moof = self._moof(rows, count=len(sizes), data_offset=len(moof) + 8, broken=broken)
        self._time += self._sample * len(sizes)
        header = struct.pack(">I4s", 8 + sum(sizes), b"mdat")
        return moof + header + (bytes(sum(sizes)) if media else b"")

    def _moof(self, rows: bytes, *, count: int, data_offset: int, broken: dict[str, int]) -> bytes:
        trun = struct.pack(">Ii", broken.get("count", count), broken.get("data_offset", data_offset))
        time = broken.get("decode_time", self._time)
        return box(
            b"moof",
            full_box(b"mfhd", struct.pack(">I", broken.get("sequence", self._sequence))),
            box(
                b"traf",
                full_box(
                    b"tfhd",
                    struct.pack(">I", broken.get("track_id", 1)),
                    flags=broken.get("tfhd_flags", 0x020000),
                ),
                full_box(b"tfdt", struct.pack(">Q", time), version=1),
                full_box(b"trun", trun, rows, version=1, flags=broken.get("trun_flags", 0xF01)),
            ),
        )

    def _video(self) -> bytes:
        config = box(
            b"avcC", bytes.fromhex("014d401effe1") + struct.pack(">H", 4) + bytes(4) + b"\1\0\4" + bytes(4)
        )
        return box(b"avc1", bytes(24), struct.pack(">HH", 320, 180), bytes(50), config)

    def _audio(self) -> bytes:
        specific = bytes([5, 2]) + struct.pack(">H", 2 << 11 | 3 << 7 | 1 << 3)
        decoder = bytes([4, 13 + len(specific), 0x40]) + bytes(12) + specific
        stream = bytes([3, 3 + len(decoder)]) + bytes(3) + decoder
        return box(b"mp4a", bytes(16), struct.pack(">HHII", 2, 16, 0, 48000 << 16), full_box(b"esds", stream))
