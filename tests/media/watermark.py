"""A recording one can search for: marks that stand in the file, in its picture and in its title.

- **Sound**: uncompressed PCM whose samples repeat a sequence of `PERIOD` bytes known from the seed. A Matroska file
  holds them as they are, so `Watermark.needles[0]` stands in every 64 KiB of the file: whoever writes a piece of
  the plaintext writes the needle. (Not in what is made from it: AAC is another code.)
- **Title**: `Watermark.title` is the file's title, as UTF-8 (`Watermark.needles[1]`).
- **Picture**: 16 black or white blocks along the upper edge spell `Watermark.pattern`. They survive scaling and
  coding; `read_pattern` reads them back from any rendition, so a test can tell *whose* frames were played.

Two of them, `WATERMARKS["watermarked.mkv"]` and `WATERMARKS["watermarked-other.mkv"]`, share no needle.
"""

from __future__ import annotations

import dataclasses
import hashlib
import struct
from pathlib import Path

from tests.media.tools import ffmpeg
from vault.demo import scene

WATERMARKED_S = 12
PERIOD = 2000  # bytes, 1000 samples
_NEEDLE = 48  # bytes: no chance of meeting it by accident
_BITS = 16
_BLOCK = 640 // _BITS  # pixels
_STRIP = 30  # pixels of 360
_RATE_HZ = 48_000


@dataclasses.dataclass(frozen=True, slots=True)
class Watermark:
    """The marks of one recording, all computed from its seed."""

    seed: str

    @property
    def pattern(self) -> int:
        """The 16 bits that its pictures show, leftmost block first."""
        return int.from_bytes(self._bytes(b"pattern", size=2), "big")

    @property
    def title(self) -> str:
        """Its title: unlike any other text on the machine."""
        return f"Follow-up {self._bytes(b'title', size=12).hex()}"

    @property
    def period(self) -> bytes:
        """The bytes that its sound repeats: little-endian samples, quiet enough to listen to."""
        words = struct.iter_unpack(">H", self._bytes(b"sound", size=PERIOD))
        return b"".join(struct.pack("<h", (word % 8001) - 4000) for (word,) in words)

    @property
    def needles(self) -> tuple[bytes, ...]:
        """Byte strings that no file, socket log or core dump may hold: sound first, then title."""
        return self.period[:_NEEDLE], self.title.encode()

    def _bytes(self, purpose: bytes, *, size: int) -> bytes:
        return hashlib.shake_256(purpose + b":" + self.seed.encode()).digest(size)


WATERMARKS = {"watermarked.mkv": Watermark("one"), "watermarked-other.mkv": Watermark("other")}
FILES = tuple(WATERMARKS)


def make(folder: Path) -> None:
    """Make every file of `FILES`."""
    for name, mark in WATERMARKS.items():
        sound = folder / f"{name}.pcm"
        size = 2 * _RATE_HZ * WATERMARKED_S
        sound.write_bytes((mark.period * (size // PERIOD + 1))[:size])
        picture = f"{scene.talking_head(label='plain')};[plain]{_strip(mark.pattern)}[v]"
        ffmpeg(
            *("-f", "s16le", "-ar", str(_RATE_HZ), "-ac", "1", "-i", sound, "-filter_complex", picture),
            *("-map", "[v]", "-map", "0:a", "-t", str(WATERMARKED_S), "-metadata", f"title={mark.title}"),
            *("-c:v", "libx264", "-preset", "veryfast", "-crf", "26", "-g", "60", "-c:a", "pcm_s16le"),
            folder / name,
        )
        sound.unlink()


def read_pattern(path: Path, *, at_s: float) -> int:
    """Read the 16 bits off the picture shown at a time, in any rendition that keeps the picture's shape."""
    corner = f"crop=iw:ih*{_STRIP}/360/2:0:ih*{_STRIP}/360/4,scale={_BITS}:1:flags=area,format=gray"
    frame = ("-frames:v", "1", "-f", "rawvideo", "-")
    pixels = ffmpeg("-ss", str(at_s), "-i", path, "-map", "0:v:0", "-vf", corner, *frame)
    return int("".join("1" if pixel > 127 else "0" for pixel in pixels), 2)


def _strip(pattern: int) -> str:
    boxes = [f"drawbox=x=0:y=0:w=640:h={_STRIP}:color=black:t=fill"]
    for place, bit in enumerate(f"{pattern:0{_BITS}b}"):
        if bit == "1":
            boxes.append(f"drawbox=x={place * _BLOCK}:y=0:w={_BLOCK}:h={_STRIP}:color=white:t=fill")
    return ",".join(boxes)
