"""ffmpeg's `-progress` stream, parsed as it arrives.

The format is `key=value` lines; a block ends with `progress=continue` or `progress=end`. Two traps are handled
here: `out_time_ms` counts microseconds (as `out_time_us` does), and both are `N/A` until the first packet.

Invariants: memory is bounded whatever arrives (a line that is too long is dropped); unknown keys and values that
do not parse are ignored, because a progress report is advice and never part of the verdict.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

_LINE_LIMIT_BYTES = 1024
_MICROSECONDS_PER_S = 1_000_000


@dataclass(frozen=True, slots=True)
class Progress:
    """One block. `out_time_s` is None before the first packet; `speed` is in multiples of real time."""

    out_time_s: float | None = None
    frame: int | None = None
    speed: float | None = None
    ended: bool = False

    def fraction_of(self, duration_s: float | None) -> float | None:
        """How much of `duration_s` is done, 0 to 1; None where either is unknown."""
        if self.ended:
            return 1.0
        if self.out_time_s is None or not duration_s:
            return None
        return min(max(self.out_time_s / duration_s, 0.0), 1.0)


class ProgressParser:
    """Feed it bytes in any split; it returns the blocks that were completed."""

    __slots__ = ("_fields", "_overlong", "_pending")

    def __init__(self) -> None:
        self._pending = bytearray()
        self._overlong = False
        self._fields: dict[str, str] = {}

    def feed(self, data: bytes) -> list[Progress]:
        """Parse what arrived; every returned block ended inside `data`."""
        *lines, rest = data.split(b"\n")
        blocks = []
        for line in lines:
            block = self._line_ended(line)
            if block is not None:
                blocks.append(block)
        self._append(rest)
        return blocks

    def _append(self, part: bytes) -> None:
        if self._overlong or len(self._pending) + len(part) > _LINE_LIMIT_BYTES:
            self._overlong = True
            self._pending.clear()
        else:
            self._pending += part

    def _line_ended(self, tail: bytes) -> Progress | None:
        self._append(tail)
        line, self._overlong = self._pending.decode("ascii", "replace").strip(), False
        self._pending.clear()
        key, _, value = line.partition("=")
        if key == "progress":
            fields, self._fields = self._fields, {}
            return _block(fields, ended=value == "end")
        if key in ("out_time_us", "out_time_ms", "frame", "speed"):
            self._fields[key] = value.strip()
        return None


def _block(fields: dict[str, str], *, ended: bool) -> Progress:
    micros = _number(fields.get("out_time_us", fields.get("out_time_ms")))
    frame = _number(fields.get("frame"))
    return Progress(
        out_time_s=None if micros is None else max(micros / _MICROSECONDS_PER_S, 0.0),
        frame=None if frame is None else int(frame),
        speed=_number(fields.get("speed", "").removesuffix("x")),
        ended=ended,
    )


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None
