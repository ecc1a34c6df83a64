"""What can be wrong with a writer's log, by name. Pure."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class FaultKind(enum.Enum):
    """One thing that is wrong; the gravest first."""

    FORKED = "forked"  # other entries than a checkpoint was signed over: rewritten, or written twice
    ALTERED = "altered"  # a line that does not follow from the one before
    TRUNCATED = "truncated"  # shorter than a checkpoint says
    MISSING = "missing"  # a checkpoint knows a file that is not there
    UNKNOWN_KEY = "unknown-key"  # a checkpoint that nobody we know signed
    BAD_CHECKPOINT = "bad-checkpoint"  # a checkpoint that is none
    NEVER_ANCHORED = "unanchored"  # closed, and yet its end stands under no anchor


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with one writer's log, in a sentence."""

    kind: FaultKind
    what: str
    line: int | None = None
