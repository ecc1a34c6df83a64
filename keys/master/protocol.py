"""What a keeper of master keys can do, and what a wrap by it looks like in the catalog."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from keys.secret import MasterHalf


@dataclass(frozen=True, slots=True)
class MasterWrap:
    """A master half under one version of one master key, wherever that lives."""

    provider: str
    key_name: str
    key_version: int
    blob: bytes


class Master(Protocol):
    """A keeper of master keys. Every call may raise `keys.errors.MasterUnavailable`."""

    @property
    def provider(self) -> str:
        """The kind of keeper, as wraps record it."""
        ...

    async def wrap(self, half: MasterHalf, *, context: bytes) -> MasterWrap:
        """Wrap under the current version."""
        ...

    async def unwrap(self, wrap: MasterWrap, *, context: bytes) -> MasterHalf:
        """Open a wrap; raises `KeyMismatch`, `Damaged`, `Malformed` or `NoSuchKey`."""
        ...

    async def health(self) -> None:
        """Returns when the keeper can wrap and unwrap now."""
        ...
