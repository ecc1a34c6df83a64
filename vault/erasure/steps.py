"""One erasure, step by step, in the order of `keys.erasure`.

Invariants:
- a step may be repeated, by anyone, after any crash: what it did stays, and the next look goes on from there;
- the share goes before anything else, and its tombstone before the share;
- rows are cleared only after what they held was tried and found shut, and is on record;
- no certificate while anything is left, or while a backup may hold the share.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from keys import erasures
from keys.database import Database
from keys.erasure import ErasureState
from keys.erasures import ErasureRow
from keys.ids import RecordingId
from keys.master.protocol import Master
from keys.shares import ShareStore
from vault.audit.entry import Action, Decision, Event
from vault.audit.log import AuditLog
from vault.catalog import erasing, registry
from vault.erasure import evidence
from vault.erasure.certifying import Notary
from vault.erasure.errors import StillThere
from vault.erasure.proof import attempt, remember
from vault.erasure.tombstones import Graveyard
from vault.objects.store import ObjectName, ObjectStore
from vault.sessions.records import RecordStore

_RECORDINGS_A_STEP: Final = 20
_PAGES_A_STEP: Final = 10
_SESSIONS: Final = 1000


@dataclass(frozen=True, slots=True)
class Eraser:
    """Takes erasures forward.

    Methods raise `DatabaseUnavailable`, `StoreUnavailable`, `MasterUnavailable`, `RecordsUnavailable`,
    `AuditUnavailable` or `StillThere`; whatever was done stays.
    """

    catalog: Database
    shares: ShareStore
    master: Master
    store: ObjectStore
    records: RecordStore
    graveyard: Graveyard
    notary: Notary
    clock: Callable[[], dt.datetime]
    backup_days: int

    @property
    def audit(self) -> AuditLog:
        """The log of this process."""
        return self.notary.audit

    async def advance(self, row: ErasureRow) -> None:
        """Take the next step of an erasure that is due."""
        match row.state:
            case ErasureState.HELD:
                await self._decide(row)
            case ErasureState.DESTROYING:
                await self._destroy(row)
            case ErasureState.DESTROYED:
                await self._delete(row)
            case ErasureState.DELETED:
                await self._certify(row)

    async def _decide(self, row: ErasureRow) -> None:
        await self._tell(Action.ERASE_DESTROY, row, "its time has come: the share is destroyed")
        async with self.shares.database.writing() as connection:
            await erasures.move(connection, row.erasure_id, ErasureState.DESTROYING)

    async def _destroy(self, row: ErasureRow) -> None:
        now = self.clock()
        await self.graveyard.put(row, now=now)
        async with self.shares.database.writing() as connection:
            await erasures.destroy_share(connection, row.tenant, row.patient)
            await erasures.move(
                connection,
                row.erasure_id,
                ErasureState.DESTROYED,
                destroyed_at=now,
                backups_expire_at=now + dt.timedelta(days=self.backup_days),
            )
        await self.shares.scrub()

    async def _delete(self, row: ErasureRow) -> None:
        await self.shares.scrub()  # again: a crash may have come before it
        await self._end_sessions(row)
        await self._record_what_is_there(row)
        async with self.catalog.writing() as connection:
            ended = await erasing.clear(
                connection, row.tenant, row.patient, erasure_id=row.erasure_id, now=self.clock()
            )
        await self.records.drop(ended)
        for _ in range(_PAGES_A_STEP):
            if not (page := await self._cleared(row)):
                break
            await self._delete_objects(page)
        else:
            return  # the next step goes on here; others have theirs first
        await self._tell(Action.ERASE_DELETE, row, "rows and objects are gone")
        async with self.shares.database.writing() as connection:
            await erasures.move(connection, row.erasure_id, ErasureState.DELETED)

    async def _end_sessions(self, row: ErasureRow) -> None:
        """Their records hold keys: they go before the catalog forgets their names."""
        async with self.catalog.reading() as connection:
            alive = await registry.alive(
                connection, row.tenant, patient=row.patient, now=self.clock(), limit=_SESSIONS
            )
        await self.records.drop([each.record_id for each in alive])

    async def _record_what_is_there(self, row: ErasureRow) -> None:
        finding = await attempt(self.catalog, self.master, row, source=evidence.CATALOG, at=self.clock())
        if finding is not None:
            await remember(self.shares.database, row, finding)

    async def _cleared(self, row: ErasureRow) -> tuple[RecordingId, ...]:
        async with self.catalog.reading() as connection:
            return await erasing.cleared_recordings(connection, row.erasure_id, limit=_RECORDINGS_A_STEP)

    async def _delete_objects(self, recording_ids: tuple[RecordingId, ...]) -> None:
        async with self.catalog.reading() as connection:
            known = await erasing.objects_of(connection, recording_ids)
        await self.store.delete([ObjectName(each.recording_id, each.file_id) for each in known])
        for recording_id in recording_ids:
            await self.store.purge(recording_id)
            async for info in self.store.list(recording_id):
                raise StillThere(f"the object {info.name} is still there after it was deleted")
        async with self.catalog.writing() as connection:
            await erasing.forget_objects(connection, known)
            await erasing.leave(connection, recording_ids)

    async def _certify(self, row: ErasureRow) -> None:
        if await self.shares.find(row.tenant, row.patient) is not None:
            raise StillThere("the share is in the share store again: restart the control role, which replays")
        async with self.catalog.reading() as connection:
            holdings = await erasing.holdings(connection, row.tenant, row.patient)
        if not evidence.is_empty(holdings) or not await self.graveyard.stands(row.erasure_id):
            raise StillThere("the catalog or the tombstone is not as it was left: restart the control role")
        now = self.clock()
        certificate = await self.notary.certify(row, now=now)
        async with self.shares.database.writing() as connection:
            await erasures.move(
                connection, row.erasure_id, ErasureState.CERTIFIED, ended_at=now, certificate=certificate
            )

    async def _tell(self, action: Action, row: ErasureRow, words: str) -> None:
        note = f"erasure {row.erasure_id}: {words}"
        await self.audit.write(Event(action=action, decision=Decision.ALLOW, actor="system", note=note))
