"""What rotation raises.

RotationError
├── Unmovable        wraps stayed under an old key because they do not open
├── Overtaken        a recording changed while it was being encrypted anew; it is looked at again
├── MalformedHours   not a part of the day
├── StillNeeded      what is to be retired still has something under it
└── SecondNeeded     two persons are needed, and there is one
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


class StillNeeded(RotationError):
    """What is to be retired still has something under it; the message names the first few and how many there are."""


class SecondNeeded(RotationError):
    """What destroys keys needs a second person here, and whoever approves is the one who asked."""
