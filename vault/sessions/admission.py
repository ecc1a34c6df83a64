"""From a bearer token to a holder, and the check that a running stream repeats.

Invariants:
- three things must agree on every admission: the record in Redis, its seal, and the catalog (registry and the
  patient's epoch), so that an old copy of Redis revives nothing;
- a stream that is running is checked again at least every `RECHECK_S`; when Redis cannot be asked it ends after
  `UNCHECKED_LIMIT_S`, because a revocation would go unseen; the catalog alone may be away for longer;
- what was refused says nothing about why: every refusal is `InvalidToken`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from keys.database import Database
from keys.errors import Damaged, DatabaseUnavailable, InvalidToken, Malformed, NoSuchKey
from keys.records import Kind, Token
from keys.secret import TierSecret
from keys.session import open_session
from keys.ticket import open_ticket
from vault.catalog import recordings, registry
from vault.sessions.errors import RecordsUnavailable, SessionEnded
from vault.sessions.holder import Holder, SessionHolder, TicketHolder
from vault.sessions.records import RecordStore

RECHECK_S: Final = 4.0
UNCHECKED_LIMIT_S: Final = 60.0

Clock = Callable[[], dt.datetime]


@dataclass(frozen=True, slots=True)
class Admission:
    """Admits sessions and tickets. Needs the tier secret; needs no way to the master key."""

    records: RecordStore
    catalog: Database
    tiers: Sequence[TierSecret]
    audience: str
    clock: Clock

    async def session(self, text: str) -> SessionHolder:
        """The holder of a session token; raises `InvalidToken`, `RecordsUnavailable`, `DatabaseUnavailable`."""
        token = Token.parse(text, kind=Kind.SESSION)
        record = await self._record(token)
        try:
            session = open_session(token, record, self.tiers, now_s=self._now_s(), audience=self.audience)
        except (Malformed, Damaged, NoSuchKey):
            raise InvalidToken("the record does not open") from None
        holder = SessionHolder(token.record_id, session)
        await self._confirm(holder)
        return holder

    async def ticket(self, text: str) -> TicketHolder:
        """The holder of a ticket; raises as `session` does."""
        token = Token.parse(text, kind=Kind.TICKET)
        record = await self._record(token)
        try:
            ticket = open_ticket(token, record, self.tiers, now_s=self._now_s(), audience=self.audience)
        except (Malformed, Damaged, NoSuchKey):
            raise InvalidToken("the record does not open") from None
        holder = TicketHolder(token.record_id, ticket)
        await self._confirm(holder)
        return holder

    async def sign_out(self, holder: SessionHolder) -> None:
        """End the holder's own session, and with it its tickets; raises `RecordsUnavailable`."""
        await self.records.drop([holder.record_id])

    async def check_records(self, holder: Holder) -> None:
        """Raises `SessionEnded` when a record is gone or time is over; `RecordsUnavailable`."""
        left_s = holder.ends_at - self._now_s()
        if left_s <= 0 or not await self.records.live(holder.record_ids, ttl_s=min(left_s, holder.idle_s)):
            raise SessionEnded("the session was revoked or is over")

    async def check_catalog(self, holder: Holder) -> None:
        """Raises `SessionEnded` when the catalog knows of its end, whatever Redis holds; `DatabaseUnavailable`."""
        async with self.catalog.reading() as connection:
            epoch = await recordings.patient_epoch(connection, holder.tenant, holder.patient)
            standing = await registry.standing(connection, holder.record_ids, now=self.clock())
        if epoch != holder.epoch or not standing:
            raise SessionEnded("the session was revoked, alone or with all of its patient")

    async def _record(self, token: Token) -> bytes:
        record = await self.records.find(token.record_id)
        if record is None:
            raise InvalidToken("no such session")
        return record

    async def _confirm(self, holder: Holder) -> None:
        try:
            await self.check_records(holder)
            await self.check_catalog(holder)
        except SessionEnded:
            raise InvalidToken("the session was ended") from None

    def _now_s(self) -> int:
        return int(self.clock().timestamp())


@dataclass(slots=True)
class Watch:
    """Keeps an eye on the holder of one running stream. `now_s` is monotonic."""

    admission: Admission
    holder: Holder
    checked_s: float
    _tried_s: float = field(init=False)

    def __post_init__(self) -> None:
        self._tried_s = self.checked_s

    async def check(self, *, now_s: float) -> None:
        """Call before each window; raises `SessionEnded`, or `RecordsUnavailable` past the limit."""
        if now_s - self._tried_s < RECHECK_S:
            return
        self._tried_s = now_s
        try:
            await self.admission.check_records(self.holder)
        except RecordsUnavailable:
            if now_s - self.checked_s > UNCHECKED_LIMIT_S:
                raise
            return
        self.checked_s = now_s
        try:
            await self.admission.check_catalog(self.holder)
        except DatabaseUnavailable:
            return  # the record still stands, and revoking removes it too
