"""What rotation raises.

RotationError
├── Unmovable        wraps stayed under an old key because they do not open
├── Overtaken        a recording changed while it was being encrypted anew; it is looked at again
└── MalformedHours   not a part of the day
"""

from __future__ import annotations


class RotationError(Exception):
    """Root of everything that rotation raises."""


class Unmovable(RotationError):
    """Wraps of these recordings do not open under their patient's key; they stay where they are."""


class Overtaken(RotationError):
    """The recording changed, was deleted or was encrypted anew by somebody else meanwhile."""


class MalformedHours(RotationError):
    """Not a part of the day."""
