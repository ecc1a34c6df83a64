"""What a keeper of master keys can do, and what a wrap by it looks like in the catalog."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from keys.errors import KeysError
from keys.secret import MasterHalf


@dataclass(frozen=True, slots=True)
class MasterWrap:
    """A master half under one version of one master key, wherever that lives."""

    provider: str
    key_name: str
    key_version: int
    blob: bytes


CURRENT_STAYS: Final = "the current version wraps, and stays: rotate the master key first"
RETIRE_FIRST: Final = "only versions that are out of use are destroyed: retire this one first"


@dataclass(frozen=True, slots=True)
class MasterVersion:
    """One version of a master key that is not destroyed.

    `since` is when it was made, or when it was retired; None where the keeper does not say.
    """

    number: int
    is_retired: bool
    since: dt.datetime | None


class Master(Protocol):
    """A keeper of master keys. Every call may raise `keys.errors.MasterUnavailable`."""

    @property
    def provider(self) -> str:
        """The kind of keeper, as wraps record it."""
        ...

    @property
    def key_name(self) -> str:
        """The name of its key, as wraps record it."""
        ...

    @property
    def batch_limit(self) -> int:
        """How many wraps one call of `rewrap` takes."""
        ...

    @property
    def can_retire(self) -> bool:
        """Whether it takes single versions out of use."""
        ...

    async def wrap(self, half: MasterHalf, *, context: bytes) -> MasterWrap:
        """Wrap under the current version."""
        ...

    async def unwrap(self, wrap: MasterWrap, *, context: bytes) -> MasterHalf:
        """Open a wrap; raises `KeyMismatch`, `Damaged`, `Malformed` or `NoSuchKey`."""
        ...

    async def rewrap(self, items: Sequence[tuple[MasterWrap, bytes]]) -> Sequence[MasterWrap | KeysError]:
        """Bring wraps, each with its context, under the current version: one answer each, in their order.

        A wrap that is under it already is returned as it is. One that cannot be moved is answered with the reason, and
        holds up no other.
        """
        ...

    async def current_version(self) -> int:
        """The version under which `wrap` wraps."""
        ...

    async def made_at(self) -> dt.datetime | None:
        """When the current version was made; None where the keeper does not tell."""
        ...

    async def rotate(self) -> int:
        """Make a new version and return its number; earlier ones go on opening what they wrapped."""
        ...

    async def versions(self) -> Sequence[MasterVersion]:
        """Every version that there is, the lowest first."""
        ...

    async def retire(self, version: int) -> None:
        """Take this version and all before it out of use: they open nothing until they are restored.

        May be repeated. Raises `NoSuchKey`, or `NotRetirable` for the current version. Whoever asks has counted what
        stands under them; the keeper cannot.
        """
        ...

    async def restore(self, version: int) -> None:
        """Bring this version and all after it back into use; raises `NoSuchKey` where it was trimmed."""
        ...

    async def trim(self, version: int) -> None:
        """Destroy this version and all before it for good; raises `NotRetirable` unless they are out of use."""
        ...

    async def health(self) -> None:
        """Returns when the keeper can wrap and unwrap now."""
        ...
