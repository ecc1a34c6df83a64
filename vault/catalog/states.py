"""The life of a recording, as a table of the only moves allowed.

```
created ──► queued ──► processing ──► published
   │           ▲ │         │  │
   │           │ └────┐    │  └─► failed ──► queued (asked to try again)
   │           └──────┼────┘
   └───────► deleted ◄┴── from every state
```
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Final


class RecordingState(enum.Enum):
    """Where a recording stands."""

    CREATED = "created"  # announced; its source has not arrived
    QUEUED = "queued"  # the source is sealed and stored; a worker is owed
    PROCESSING = "processing"  # a worker holds it
    PUBLISHED = "published"  # can be listed and played
    FAILED = "failed"  # cannot be played; the sealed source is kept, the reason is recorded
    DELETED = "deleted"  # its wraps are gone; its objects go next


_S = RecordingState
MOVES: Final[Mapping[RecordingState, frozenset[RecordingState]]] = {
    _S.CREATED: frozenset({_S.QUEUED, _S.DELETED}),
    _S.QUEUED: frozenset({_S.PROCESSING, _S.DELETED}),
    _S.PROCESSING: frozenset({_S.PROCESSING, _S.QUEUED, _S.PUBLISHED, _S.FAILED, _S.DELETED}),
    _S.PUBLISHED: frozenset({_S.DELETED}),
    _S.FAILED: frozenset({_S.QUEUED, _S.DELETED}),
    _S.DELETED: frozenset(),
}


def sources_of(target: RecordingState) -> tuple[str, ...]:
    """The states from which `target` may be reached, as the catalog writes them."""
    return tuple(state.value for state, targets in MOVES.items() if target in targets)
