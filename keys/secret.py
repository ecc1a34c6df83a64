"""Key material that knows its purpose and does not slip out.

Invariants:
- a secret does not print, format, pickle, copy, hash or compare;
- its bytes leave it through `reveal(to=…)` alone, so that one search finds every place that touches raw keys;
- each purpose is a type of its own: a recording key cannot be passed where a patient key is due.
"""

from __future__ import annotations

from typing import ClassVar, NoReturn, Self, SupportsIndex

import nacl.utils

from keys.errors import Malformed


class Secret:
    """Thirty-two secret bytes with a purpose."""

    __slots__ = ("_raw",)
    purpose: ClassVar[str]
    SIZE_BYTES: ClassVar[int] = 32

    def __init__(self, raw: bytes) -> None:
        if len(raw) != self.SIZE_BYTES:
            raise Malformed(f"a {self.purpose} has {self.SIZE_BYTES} bytes")
        self._raw = bytes(raw)

    @classmethod
    def generate(cls) -> Self:
        """Fresh random bytes from the operating system."""
        return cls(nacl.utils.random(cls.SIZE_BYTES))

    def reveal(self, *, to: str) -> bytes:
        """The raw bytes. `to` names the algorithm or place that needs them, for whoever searches."""
        if not to:
            raise ValueError("name what needs the raw key")
        return self._raw

    def __repr__(self) -> str:
        return f"<{self.purpose}, not shown>"

    __str__ = __repr__

    def __format__(self, _spec: str) -> str:
        return repr(self)

    def _refuse(self, *_: object) -> NoReturn:
        raise TypeError(f"a {self.purpose} is not compared, hashed, copied or pickled")

    def __eq__(self, other: object) -> bool:
        self._refuse(other)

    __hash__ = None  # type: ignore[assignment]

    def __reduce_ex__(self, _protocol: SupportsIndex) -> NoReturn:
        self._refuse()

    def __getstate__(self) -> NoReturn:
        self._refuse()

    def __copy__(self) -> NoReturn:
        self._refuse()

    def __deepcopy__(self, _memo: object) -> NoReturn:
        self._refuse()


class MasterKey(Secret):
    """One version of the local master key."""

    __slots__ = ()
    purpose = "master key"


class MasterHalf(Secret):
    """The half of a patient key that the master key wraps."""

    __slots__ = ()
    purpose = "master half"


class ErasureShare(Secret):
    """The half of a patient key that stands in the share store alone."""

    __slots__ = ()
    purpose = "erasure share"


class PatientKey(Secret):
    """One generation of a patient's key."""

    __slots__ = ()
    purpose = "patient key"


class RecordingKey(Secret):
    """The key of one recording and of every file derived from it."""

    __slots__ = ()
    purpose = "recording key"


class TierSecret(Secret):
    """What the stream and control roles share to seal and open session records."""

    __slots__ = ()
    purpose = "tier secret"


class WorkerKey(Secret):
    """The workers' X25519 private key (RFC 7748): opens handovers."""

    __slots__ = ()
    purpose = "worker key"


class AuditKey(Secret):
    """The seed of an Ed25519 key (RFC 8032) that signs checkpoints of the audit log."""

    __slots__ = ()
    purpose = "audit signing key"


class TombstoneKey(Secret):
    """What tombstones of erased patients are sealed under; stands in the share store."""

    __slots__ = ()
    purpose = "tombstone key"
