"""Tombstones in the object store, and what they bring about after a backup was restored.

Invariants:
- a tombstone is written before the share goes, so that no crash and no backup can undo what was decided;
- replaying is idempotent; it destroys what a restored share store brought back, and lets what a restored catalog
  brought back be cleared again, and lets nothing that came due meanwhile begin before somebody could look;
- a tombstone that cannot be read stops whoever replays: an erased patient might be among those who are served.
"""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import structlog
from sqlalchemy.exc import IntegrityError

from keys import erasures
from keys.database import Database
from keys.erasure import FINAL, ErasureState
from keys.erasures import ErasureId, ErasureRow
from keys.errors import Damaged, KeyMismatch, Malformed, UnknownErasure
from keys.shares import ShareStore
from keys.tombstone import Tombstone, open_tombstone, seal_tombstone
from vault.audit.entry import Action, Decision, Event
from vault.audit.log import AuditLog
from vault.catalog import erasing
from vault.erasure.errors import ForeignTombstone
from vault.objects.anchors import TombstoneName
from vault.objects.errors import ObjectExists
from vault.objects.store import ObjectStore

_PAGE: Final = 500
# For an operator who restored a backup to see what it makes due again.
LOOK_FIRST: Final = dt.timedelta(days=1)
_GONE: Final = FINAL - {ErasureState.DESTROYING}
_CLEARED: Final = _GONE - {ErasureState.DESTROYED}

_log = structlog.get_logger("replayvault.erasure")


@dataclass(frozen=True, slots=True)
class Graveyard:
    """Tombstones, and who should lie under one. Methods raise `DatabaseUnavailable` or `StoreUnavailable`."""

    catalog: Database
    shares: ShareStore
    store: ObjectStore

    async def put(self, row: ErasureRow, *, now: dt.datetime) -> None:
        """Write the tombstone of an erasure, unless it stands; raises `ForeignTombstone` where that cannot be read."""
        key = await self.shares.tombstone_key()
        sealed = seal_tombstone(Tombstone(row.tenant, row.patient, now), row.erasure_id, key)
        try:
            await self.store.put_anchor(TombstoneName(row.erasure_id), sealed)
        except ObjectExists:
            await self._read(row.erasure_id)

    async def stands(self, erasure_id: ErasureId) -> bool:
        """Whether there is a tombstone of an erasure."""
        return erasure_id in {name.erasure_id async for name in self.store.list_anchors(TombstoneName)}

    async def forgotten(self) -> list[ErasureRow]:
        """Erasures whose share a restored share store brought back; raises `ForeignTombstone`."""
        async with self.shares.database.reading() as connection:
            resting = await erasures.resting(connection)
        found = []
        async for name in self.store.list_anchors(TombstoneName):
            erasure_id = ErasureId(name.erasure_id)
            if erasure_id in resting:
                continue  # nearly all, and there may be many
            known = await self._known(erasure_id)
            if known is None or known.state not in FINAL:
                row = await self._read(erasure_id)
                if not await self._lies_under_another(row):
                    found.append(row if known is None else replace(known, state=ErasureState.DESTROYED))
            elif known.state in _GONE and await self.shares.find(known.tenant, known.patient) is not None:
                found.append(replace(known, state=ErasureState.DESTROYED))
        return found

    async def _lies_under_another(self, row: ErasureRow) -> bool:
        """Asked for a second time, after a restored share store had forgotten the first erasure."""
        async with self.shares.database.reading() as connection:
            is_decided = await erasures.is_decided(connection, row.tenant, row.patient)
        return is_decided and await self.shares.find(row.tenant, row.patient) is None

    async def _known(self, erasure_id: ErasureId) -> ErasureRow | None:
        async with self.shares.database.reading() as connection:
            with contextlib.suppress(UnknownErasure):
                return await erasures.find(connection, erasure_id)
        return None

    async def _read(self, erasure_id: ErasureId) -> ErasureRow:
        sealed = await self.store.get_anchor(TombstoneName(erasure_id))
        key = await self.shares.find_tombstone_key()
        tombstone: Tombstone | None = None
        with contextlib.suppress(KeyMismatch, Damaged, Malformed):
            tombstone = None if key is None else open_tombstone(sealed, erasure_id, key)
        if tombstone is None:
            raise ForeignTombstone(
                f"the object store holds a tombstone that this share store cannot read ({erasure_id}): somebody was "
                "erased whom this share store does not know; restore the newest backup of the right share store"
            )
        return ErasureRow(
            erasure_id=erasure_id,
            tenant=tombstone.tenant,
            patient=tombstone.patient,
            state=ErasureState.DESTROYED,
            reason="replayed from its tombstone: a backup was restored",
            requested_by="system",
            requested_at=tombstone.at,
            hold_s=0,
        )

    async def missing(self) -> list[ErasureRow]:
        """Erasures without a tombstone: a restored object store lost it."""
        standing = {name.erasure_id async for name in self.store.list_anchors(TombstoneName)}
        found: list[ErasureRow] = []
        after: ErasureId | None = None
        while page := await self._page(_GONE, after):
            after = page[-1].erasure_id
            found += [row for row in page if row.erasure_id not in standing]
        return found

    async def brought_back(self) -> list[ErasureRow]:
        """Erasures whose patient a restored catalog knows again."""
        found: list[ErasureRow] = []
        after: ErasureId | None = None
        while page := await self._page(_CLEARED, after):
            after = page[-1].erasure_id
            by_patient = {(row.tenant, row.patient): row for row in page}
            async with self.catalog.reading() as connection:
                known = await erasing.still_known(connection, list(by_patient))
            found += [by_patient[patient] for patient in sorted(known)]
        return found

    async def _page(self, states: frozenset[ErasureState], after: ErasureId | None) -> tuple[ErasureRow, ...]:
        async with self.shares.database.reading() as connection:
            return await erasures.of_states(connection, states, after=after, limit=_PAGE)


