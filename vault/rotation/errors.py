"""What rotation raises.

RotationError
├── Unmovable        wraps stayed under an old key because they do not open
├── Overtaken        a recording changed while it was being encrypted anew; it is looked at again
├── MalformedHours   not a part of the day
├── StillNeeded      what is to be retired still has something under it
├── WronglyNarrowed  a leak that is narrowed by something else than its kind needs
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


class WronglyNarrowed(RotationError):
    """A leak that is narrowed by something else than its kind needs; `needs` names what that is."""

    def __init__(self, needs: tuple[str, ...]) -> None:
        self.needs = needs
        super().__init__(f"this leak is narrowed by {' and '.join(needs) or 'nothing'}")
