"""When mismatches are too many, and what a process believes once it has read what all of them share. Pure.

Invariants:
- the window slides: a mismatch counts for exactly `window_ms`, and more than `threshold` at one moment open;
- no more than the newest `threshold + 1` mismatches are needed to decide;
- an opening is forgotten only where the shared record says that it was closed. A record that is missing, or older
  (Redis was emptied, or restored from an old copy), does not close anything.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Self

OPERATOR: Final = "operator"
_ID_BYTES: Final = 8  # names one opening among those of a lifetime; nothing is protected by it


@dataclass(frozen=True, slots=True)
class Limit:
    """More than `threshold` mismatches within `window_ms` open the breaker."""

    threshold: int
    window_ms: int


@dataclass(frozen=True, slots=True)
class Opening:
    """What opened the breaker: `place` is an action of the audit log, or `OPERATOR`."""

    opening_id: str
    at_ms: int
    release: str
    place: str
    count: int

    @classmethod
    def new(cls, *, at_ms: int, release: str, place: str, count: int) -> Self:
        """An opening of its own."""
        return cls(secrets.token_hex(_ID_BYTES), at_ms, release, place, count)


@dataclass(frozen=True, slots=True)
class Record:
    """What all processes share: the last opening, and whether it still stands."""

    opening: Opening
    is_open: bool


@dataclass(frozen=True, slots=True)
class Held:
    """An opening that a process remembers; `told` once Redis had it."""

    opening: Opening
    told: bool


def past_ms(now_ms: int, limit: Limit) -> int:
    """The last moment that does not count any more."""
    return now_ms - limit.window_ms


def counted(moments: Iterable[int], *, now_ms: int, limit: Limit) -> int:
    """How many of the mismatches at these moments count now."""
    return sum(at > past_ms(now_ms, limit) for at in moments)


def too_many(count: int, limit: Limit) -> bool:
    """Whether so many open the breaker."""
    return count > limit.threshold


def settle(held: Held | None, record: Record | None) -> Held | None:
    """What a process believes after reading the record; not `told` where Redis has to have it (again)."""
    if record is not None and record.is_open:
        return Held(record.opening, told=True)
    if held is None or (held.told and record is not None and _ended(held.opening, record.opening)):
        return None
    return Held(held.opening, told=False)


def _ended(held: Opening, closed: Opening) -> bool:
    return held.opening_id == closed.opening_id or held.at_ms < closed.at_ms
