"""A recording's way in: announced, sealed as it arrives, and queued; and its way out, when it is deleted.

Invariants:
- plaintext is sealed chunk by chunk as it arrives; nothing of it is ever written down;
- a consultation belongs to one patient for ever: a second patient is refused, and raises the alarm;
- what was acknowledged is durable: one transaction stores the source's place and the job that it is owed;
- an upload that fails or is cut leaves a recording that still waits for its source, and no object.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import AsyncIterable, Callable
from dataclasses import dataclass, replace

import structlog
from nacl.public import PublicKey
from sqlalchemy.ext.asyncio import AsyncConnection

from keys import contexts, keyring, recording_wraps
from keys.database import Database
from keys.digest import blake2b
from keys.errors import KeyConflict, KeyMismatch, KeysError
from keys.handover import Handover, seal_handover
from keys.ids import (
    ConsultationRef,
    PatientRef,
    RecordingId,
    TenantId,
    new_key_id,
    new_recording_id,
)
from keys.opening import wrap_recording_key
from keys.secret import RecordingKey
from keys.strongroom import Strongroom, repeated
from vault.alarm import Alarm
from vault.audit.entry import Action, Decision, Event, Reason
from vault.catalog import drafts, jobs, recordings
from vault.catalog.drafts import ObjectRow
from vault.catalog.errors import (
    ConsultationTaken,
    IdempotencyReused,
    SourceStored,
    UnknownRecording,
    WrongState,
)
from vault.catalog.recordings import NewRecording
from vault.catalog.rows import RecordingRow, StoredFile
from vault.catalog.states import RecordingState
from vault.catalog.unlocking import unlock
from vault.details import Metadata, seal_details
from vault.drafting import Drafting
from vault.objects.access import RecordingAccess
from vault.objects.container import FileFacts
from vault.objects.errors import ObjectsError
from vault.objects.manifest import SOURCE_ROLE
from vault.objects.sealed import SealedWriter
from vault.objects.store import ObjectStore
from vault.queue import WakeUps

Clock = Callable[[], dt.datetime]
_log = structlog.get_logger("replayvault.ingest")


@dataclass(frozen=True, slots=True)
class Caller:
    """Which backend asks, and in which request."""

    tenant: TenantId
    actor: str
    request: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """What a backend says before it sends the bytes."""

    patient: PatientRef
    consultation: ConsultationRef
    metadata: Metadata
    idempotency_key: str | None


@dataclass(frozen=True, slots=True)
class Ingest:
    """Takes recordings in. Methods may raise `MasterUnavailable`, `DatabaseUnavailable`, `StoreUnavailable`."""

    catalog: Database
    strongroom: Strongroom
    store: ObjectStore
    workers: PublicKey
    wake_ups: WakeUps
    alarm: Alarm
    clock: Clock
    limit_bytes: int

    @property
    def _drafting(self) -> Drafting:
        return Drafting(self.catalog, self.store, self.clock)

    async def announce(self, caller: Caller, announced: Announcement) -> RecordingRow:
        """Make a recording that waits for its source, or find the one that the same request made before.

        Raises `ConsultationTaken`, `IdempotencyReused`, `PatientErased` or `ErasurePending`.
        """
        digest = _idempotency(announced.idempotency_key)
        if digest is not None and (row := await self._earlier(caller, digest)) is not None:
            return _same(row, announced)
        try:
            recording_id = await repeated(lambda: self._create(caller, announced, digest))
        except IdempotencyReused:
            return _same(await self._earlier(caller, digest), announced)
        except ConsultationTaken:
            event = _event(caller, Action.RECORDING_CREATE, reason=Reason.CONSULTATION_TAKEN)
            await self.alarm.consultation_taken(event)
            raise
        async with self.catalog.reading() as connection:
            return await recordings.by_id(connection, recording_id)

    async def store_source(
        self, caller: Caller, recording_id: RecordingId, body: AsyncIterable[bytes]
    ) -> RecordingRow:
        """Seal a source as it arrives, and queue it.

        Raises `UnknownRecording`, `SourceStored`, `TooLarge`, `PatientErased`, `ErasurePending`, or whatever
        reading the body raises.
        """
        row = await self.find(caller.tenant, recording_id)
        if row.state is not RecordingState.CREATED:
            raise SourceStored("the recording has its source already")
        await self.strongroom.shares.require_takes_in(row.tenant, row.patient)
        await repeated(lambda: self._store_source(caller, row, body))
        await self.wake_ups.transcode(recording_id)
        return await self.find(caller.tenant, recording_id)

    async def _store_source(self, caller: Caller, row: RecordingRow, body: AsyncIterable[bytes]) -> None:
        """Raises `KeyConflict` before the first byte is read, where the recording gets a new key meanwhile."""
        access, pseudonym = await self._access(caller, Action.SOURCE_STORE, row)
        run_id = uuid.uuid4()
        async with self._drafting.kept_or_gone(row.recording_id, run_id):
            facts = await self._seal(access, run_id, body)
            # Again: an upload takes its time, and what is acknowledged must not be on its way out.
            await self.strongroom.shares.require_takes_in(row.tenant, row.patient)
            await self._record(
                caller, Action.SOURCE_STORE, access, pseudonym, size_bytes=facts.plain_size_bytes
            )
            await self._acknowledge(access, facts)

    async def find(self, tenant: TenantId, recording_id: RecordingId) -> RecordingRow:
        """A tenant's recording; raises `UnknownRecording` for another's."""
        async with self.catalog.reading() as connection:
            row = await recordings.by_id(connection, recording_id)
        if row.tenant != tenant:
            raise UnknownRecording("no such recording")
        return row

    async def retry(self, caller: Caller, recording_id: RecordingId) -> RecordingRow:
        """Queue a failed recording once more; raises `UnknownRecording` or `WrongState`."""
        row = await self.find(caller.tenant, recording_id)
        if row.state is not RecordingState.FAILED or row.source is None:
            raise WrongState("only a failed recording can be tried again")
        await repeated(lambda: self._retry(caller, recording_id))
        await self.wake_ups.transcode(recording_id)
        return await self.find(caller.tenant, recording_id)

    async def _retry(self, caller: Caller, recording_id: RecordingId) -> None:
        row = await self.find(caller.tenant, recording_id)
        if row.source is None:
            raise WrongState("only a failed recording can be tried again")
        access, pseudonym = await self._access(caller, Action.RECORDING_RETRY, row)
        if access.key_id != row.key_id:
            raise KeyConflict("the recording was encrypted anew meanwhile, its source too")
        handover = self._handover(access, row.source)
        await self._record(caller, Action.RECORDING_RETRY, access, pseudonym)
        async with self.catalog.writing() as connection:
            await _require_key(connection, access)
            await recordings.requeue(connection, recording_id)
            await jobs.owe(connection, recording_id, handover, now=self.clock())

    async def delete(self, caller: Caller, recording_id: RecordingId) -> None:
        """Destroy a recording's wraps, and then its objects; raises `UnknownRecording` or `OnLegalHold`.

        Once the wraps are gone nothing opens it; objects that cannot be removed now are removed later.
        """
        row = await self.find(caller.tenant, recording_id)
        await self.strongroom.shares.require_no_legal_hold(row.tenant, row.patient)
        await self.alarm.audit.write(_event(caller, Action.RECORDING_DELETE, recording=recording_id))
        async with self.catalog.writing() as connection:
            await recordings.mark_deleted(connection, recording_id)
            await recording_wraps.drop_wraps(connection, recording_id)
            await jobs.cancel(connection, recording_id)
            condemned = await drafts.condemn_recording(connection, recording_id)
        try:
            await self._drafting.discard(condemned)
        except (KeysError, ObjectsError) as error:
            _log.warning("objects without a key stay for the reconciler", error=type(error).__name__)

    async def _create(self, caller: Caller, announced: Announcement, digest: bytes | None) -> RecordingId:
        now = self.clock()
        opened = await self.strongroom.open_or_make(caller.tenant, announced.patient, now=now)
        access = RecordingAccess(
            tenant=caller.tenant,
            patient=announced.patient,
            recording_id=new_recording_id(),
            key_id=new_key_id(),
            key=RecordingKey.generate(),
        )
        wrap = wrap_recording_key(
            access.key,
            opened.active,
            tenant=access.tenant,
            patient=access.patient,
            recording_id=access.recording_id,
            recording_key_id=access.key_id,
        )
        new = NewRecording(
            recording_id=access.recording_id,
            tenant=access.tenant,
            patient=access.patient,
            consultation=announced.consultation,
            key_id=access.key_id,
            metadata=seal_details(announced.metadata, access),
            idempotency=digest,
            created_at=now,
        )
        await self._record(caller, Action.RECORDING_CREATE, access, opened.pseudonym)
        async with self.catalog.writing() as connection:
            await recordings.ensure_patient(connection, new.tenant, new.patient, now=now)
            opened.require_unchanged(await keyring.hold(connection, new.tenant, new.patient))
            await recordings.bind_consultation(connection, new.tenant, new.consultation, new.patient)
            await recordings.create(connection, new)
            await recording_wraps.add_wrap(connection, wrap, now=now)
        return access.recording_id

    async def _earlier(self, caller: Caller, digest: bytes | None) -> RecordingRow | None:
        if digest is None:
            return None
        async with self.catalog.reading() as connection:
            return await recordings.by_idempotency(connection, caller.tenant, digest)

    async def _access(self, caller: Caller, action: Action, row: RecordingRow) -> tuple[RecordingAccess, str]:
        try:
            row, opened, key = await unlock(self.strongroom, row)
        except KeyMismatch:
            event = _event(caller, action, recording=row.recording_id, reason=Reason.KEY_MISMATCH)
            pseudonym = await self.strongroom.pseudonym(row.tenant, row.patient)
            await self.alarm.key_mismatch(replace(event, patient=pseudonym))
            raise
        access = RecordingAccess(
            tenant=row.tenant,
            patient=row.patient,
            recording_id=row.recording_id,
            key_id=row.key_id,
            key=key,
        )
        return access, opened.pseudonym

    async def _record(
        self, caller: Caller, action: Action, access: RecordingAccess, pseudonym: str, *, size_bytes: int = 0
    ) -> None:
        event = _event(caller, action, recording=access.recording_id)
        await self.alarm.audit.write(replace(event, patient=pseudonym, size_bytes=size_bytes))

    async def _seal(
        self, access: RecordingAccess, run_id: uuid.UUID, body: AsyncIterable[bytes]
    ) -> FileFacts:
        writer = SealedWriter(self.store, access=access, role=SOURCE_ROLE, limit_bytes=self.limit_bytes)
        async with self.catalog.writing() as connection:
            await _require_key(connection, access)
            draft = ObjectRow(access.recording_id, writer.file_id)
            await drafts.announce(connection, draft, run_id=run_id, now=self.clock())
        async with writer:
            async for piece in body:
                await writer.write(piece)
            return await writer.finish()

    async def _acknowledge(self, access: RecordingAccess, facts: FileFacts) -> None:
        source = StoredFile(facts.file_id, facts.plain_size_bytes)
        async with self.catalog.writing() as connection:
            try:
                await recordings.keep_source(connection, access.recording_id, source)
            except WrongState:
                await recordings.by_id(connection, access.recording_id)  # where it was not deleted meanwhile
                raise SourceStored("another upload of this recording was first") from None
            await drafts.keep(connection, [facts.file_id])
            await jobs.owe(connection, access.recording_id, self._handover(access, source), now=self.clock())

    def _handover(self, access: RecordingAccess, source: StoredFile) -> bytes:
        return seal_handover(
            Handover(
                tenant=access.tenant,
                patient=access.patient,
                recording_id=access.recording_id,
                key_id=access.key_id,
                key=access.key,
                source_file_id=source.file_id,
                source_size_bytes=source.size_bytes,
            ),
            self.workers,
        )


async def _require_key(connection: AsyncConnection, access: RecordingAccess) -> None:
    """Raises `KeyConflict` where the recording was encrypted anew since it was opened."""
    if not await recordings.has_key(connection, access.recording_id, access.key_id):
        raise KeyConflict("the recording was encrypted anew meanwhile")


def _same(row: RecordingRow | None, announced: Announcement) -> RecordingRow:
    """The recording of an earlier request, if that asked for the same; raises `IdempotencyReused`."""
    if (
        row is None
        or (row.patient, row.consultation) != (announced.patient, announced.consultation)
        or row.state is RecordingState.DELETED
    ):
        raise IdempotencyReused("this idempotency key was used for another recording")
    return row


def _event(
    caller: Caller, action: Action, *, recording: RecordingId | None = None, reason: Reason = Reason.NONE
) -> Event:
    return Event(
        action=action,
        decision=Decision.ALLOW if reason is Reason.NONE else Decision.DENY,
        reason=reason,
        actor=caller.actor,
        recording="" if recording is None else str(recording),
        request=caller.request,
    )


def _idempotency(key: str | None) -> bytes | None:
    if key is None:
        return None
    return blake2b(key.encode(), person=contexts.PERSON_IDEMPOTENCY, size_bytes=32)
