"""The life of an erasure: from a request to a certificate. Pure.

```
requested ──► held ──► destroying ──► destroyed ──► deleted ──► certified
    │           │                         ▲            │            │
    └───────────┴──► cancelled            └────────────┴────────────┘ (a restored backup brought something back)
```

Invariants: up to *held* everything can be taken back, and nothing is lost by it; from *destroying* on nothing can,
whatever fails; an erasure is certified only once no backup of the share store can hold the share any more.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Final


class ErasureState(enum.Enum):
    """Where an erasure stands."""

    REQUESTED = "requested"  # waits for a second person
    HELD = "held"  # waits for its time; can be cancelled; nothing new is taken in for the patient
    DESTROYING = "destroying"  # decided for good; the share is going
    DESTROYED = "destroyed"  # the share is gone: nothing of the patient opens; rows and objects go next
    DELETED = "deleted"  # rows and objects are gone; backups of the share store run out
    CERTIFIED = "certified"  # no backup can hold the share; the certificate is made
    CANCELLED = "cancelled"


_S = ErasureState
MOVES: Final[Mapping[ErasureState, frozenset[ErasureState]]] = {
    _S.REQUESTED: frozenset({_S.HELD, _S.CANCELLED}),
    _S.HELD: frozenset({_S.DESTROYING, _S.CANCELLED}),
    _S.DESTROYING: frozenset({_S.DESTROYED}),
    _S.DESTROYED: frozenset({_S.DELETED, _S.DESTROYED}),
    _S.DELETED: frozenset({_S.CERTIFIED, _S.DESTROYED}),
    _S.CERTIFIED: frozenset({_S.DESTROYED}),
    _S.CANCELLED: frozenset(),
}
# Nothing of the patient can be made any more.
FINAL: Final = frozenset({_S.DESTROYING, _S.DESTROYED, _S.DELETED, _S.CERTIFIED})


def sources_of(target: ErasureState) -> tuple[str, ...]:
    """The states from which `target` may be reached, as the share store writes them."""
    return tuple(state.value for state, targets in MOVES.items() if target in targets)
