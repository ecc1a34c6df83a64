"""What the breaker raises.

BreakerError
├── ListingStopped       the breaker is open: lists are not answered until an operator closes it
├── BreakerUnavailable   Redis does not answer, so nobody knows; lists are not answered either
│   └── UnreadableRecord what Redis says cannot be read; an operator clears it
└── AnotherOpening       it was closed, or opened anew, since the operator looked
"""

from __future__ import annotations


class BreakerError(Exception):
    """Root of everything that `vault.breaker` raises."""


class ListingStopped(BreakerError):
    """Lists are stopped until an operator closes the breaker."""


class BreakerUnavailable(BreakerError):
    """Redis does not answer."""


class UnreadableRecord(BreakerUnavailable):
    """What Redis says of the breaker cannot be read: written by something else than a replica of ours."""


class AnotherOpening(BreakerError):
    """The breaker is not open by what the operator looked at."""
