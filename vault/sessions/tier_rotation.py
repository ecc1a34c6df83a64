"""A new tier secret in the place of an old one, step by step, while sessions of both open.

```
ADD ──► every replica opens the new one ──► SWITCH ──► every replica seals with it, and whatever was sealed
with the old one has ended ──► DROP
```

Invariants:
- what to do next is read from the tier file, from what the replicas tell and from the registry; what was stopped
  anywhere goes on from there, and a step that is repeated changes nothing;
- nothing is sealed under a secret that a living replica does not hold, and none is dropped that a live session or
  ticket may need;
- a step is on the audit log before it is done.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from redis.asyncio import Redis

from keys.database import Database
from keys.tier import TierRotation, add_tier, drop_tier, seal_with_newest, tier_ids, written_at
from vault.audit.entry import Action, Decision, Event
from vault.audit.log import AuditLog
from vault.catalog import registry
from vault.sessions.errors import TierConflict
from vault.sessions.records import RecordStore
from vault.sessions.replicas import Replicas

# A session that was being made when its replica took the new secret up is stored by then.
_SETTLED: Final = dt.timedelta(seconds=5)


class TierStep(enum.Enum):
    """Where a rotation stands: what it does or waits for next."""

    NONE = "none"  # no rotation was begun
    ADD = "add"
    OPENING = "opening"  # until every replica holds the new one
    SWITCH = "switch"
    SEALING = "sealing"  # until every replica seals with it
    LIVING_OUT = "living-out"  # until nothing is left that was sealed under the old one
    DROP = "drop"
    END = "end"


_COPY: Final = "copy the tier secret file to every host that has one of its own"
NOTES: Final[Mapping[TierStep, str]] = {
    TierStep.OPENING: f"waits until every replica holds the new secret: {_COPY}",
    TierStep.SEALING: f"waits until every replica seals with the new secret: {_COPY} again",
    TierStep.LIVING_OUT: "waits until sessions and tickets of the old secret have ended",
    TierStep.NONE: f"done: {_COPY} once more",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TierStanding:
    """What is known of the tier secrets, by their ids; of each replica's, too, the sealing one first.

    `left` counts sessions and tickets under the secret that goes; `until` is when the last of them ends at the latest.
    """

    step: TierStep
    ids: tuple[str, ...]
    replicas: Mapping[str, tuple[str, ...]]
    left: int = 0
    until: dt.datetime | None = None


@dataclass(frozen=True, slots=True)
class TierDesk:
    """Rotates the secrets of one file."""

    path: Path
    catalog: Database
    redis: Redis
    audit: AuditLog | None
    clock: Callable[[], dt.datetime]
    by: str = "operator"
    request: str = ""

    async def look(self) -> TierStanding:
        """How it stands; changes nothing. Raises `MasterUnusable`, `RecordsUnavailable` or `DatabaseUnavailable`."""
        begun, ids = await asyncio.to_thread(lambda: (TierRotation.read(self.path), tier_ids(self.path)))
        living = await Replicas(self.redis).living()
        if begun is None:
            return TierStanding(step=TierStep.NONE, ids=ids, replicas=living)
        step = _step(begun, ids, living)
        if step is not TierStep.LIVING_OUT:
            return TierStanding(step=step, ids=ids, replicas=living)
        left = await RecordStore(self.redis).count_under(begun.old)
        since = begun.sealed_since or self.clock()
        async with self.catalog.reading() as connection:
            until = await registry.last_end(connection, issued_by=since, now=self.clock())
        if not left and self.clock() - since > _SETTLED:
            step = TierStep.DROP
        return TierStanding(step=step, ids=ids, replicas=living, left=left, until=until)

    async def advance(self, *, going: str | None = None) -> TierStanding:
        """Begin, or go on, until it has to wait or is done (`NONE`); raises as `look` does, or `AuditUnavailable`.

        With the id of the secret that is `going`, only that one goes, however often this is called: done where the
        file has it no more. Raises `TierConflict` while another one goes, or where a replica holds other secrets.
        """
        begun = await asyncio.to_thread(TierRotation.read, self.path)
        if begun is not None and going not in {None, begun.old}:
            raise TierConflict("another tier secret is going: look at it again")
        if begun is None:
            if going is not None and not await self._may_begin(going):
                return await self.look()
            await asyncio.to_thread(TierRotation.begin, self.path)
        return await self._go_on()

    async def _may_begin(self, going: str) -> bool:
        """Whether this one is there to go; raises `TierConflict` where replicas do not all hold what the file has."""
        standing = await self.look()
        if going not in standing.ids:
            return False
        if any(held != standing.ids for held in standing.replicas.values()):
            raise TierConflict(
                "a replica holds other secrets than the file of this control role: bring the files together first"
            )
        return True

    async def require_sealed_anew(self, since: dt.datetime) -> None:
        """Raises `TierConflict` unless every replica seals with a secret that is younger; or raises as `look` does."""
        standing = await self.look()
        written = await asyncio.to_thread(written_at, self.path)
        # Until the switch it is the old one that seals, wherever; and no replica at all is no proof.
        is_switched = standing.step not in {TierStep.ADD, TierStep.OPENING, TierStep.SWITCH}
        seals = [held[:1] == standing.ids[:1] for held in standing.replicas.values()]
        if written is None or written <= since or not is_switched or not seals or not all(seals):
            raise TierConflict("not every replica seals with a tier secret that is younger than that")

    async def _go_on(self) -> TierStanding:
        while True:
            standing = await self.look()
            begun = await asyncio.to_thread(TierRotation.read, self.path)
            if begun is None:
                return standing
            if standing.step is TierStep.LIVING_OUT and begun.sealed_since is None:
                await asyncio.to_thread(begun.note, self.path, sealed_since=self.clock())
            if standing.step in NOTES:
                return standing
            await self._do(standing.step, begun)

    async def _do(self, step: TierStep, begun: TierRotation) -> None:
        if self.audit is not None:
            note = f"{step.value}: {begun.old} goes"
            await self.audit.write(
                Event(
                    action=Action.TIER_ROTATE,
                    decision=Decision.ALLOW,
                    actor=self.by,
                    request=self.request,
                    note=note,
                )
            )
        if step is TierStep.ADD:
            await asyncio.to_thread(add_tier, self.path, after=begun.old)
        elif step is TierStep.SWITCH:
            await asyncio.to_thread(seal_with_newest, self.path, old=begun.old)
        elif step is TierStep.DROP:
            await asyncio.to_thread(drop_tier, self.path, old=begun.old)
        else:
            await asyncio.to_thread(begun.end, self.path)


def document_of(standing: TierStanding) -> dict[str, Any]:
    """The tier secrets, by their ids, as plain values, for JSON and for people."""
    return {
        "step": standing.step.value,
        "note": NOTES.get(standing.step) if standing.step is not TierStep.NONE else None,
        "secrets": list(standing.ids),
        "replicas": len(standing.replicas),
        "holding": {each: sum(each in held for held in standing.replicas.values()) for each in standing.ids},
        "sealing": {
            each: sum(each in held[:1] for held in standing.replicas.values()) for each in standing.ids
        },
        "left": standing.left,
        "until": standing.until,
    }


def _step(begun: TierRotation, ids: tuple[str, ...], living: Mapping[str, tuple[str, ...]]) -> TierStep:
    if begun.old not in ids:
        return TierStep.END
    if ids == (begun.old,):
        return TierStep.ADD
    if ids[0] == begun.old:
        # No replica at all is no proof: they may be of a release that tells nothing.
        has_all = bool(living) and all(ids[1] in held for held in living.values())
        return TierStep.SWITCH if has_all else TierStep.OPENING
    seals = bool(living) and all(held[:1] == ids[:1] for held in living.values())
    return TierStep.LIVING_OUT if seals else TierStep.SEALING
