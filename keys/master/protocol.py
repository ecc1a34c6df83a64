"""What a keeper of master keys can do, and what a wrap by it looks like in the catalog."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from keys.errors import KeysError
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

    @property
    def key_name(self) -> str:
        """The name of its key, as wraps record it."""
        ...

    @property
    def batch_limit(self) -> int:
        """How many wraps one call of `rewrap` takes."""
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

    async def health(self) -> None:
        """Returns when the keeper can wrap and unwrap now."""
        ...
