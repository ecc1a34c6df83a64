"""Where erasures are decided and carried out, without the control role around it, at a time of the test's own.

office = Office(strongroom, store, records, audit, key)
row = await office.ask("ann", hold=dt.timedelta(0))
await office.work()                     # until no erasure is due
office.later(days=8)
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field

from keys.erasures import ErasureRow
from keys.ids import PatientRef, TenantId
from keys.secret import AuditKey
from keys.strongroom import Strongroom
from vault.audit.log import AuditLog
from vault.erasure.certifying import Notary
from vault.erasure.requests import Register, Requests
from vault.erasure.runner import ErasureRunner
from vault.erasure.steps import Eraser
from vault.erasure.tombstones import Graveyard, Replay
from vault.objects.store import ObjectStore
from vault.sessions.records import RecordStore

CLINIC = TenantId("clinic")
BACKUP_DAYS = 7


@dataclass
class Office:
    """One desk, one runner, one clock that can be moved forward."""

    strongroom: Strongroom
    store: ObjectStore
    records: RecordStore
    audit: AuditLog
    key: AuditKey = field(default_factory=AuditKey.generate)
    two_persons: bool = False
    ahead: dt.timedelta = dt.timedelta()

    def clock(self) -> dt.datetime:
        return dt.datetime.now(tz=dt.UTC) + self.ahead

    def later(self, **span: float) -> None:
        """Let time pass."""
        self.ahead += dt.timedelta(**span)

    @property
    def register(self) -> Register:
        return Register(self.strongroom.catalog, self.strongroom.shares.database)

    @property
    def requests(self) -> Requests:
        return Requests(self.register, self.audit, self.clock, self.two_persons)

    @property
    def graveyard(self) -> Graveyard:
        return Graveyard(self.strongroom.catalog, self.strongroom.shares, self.store)

    @property
    def replaying(self) -> Replay:
        return Replay(self.graveyard, self.audit, self.clock, BACKUP_DAYS)

    async def replay(self) -> int:
        """What a control role does before it serves."""
        return await self.replaying.run()

    @property
    def runner(self) -> ErasureRunner:
        eraser = Eraser(
            catalog=self.strongroom.catalog,
            shares=self.strongroom.shares,
            master=self.strongroom.master,
            store=self.store,
            records=self.records,
            graveyard=self.graveyard,
            notary=Notary(self.audit, self.key, "test"),
            clock=self.clock,
            backup_days=BACKUP_DAYS,
        )
        return ErasureRunner(self.strongroom.shares, eraser, self.clock)

    async def ask(self, patient: str, *, hold: dt.timedelta = dt.timedelta()) -> ErasureRow:
        """Ask for an erasure that is due at once."""
        return await self.requests.ask(
            CLINIC, PatientRef(patient), reason="she asked", hold=hold, actor="operator:alice"
        )

    async def work(self) -> None:
        """Take steps until none is due."""
        while await self.runner.once():
            pass

    async def now(self, row: ErasureRow) -> ErasureRow:
        """How an erasure stands."""
        return await self.register.find(row.erasure_id)
