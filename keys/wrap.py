"""A 32-byte key under another 32-byte key: 105 bytes.

Invariants: a wrap has exactly `WRAP_BYTES`; the context names the place where the wrap stands, so a wrap
that is moved to another recording, patient or tenant does not open.
"""

from __future__ import annotations

from typing import Final, TypeVar

from keys import contexts
from keys.errors import Malformed
from keys.seal import OVERHEAD_BYTES, seal, unseal
from keys.secret import Secret

WRAP_BYTES: Final = OVERHEAD_BYTES + Secret.SIZE_BYTES

S = TypeVar("S", bound=Secret)


def wrap(child: Secret, under: Secret, *, context: bytes) -> bytes:
    """Wrap `child` under `under`; 105 bytes."""
    return seal(child.reveal(to="wrap"), under, person=contexts.PERSON_WRAP, context=context)


def unwrap(wrapped: bytes, under: Secret, *, context: bytes, kind: type[S]) -> S:
    """The child key, of type `kind`; raises `Malformed`, `KeyMismatch` or `Damaged`."""
    if len(wrapped) != WRAP_BYTES:
        raise Malformed(f"a wrap has {WRAP_BYTES} bytes")
    return kind(unseal(wrapped, under, person=contexts.PERSON_WRAP, context=context))