@dataclass(frozen=True, slots=True)
class Replay:
    """Destroys again what backups brought back. Raises `AuditUnavailable` as well."""

    graveyard: Graveyard
    audit: AuditLog
    clock: Callable[[], dt.datetime]
    backup_days: int

    async def run(self) -> int:
        """How many patients that were; raises `ForeignTombstone`."""
        shares = self.graveyard.shares
        await shares.tombstone_key()  # made before the first backup, so that every backup can read tombstones
        forgotten = await self.graveyard.forgotten()
        for row in forgotten:
            await self.destroy_again(row)
        await self._postpone()
        for row in await self.graveyard.missing():
            await self.graveyard.put(row, now=row.destroyed_at or self.clock())
        brought_back = await self.graveyard.brought_back()
        for row in brought_back:
            await self._send_back(row)
        return len(forgotten) + len(brought_back)

    async def _postpone(self) -> None:
        """What came due while nobody ran may have been cancelled, or put under a hold, after a backup was made."""
        now = self.clock()
        async with self.graveyard.shares.database.writing() as connection:
            overdue = await erasures.postpone(connection, now=now, until=now + LOOK_FIRST)
        for erasure_id in overdue:
            _log.warning(
                "an erasure came due while nobody ran, and is held for another day", erasure=str(erasure_id)
            )

    async def destroy_again(self, row: ErasureRow) -> None:
        """Destroy the share of one whom a restored share store had forgotten, unless another role has."""
        now = self.clock()
        _log.error("a restored backup had brought an erased patient back", erasure=str(row.erasure_id))
        await self._tell(row, "the share store had forgotten this erasure: destroyed again")
        expire_at = now + dt.timedelta(days=self.backup_days)
        again = replace(row, destroyed_at=now, backups_expire_at=expire_at, ended_at=None, certificate=None)
        # Whoever comes second finds it done; what the engine keeps of the share goes in the erasure's next step.
        with contextlib.suppress(IntegrityError):
            async with self.graveyard.shares.database.writing() as connection:
                had_share = await erasures.destroy_share(connection, row.tenant, row.patient)
                if had_share or not await erasures.is_decided(connection, row.tenant, row.patient):
                    await erasures.put_again(connection, again)

    async def _send_back(self, row: ErasureRow) -> None:
        _log.error("a restored catalog had brought an erased patient back", erasure=str(row.erasure_id))
        await self._tell(row, "the catalog had forgotten this erasure: cleared again")
        async with self.graveyard.shares.database.writing() as connection:
            await erasures.move(connection, row.erasure_id, ErasureState.DESTROYED)

    async def _tell(self, row: ErasureRow, note: str) -> None:
        event = Event(
            action=Action.ERASE_REPLAY,
            decision=Decision.ALLOW,
            actor="system",
            note=f"erasure {row.erasure_id}: {note}",
        )
        await self.audit.write(event)
