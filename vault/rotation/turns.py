"""What a runner asks of a kind of job: a count, and one bounded turn after the other."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What one turn did: how many items it handled, where the next one begins, and whether the job is at its end.

    With `again_at` the job is given up until then.
    """

    handled: int
    cursor: str | None
    is_end: bool = False
    rest_s: float = 0.0
    note: str | None = None
    again_at: dt.datetime | None = None


class Turns(Protocol):
    """A kind of job, for one claim of it.

    Both methods raise `LostClaim`, `MasterUnavailable`, `DatabaseUnavailable`, `AuditUnavailable` or
    `StoreUnavailable`, and may be repeated then: what was done stays done.
    """

    async def count(self) -> int:
        """How many items there are to do."""
        ...

    async def turn(self, cursor: str | None) -> Turn:
        """Do the next few items; counts what it does in the transaction that does it."""
        ...
