"""One keeper of the master key that wraps, and former ones that still open what they wrapped.

Invariant: a wrap is opened by the keeper and key that it names, and by no other.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from keys.errors import KeysError, MasterUnavailable, NoSuchKey
from keys.master.protocol import Master, MasterVersion, MasterWrap
from keys.secret import MasterHalf


@dataclass(frozen=True, slots=True)
class Masters:
    """A move from one keeper to another, for as long as wraps of both stand in the catalog."""

    current: Master
    former: tuple[Master, ...]

    @property
    def provider(self) -> str:
        """The current one's."""
        return self.current.provider

    @property
    def key_name(self) -> str:
        """The current one's."""
        return self.current.key_name

    @property
    def batch_limit(self) -> int:
        """The current one's."""
        return self.current.batch_limit

    @property
    def can_retire(self) -> bool:
        """The current one's."""
        return self.current.can_retire

    async def wrap(self, half: MasterHalf, *, context: bytes) -> MasterWrap:
        """Wrap by the current one."""
        return await self.current.wrap(half, context=context)

    async def unwrap(self, wrap: MasterWrap, *, context: bytes) -> MasterHalf:
        """Open by the one that the wrap names."""
        return await self._keeper(wrap).unwrap(wrap, context=context)

    async def rewrap(self, items: Sequence[tuple[MasterWrap, bytes]]) -> Sequence[MasterWrap | KeysError]:
        """The current one's wraps inside it, the others' out of theirs and into it: one answer each."""
        own = [each for each in items if self._is_own(each[0])]
        answers = iter(await self.current.rewrap(own) if own else ())
        return [
            next(answers) if self._is_own(wrap) else await self._moved(wrap, context=context)
            for wrap, context in items
        ]

    async def current_version(self) -> int:
        """The current one's."""
        return await self.current.current_version()

    async def made_at(self) -> dt.datetime | None:
        """When the current one's was made."""
        return await self.current.made_at()

    async def rotate(self) -> int:
        """The current one's."""
        return await self.current.rotate()

    async def versions(self) -> Sequence[MasterVersion]:
        """The current one's."""
        return await self.current.versions()

    async def retire(self, version: int) -> None:
        """The current one's; a former keeper's versions are its own affair."""
        await self.current.retire(version)

    async def restore(self, version: int) -> None:
        """The current one's."""
        await self.current.restore(version)

    async def trim(self, version: int) -> None:
        """The current one's."""
        await self.current.trim(version)

    async def health(self) -> None:
        """Returns when all of them are well: each may be asked by the next session."""
        for keeper in (self.current, *self.former):
            await keeper.health()

    async def _moved(self, wrap: MasterWrap, *, context: bytes) -> MasterWrap | KeysError:
        try:
            half = await self.unwrap(wrap, context=context)
            return await self.current.wrap(half, context=context)
        except MasterUnavailable:
            raise  # of no one wrap, and over one day
        except KeysError as error:
            return error

    def _is_own(self, wrap: MasterWrap) -> bool:
        return _names(wrap, self.current)

    def _keeper(self, wrap: MasterWrap) -> Master:
        for keeper in (self.current, *self.former):
            if _names(wrap, keeper):
                return keeper
        raise NoSuchKey("the wrap names a master key that no keeper here has (REPLAYVAULT_FORMER_MASTER_URL)")


def _names(wrap: MasterWrap, keeper: Master) -> bool:
    return (wrap.provider, wrap.key_name) == (keeper.provider, keeper.key_name)
