"""Making, refreshing and ending sessions and tickets: the control role's side.

Invariants:
- a session is registered in the catalog before its record is stored, and its record before its token leaves;
- a refresh never moves the absolute limit; the old token stays for `GRACE`, or as long as its
  tickets, so that what is in flight can end;
- a refreshed session descends from the one before it, and ends with it when that one is revoked, however late;
- ending sessions raises the epoch (patient, tenant) as well as removing records, so that an old copy of Redis
  brings none of them back.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Self

from sqlalchemy.ext.asyncio import AsyncConnection

from keys import keyring, recording_wraps
from keys.database import Database
from keys.errors import PatientErased
from keys.ids import PatientRef, RecordingId, TenantId
from keys.opening import open_recording_key
from keys.records import Kind, RecordId, Token, seal_record
from keys.secret import TierSecret
from keys.session import GrantedKey, Session, SessionScope, encode_session
from keys.strongroom import OpenedPatient, Strongroom, repeated
from keys.ticket import Ticket, encode_ticket
from vault.catalog import recordings, registry
from vault.catalog.errors import WrongState
from vault.catalog.registry import Registered
from vault.catalog.rows import RecordingRow
from vault.catalog.states import RecordingState
from vault.catalog.unlocking import unlock
from vault.sessions.errors import NotYours, SessionEnded
from vault.sessions.holder import SessionHolder
from vault.sessions.records import RecordStore

DEFAULT_TTL: Final = dt.timedelta(minutes=15)
MAX_TTL: Final = dt.timedelta(hours=12)
DEFAULT_ABSOLUTE: Final = dt.timedelta(hours=8)
DEFAULT_IDLE: Final = dt.timedelta(minutes=30)
DEFAULT_TICKET_TTL: Final = dt.timedelta(minutes=10)
MAX_TICKET_TTL: Final = dt.timedelta(hours=4)
GRACE: Final = dt.timedelta(seconds=60)

Clock = Callable[[], dt.datetime]


@dataclass(frozen=True, slots=True, eq=False)
class Minted:
    """A fresh token; the only place where it stands in clear."""

    token: Token
    record_id: RecordId
    pseudonym: str
    expires_at: dt.datetime
    absolute_at: dt.datetime


@dataclass(frozen=True, slots=True, eq=False)
class _Grant:
    """Keys that a new session or ticket may draw on."""

    tenant: TenantId
    patient: PatientRef
    pseudonym: str
    keys: tuple[GrantedKey, ...]

    @classmethod
    def of(cls, opened: OpenedPatient) -> Self:
        return cls(opened.tenant, opened.patient, opened.pseudonym, opened.carried)


@dataclass(frozen=True, slots=True, eq=False)
class _Previous:
    """The session that a refresh follows, and when that one ends."""

    holder: SessionHolder
    ends_at: dt.datetime


@dataclass(frozen=True, slots=True)
class Mint:
    """Makes sessions and tickets.

    Every method may raise `MasterUnavailable`, `DatabaseUnavailable` or `RecordsUnavailable`.
    """

    strongroom: Strongroom
    catalog: Database
    records: RecordStore
    tiers: Sequence[TierSecret]
    audience: str
    clock: Clock

    async def session(
        self,
        tenant: TenantId,
        patient: PatientRef,
        *,
        ttl: dt.timedelta,
        scopes: frozenset[SessionScope],
        issuer: str,
        previous: _Previous | None = None,
    ) -> Minted:
        """A session of a known patient, in the place of `previous` where there is one.

        Raises `NoSuchKey`, `PatientErased`, or `SessionEnded` when the previous one was ended meanwhile.
        """
        return await repeated(
            lambda: self._session(tenant, patient, ttl=ttl, scopes=scopes, issuer=issuer, previous=previous)
        )

    async def _session(
        self,
        tenant: TenantId,
        patient: PatientRef,
        *,
        ttl: dt.timedelta,
        scopes: frozenset[SessionScope],
        issuer: str,
        previous: _Previous | None,
    ) -> Minted:
        now = self.clock()
        opened = await self.strongroom.open(tenant, patient)
        limit = (
            now + max(DEFAULT_ABSOLUTE, ttl)
            if previous is None
            else _moment(previous.holder.session.absolute_at)
        )
        expires_at = min(now + ttl, limit)
        token = Token.generate(Kind.SESSION)
        async with self.catalog.writing() as connection:
            epoch = await recordings.ensure_patient(connection, tenant, patient, now=now)
            opened.require_unchanged(await keyring.hold(connection, tenant, patient))
            parent = None if previous is None else await _followed(connection, previous, epoch=epoch, now=now)
            grant = _Grant.of(opened)
            await self._register(
                connection, token, grant, parent=parent, issuer=issuer, now=now, until=expires_at
            )
        session = Session(
            audience=self.audience,
            tenant=tenant,
            patient=patient,
            pseudonym=opened.pseudonym,
            epoch=epoch,
            issued_at=_seconds(now),
            expires_at=_seconds(expires_at),
            absolute_at=_seconds(limit),
            idle_s=int(DEFAULT_IDLE.total_seconds()),
            scopes=scopes,
            keys=opened.carried,
        )
        ttl_s = min(_seconds(expires_at) - _seconds(now), session.idle_s)
        await self._store(token, encode_session(session), ttl_s=ttl_s)
        return Minted(token, token.record_id, opened.pseudonym, expires_at, limit)

    async def refresh(self, holder: SessionHolder, *, ttl: dt.timedelta) -> Minted:
        """A new token for the same patient and scopes. Raises as `session` does.

        The old one ends after `GRACE`, or with the last of its tickets, so that a film that is cast plays on.
        """
        session, now = holder.session, self.clock()
        async with self.catalog.reading() as connection:
            last_ticket = await registry.last_ticket_end(connection, holder.record_id, now=now)
        ends_at = max(now + GRACE, last_ticket or now)
        minted = await self.session(
            session.tenant,
            session.patient,
            ttl=ttl,
            scopes=session.scopes,
            issuer="refresh",
            previous=_Previous(holder, ends_at),
        )
        await self.records.shorten(holder.record_id, ttl_s=_seconds(ends_at) - _seconds(now))
        return minted

    async def ticket(
        self,
        tenant: TenantId,
        recording_id: RecordingId,
        *,
        holder: SessionHolder | None,
        roles: frozenset[str],
        ttl: dt.timedelta,
        purpose: str,
        issuer: str,
    ) -> Minted:
        """A ticket for one recording: from a session's own keys, or by a backend's right (`holder` None).

        Raises `UnknownRecording`, `NotYours`, `KeyMismatch`, `PatientErased`, or `WrongState` (hers, not published).
        """
        now = self.clock()
        async with self.catalog.snapshot() as connection:
            row = await recordings.by_id(connection, recording_id)
            wraps = (await recording_wraps.wraps_of(connection, [recording_id]))[recording_id]
        require_own(row, tenant, holder)
        if holder is None:
            row, opened, key = await unlock(self.strongroom, row)
            grant = _Grant.of(opened)
        else:
            grant = _Grant(tenant, holder.patient, holder.pseudonym, holder.session.keys)
            key = open_recording_key(
                wraps,
                grant.keys,
                tenant=tenant,
                patient=grant.patient,
                recording_id=recording_id,
                recording_key_id=row.key_id,
            )
        # After the key has opened: the state of another's recording is nobody's business.
        if row.state is not RecordingState.PUBLISHED:
            raise WrongState("the recording is not published")
        expires_at = now + ttl
        if holder is not None:
            expires_at = min(expires_at, _moment(holder.ends_at))
        token = Token.generate(Kind.TICKET)
        parent = None if holder is None else holder.record_id
        async with self.catalog.writing() as connection:
            epoch = await recordings.ensure_patient(connection, tenant, grant.patient, now=now)
            if not await keyring.hold(connection, tenant, grant.patient):
                raise PatientErased("this patient was erased meanwhile")
            await self._register(
                connection, token, grant, parent=parent, issuer=issuer, now=now, until=expires_at
            )
        ticket = Ticket(
            audience=self.audience,
            tenant=tenant,
            patient=grant.patient,
            pseudonym=grant.pseudonym,
            epoch=epoch,
            issued_at=_seconds(now),
            expires_at=_seconds(expires_at),
            recording_id=recording_id,
            key_id=row.key_id,
            key=key,
            roles=roles,
            purpose=purpose,
            parent=parent,
        )
        await self._store(token, encode_ticket(ticket), ttl_s=_seconds(expires_at) - _seconds(now))
        return Minted(token, token.record_id, grant.pseudonym, expires_at, expires_at)

    async def revoke(self, tenant: TenantId, record_id: RecordId) -> int:
        """End one session and its tickets; how many records that were."""
        async with self.catalog.writing() as connection:
            ended = await registry.revoke_one(connection, tenant, record_id, now=self.clock())
        await self.records.drop(ended)
        return len(ended)

    async def revoke_all(self, tenant: TenantId, patient: PatientRef | None) -> int:
        """End every session of a patient, or of the tenant where `patient` is None; how many that were."""
        now = self.clock()
        async with self.catalog.writing() as connection:
            await recordings.raise_epoch(connection, tenant, patient)
            ended = (
                await registry.revoke_tenant(connection, tenant, now=now)
                if patient is None
                else await registry.revoke_patient(connection, tenant, patient, now=now)
            )
        await self.records.drop(ended)
        return len(ended)

    async def _register(
        self,
        connection: AsyncConnection,
        token: Token,
        grant: _Grant,
        *,
        parent: RecordId | None,
        issuer: str,
        now: dt.datetime,
        until: dt.datetime,
    ) -> None:
        await registry.register(
            connection,
            Registered(
                record_id=token.record_id,
                kind=token.kind,
                tenant=grant.tenant,
                patient=grant.patient,
                parent=parent,
                issuer=issuer,
                generation=max(key.generation for key in grant.keys),
                issued_at=now,
                expires_at=until,
            ),
        )

    async def _store(self, token: Token, payload: bytes, *, ttl_s: int) -> None:
        record = seal_record(token, self.tiers[0], payload)
        await self.records.put(token.record_id, record, ttl_s=ttl_s)


def require_own(row: RecordingRow, tenant: TenantId, holder: SessionHolder | None) -> None:
    """Raises `NotYours` unless the row is the tenant's, and the patient's where a session asks.

    As in `vault.playback.authorize`, this gives a clear answer and protects nothing: the key does.
    """
    if row.tenant != tenant or (holder is not None and row.patient != holder.patient):
        raise NotYours("another's recording")


async def _followed(
    connection: AsyncConnection, previous: _Previous, *, epoch: int, now: dt.datetime
) -> RecordId:
    """The session that ends for another to begin; raises `SessionEnded`."""
    record_id = previous.holder.record_id
    stands = await registry.shorten(connection, record_id, now=now, expires_at=previous.ends_at)
    if not stands or epoch != previous.holder.epoch:
        raise SessionEnded("the session was revoked while it was being refreshed")
    return record_id


def _moment(seconds: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(seconds, tz=dt.UTC)


def _seconds(moment: dt.datetime) -> int:
    return int(moment.timestamp())
