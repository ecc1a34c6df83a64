"""The life of a key job, as a table of the only moves allowed.

```
queued ──► running ──► done
  ▲  ▲       │ │ └───► incomplete ──► queued (asked to try what failed again)
  │  └───────┼─┼── paused ◄── queued, running
  │          │ └─► aborted ◄── queued, paused, incomplete, awaiting
  └──────────┘ (handed back)

awaiting ──► queued (a second person approved it);  running ──► awaiting (taken up, and nobody had)
```
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Final


class JobState(enum.Enum):
    """Where a key job stands."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    DONE = "done"
    INCOMPLETE = "incomplete"  # came to its end, and some items failed
    ABORTED = "aborted"
    AWAITING = "awaiting"  # a second person's approval


_S = JobState
MOVES: Final[Mapping[JobState, frozenset[JobState]]] = {
    _S.QUEUED: frozenset({_S.RUNNING, _S.PAUSED, _S.ABORTED}),
    _S.RUNNING: frozenset(
        {_S.RUNNING, _S.QUEUED, _S.PAUSED, _S.DONE, _S.INCOMPLETE, _S.ABORTED, _S.AWAITING}
    ),
    _S.PAUSED: frozenset({_S.QUEUED, _S.ABORTED}),
    _S.DONE: frozenset(),
    _S.INCOMPLETE: frozenset({_S.QUEUED, _S.ABORTED}),
    _S.ABORTED: frozenset(),
    _S.AWAITING: frozenset({_S.QUEUED, _S.ABORTED}),
}
ENDED: Final = frozenset({_S.DONE, _S.INCOMPLETE, _S.ABORTED})


def sources_of(target: JobState) -> tuple[str, ...]:
    """The states from which `target` may be reached, as the catalog writes them."""
    return tuple(state.value for state, targets in MOVES.items() if target in targets)
