"""How long to wait before a safe call is repeated, and when to give up. Pure: chance and clock are arguments.

Invariants: attempts and the time spent waiting are bounded; a service that names a time (Retry-After) is never asked
sooner, and is not asked again where that time does not fit; waits are spread by chance, so that a thousand clients
of a service that comes back do not arrive together.
"""

from __future__ import annotations

import datetime as dt
import email.utils
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Bounds of repetition. The defaults outlast a restart of a dependency, not an outage."""

    attempts: int = 4
    first_wait_s: float = 0.25
    longest_wait_s: float = 8.0
    total_wait_s: float = 30.0

    def wait_s(self, failed: int, *, waited_s: float, asked_s: float | None, chance: float) -> float | None:
        """Seconds to wait after `failed` attempts (one or more), or None to give up.

        `waited_s` is what was waited so far, `asked_s` what the service asked for, `chance` lies in 0 to 1.
        """
        if failed >= self.attempts:
            return None
        ceiling_s = min(self.longest_wait_s, self.first_wait_s * 2 ** (failed - 1))
        wait_s = (asked_s or 0.0) + ceiling_s * (0.5 + chance / 2)
        return wait_s if waited_s + wait_s <= self.total_wait_s else None


NEVER = Backoff(attempts=1)


def parse_retry_after(header: str | None, *, now: dt.datetime) -> float | None:
    """Seconds from `now`, of either form of Retry-After (RFC 9110, section 10.2.3); None where it says nothing."""
    if header is None:
        return None
    text = header.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        moment = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=dt.UTC)
    return max((moment - now).total_seconds(), 0.0)
