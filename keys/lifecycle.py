"""The life of one generation of a patient key, and what a rotation does next. Pure.

```
prepared ──► active ──► deactivated ──► draining ──► retired
```

The names are those of NIST SP 800-57 part 1, section 7, with one of ours: a key that is *draining* is deactivated and
handed out no more.

Invariants, which the order of the steps is made for:
- there is one active generation at a time, and at most one that is prepared;
- a generation seals nothing before every live session of the patient carries it;
- a generation is handed out for as long as anything is sealed under it;
so that every published recording has a wrap under a key that every live session of its patient carries.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final


class KeyState(enum.Enum):
    """Where a generation of a patient key stands."""

    PREPARED = "prepared"  # new sessions carry it; nothing is sealed under it yet
    ACTIVE = "active"  # seals what is new
    DEACTIVATED = "deactivated"  # seals nothing new; what it sealed is moving to its successor
    DRAINING = "draining"  # nothing is sealed under it; sessions that carry it live out
    RETIRED = "retired"  # its half is destroyed; the row stays, so that its id is never used again


_S = KeyState
MOVES: Final[Mapping[KeyState, frozenset[KeyState]]] = {
    _S.PREPARED: frozenset({_S.ACTIVE}),
    _S.ACTIVE: frozenset({_S.DEACTIVATED}),
    _S.DEACTIVATED: frozenset({_S.DRAINING}),
    _S.DRAINING: frozenset({_S.RETIRED}),
    _S.RETIRED: frozenset(),
}
# What a new session is given.
CARRIED: Final = frozenset({_S.PREPARED, _S.ACTIVE, _S.DEACTIVATED})


class Step(enum.Enum):
    """What a rotation does next for one patient; each is one transaction that may be repeated."""

    PREPARE = "prepare"  # make the next generation
    WAIT = "wait"  # until no live session lacks it
    ACTIVATE = "activate"  # seal what is new under it
    MOVE = "move"  # take wraps from the old one to it
    DRAIN = "drain"  # hand the old one out no more
    DONE = "done"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What a rotation sees of one patient.

    `is_due`: the newest generation is older than the request to rotate. `has_old_sessions`: a live session lacks the
    newest generation. `has_old_wraps`: something is sealed under a deactivated generation.
    """

    states: Collection[KeyState]
    is_due: bool
    has_old_sessions: bool
    has_old_wraps: bool


def next_step(standing: Standing) -> Step:
    """What to do next. What an earlier rotation left unfinished comes first, whatever interrupted it."""
    if KeyState.PREPARED in standing.states:
        return Step.WAIT if standing.has_old_sessions else Step.ACTIVATE
    if KeyState.DEACTIVATED in standing.states:
        return Step.MOVE if standing.has_old_wraps else Step.DRAIN
    return Step.PREPARE if standing.is_due else Step.DONE


def sources_of(target: KeyState) -> tuple[str, ...]:
    """The states from which `target` may be reached, as the catalog writes them."""
    return tuple(state.value for state, targets in MOVES.items() if target in targets)
