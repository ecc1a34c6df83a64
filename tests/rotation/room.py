"""A control role's rotation without its HTTP: real databases, a local master key, patients, recordings, sessions.

room = await Room.open(catalog, shares, tmp_path)
ann = await room.patient("ann", recordings=3)
await room.session("ann", ttl=dt.timedelta(minutes=15))
await room.publish("ann")              # one more recording, which has objects
job = await room.ask(JobKind.PATIENT)
await room.work()                      # until no job can be taken: it ended, waits or is paused
room.at += dt.timedelta(hours=1)       # the clock of everything in the room
await room.everything_opens()
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from sqlalchemy import select

from keys import keyring, recording_wraps
from keys.database import Database
from keys.ids import PatientRef, RecordingId, new_key_id, new_recording_id, parse_consultation, parse_patient
from keys.master.local import LocalMaster
from keys.opening import open_recording_key, wrap_recording_key
from keys.records import Kind, RecordId, Token
from keys.secret import MasterKey, RecordingKey
from keys.session import GrantedKey
from keys.shares import ShareStore
from keys.strongroom import Strongroom
from tests.adversary.press import lines
from tests.catalog.rows import TENANT, new_recording
from vault.alarm import Alarm
from vault.audit.log import AuditLog
from vault.audit.reading import tail
from vault.breaker.process import Breaker
from vault.breaker.shared import SharedBreaker
from vault.breaker.window import Limit
from vault.catalog import drafts, key_jobs, recordings, registry
from vault.catalog.drafts import ObjectRow
from vault.catalog.key_job_states import JobState
from vault.catalog.key_jobs import JobClaim, JobId, JobKind, JobRow
from vault.catalog.registry import Registered
from vault.catalog.rotation import Patient
from vault.catalog.rows import RecordingRow, StoredFile
from vault.catalog.states import RecordingState
from vault.catalog.tables import recordings as recordings_table
from vault.catalog.unlocking import unlock
from vault.details import Metadata, Summary, open_details, seal_details
from vault.metrics import Metrics
from vault.objects.access import RecordingAccess
from vault.objects.container import CHUNK_BYTES, FileFacts
from vault.objects.folder import FolderStore
from vault.objects.manifest import SOURCE_ROLE, FileEntry, Manifest
from vault.objects.manifest_json import pack_manifest
from vault.objects.manifests import ROLE as MANIFEST_ROLE
from vault.objects.manifests import read_manifest
from vault.objects.sealed import SealedReader, SealedWriter
from vault.objects.store import ObjectName, ObjectStore
from vault.redis_client import connect_redis
from vault.rotation.jobs import turns_of
from vault.rotation.runner import Runner

START = dt.datetime(2026, 3, 1, 9, 30, tzinfo=dt.UTC)


@dataclass
class Room:
    """One catalog, one share store, one master key, one clock."""

    strongroom: Strongroom
    audit: AuditLog
    folder: Path
    store: ObjectStore
    at: dt.datetime = START
    dropped: list[RecordId] = field(default_factory=list)
    sessions: list[tuple[PatientRef, dt.datetime, tuple[GrantedKey, ...]]] = field(default_factory=list)

    @classmethod
    async def open(cls, catalog: Database, shares: Database, folder: Path, **master: Any) -> Self:
        """Nobody in it yet."""
        keeper = master.get("master") or LocalMaster("local", {1: MasterKey.generate()})
        audit = await AuditLog.open(folder, role="control", release="test", clock=lambda: START)
        store = master.get("store") or FolderStore(folder / "objects")
        return cls(Strongroom(catalog, keeper, ShareStore(shares)), audit, folder, store)

    async def aclose(self) -> None:
        """Close what the room opened; the databases are whoever's that gave them."""
        await self.audit.aclose()
        await self.store.aclose()

    @property
    def catalog(self) -> Database:
        return self.strongroom.catalog

    def clock(self) -> dt.datetime:
        return self.at

    async def patient(self, name: str, *, recordings: int) -> list[RecordingId]:
        """A patient with recordings, which have a key each and no object."""
        opened = await self.strongroom.open_or_make(TENANT, parse_patient(name), now=self.at)
        return [
            (await self._recording(opened.patient, opened.active)).recording_id for _ in range(recordings)
        ]

    async def upload(self, name: str) -> RecordingId:
        """One more recording of a patient."""
        opened = await self.strongroom.open(TENANT, parse_patient(name))
        return (await self._recording(opened.patient, opened.active)).recording_id

    async def publish(self, name: str, *, state: RecordingState = RecordingState.PUBLISHED) -> RecordingId:
        """One more recording of a patient, its objects in the store; without a manifest where it has failed."""
        opened = await self.strongroom.open(TENANT, parse_patient(name))
        access = await self._recording(opened.patient, opened.active)
        film = Film(self.catalog, self.store, access, self.at)
        source = await film.seal(SOURCE_ROLE, lines(SOURCE_ROLE, size_bytes=40_000))
        kept = StoredFile(source.file_id, source.plain_size_bytes)
        async with self.catalog.writing() as connection:
            await recordings.keep_source(connection, access.recording_id, kept)
            if state is RecordingState.QUEUED:
                return access.recording_id
            await recordings.start_processing(connection, access.recording_id)
            if state is RecordingState.FAILED:
                await recordings.fail(connection, access.recording_id, code="x", detail="x")
        if state is RecordingState.PUBLISHED:
            await film.publish(source)
        return access.recording_id

    async def _recording(self, patient: PatientRef, under: GrantedKey) -> RecordingAccess:
        access = RecordingAccess(
            tenant=TENANT,
            patient=patient,
            recording_id=new_recording_id(),
            key_id=new_key_id(),
            key=RecordingKey.generate(),
        )
        wrap = wrap_recording_key(
            access.key,
            under,
            tenant=TENANT,
            patient=patient,
            recording_id=access.recording_id,
            recording_key_id=access.key_id,
        )
        new = new_recording(
            recording_id=access.recording_id,
            patient=patient,
            key_id=access.key_id,
            metadata=seal_details(Metadata(title=f"A film of {patient}"), access),
            consultation=parse_consultation(str(uuid.uuid4())),
            created_at=self.at,
        )
        async with self.catalog.writing() as connection:
            await recordings.create(connection, new)
            await recording_wraps.add_wrap(connection, wrap, now=self.at)
        return access

    async def row(self, recording_id: RecordingId) -> RecordingRow:
        """A recording as it stands."""
        async with self.catalog.reading() as connection:
            return await recordings.by_id(connection, recording_id)

    async def plain(self, recording_id: RecordingId) -> dict[str, bytes]:
        """Everything of a recording in clear, by role, its details among it; raises where anything does not open."""
        row, _, key = await unlock(self.strongroom, await self.row(recording_id))
        access = RecordingAccess(
            tenant=row.tenant,
            patient=row.patient,
            recording_id=recording_id,
            key_id=row.key_id,
            key=key,
        )
        found = {"metadata": open_details(row.metadata, access, kind=Metadata).model_dump_json().encode()}
        if row.summary is not None:
            found["summary"] = open_details(row.summary, access, kind=Summary).model_dump_json().encode()
        if row.source is not None:
            name = ObjectName(recording_id, row.source.file_id)
            source = await SealedReader.from_store(self.store, name, access=access, role=SOURCE_ROLE)
            found[SOURCE_ROLE] = await source.read_all()
        if row.manifest is not None:
            name = ObjectName(recording_id, row.manifest.file_id)
            size = row.manifest.size_bytes
            manifest = await read_manifest(self.store, name, plain_size_bytes=size, access=access)
            for entry in manifest.files:
                found[entry.role] = await SealedReader(self.store, entry.facts, access=access).read_all()
        return found

    async def shelf(self, name: str) -> list[RecordingId]:
        """A patient's recordings."""
        return [recording_id for recording_id, _ in await self._recordings(parse_patient(name))]

    async def retry(self, job_id: JobId) -> None:
        """Try again what failed in a job."""
        async with self.catalog.writing() as connection:
            await key_jobs.retry(connection, job_id, now=self.at)

    async def stored(self) -> set[ObjectName]:
        """Every object in the store."""
        return {info.name async for info in self.store.list()}

    async def session(self, name: str, *, ttl: dt.timedelta) -> None:
        """A live session of a patient."""
        opened = await self.strongroom.open(TENANT, parse_patient(name))
        entry = Registered(
            record_id=Token.generate(Kind.SESSION).record_id,
            kind=Kind.SESSION,
            tenant=TENANT,
            patient=opened.patient,
            parent=None,
            issuer="test",
            generation=max(key.generation for key in opened.carried),
            issued_at=self.at,
            expires_at=self.at + ttl,
        )
        async with self.catalog.writing() as connection:
            opened.require_unchanged(await keyring.hold(connection, TENANT, opened.patient))
            await registry.register(connection, entry)
        self.sessions.append((opened.patient, entry.expires_at, opened.carried))

    async def ask(self, kind: JobKind, **narrowed: Any) -> JobId:
        """Ask for a job."""
        self.at += dt.timedelta(seconds=1)
        job = JobRow(
            job_id=JobId(uuid.uuid4()),
            kind=kind,
            state=narrowed.pop("state", JobState.QUEUED),
            tenant=narrowed.pop("tenant", None),
            patient=narrowed.pop("patient", None),
            base_version=narrowed.pop("base_version", None),
            requested_by=narrowed.pop("requested_by", "test"),
            requested_at=self.at,
            **narrowed,
        )
        async with self.catalog.writing() as connection:
            await key_jobs.ask(connection, job)
        return job.job_id

    async def work(self) -> None:
        """Run what can be run now."""
        while await self.runner().once():
            pass

    async def _drop(self, ended: Sequence[RecordId]) -> None:
        self.dropped += ended

    def runner(self, *, two_persons: bool = False) -> Runner:
        """A runner of this room."""
        metrics = Metrics()
        nowhere = SharedBreaker(connect_redis(f"unix://{self.folder / 'no-redis.sock'}"))
        breaker = Breaker(nowhere, Limit(5, 60_000), "test", metrics.listing_breaker_open)
        alarm = Alarm(self.audit, metrics, "test", breaker, None)

        def turns(job: JobRow, held: JobClaim) -> Any:
            return turns_of(
                job,
                held,
                strongroom=self.strongroom,
                store=self.store,
                alarm=alarm,
                clock=self.clock,
                drop=self._drop,
            )

        return Runner(self.catalog, self.audit, self.clock, turns, two_persons)

    async def job(self, job_id: JobId) -> JobRow:
        """How a job stands."""
        async with self.catalog.reading() as connection:
            return await key_jobs.find(connection, job_id)

    async def states(self, name: str) -> list[str]:
        """The states of a patient's generations, the oldest first."""
        async with self.catalog.reading() as connection:
            rows = await keyring.generations(connection, TENANT, parse_patient(name))
        return [row.state.value for row in rows]

    async def everything_opens(self) -> int:
        """Every live session opens every recording of its patient; returns how many opens that were."""
        opens = 0
        for patient, expires_at, keys in self.sessions:
            if expires_at <= self.at:
                continue
            for recording_id, key_id in await self._recordings(patient):
                async with self.catalog.reading() as connection:
                    wraps = (await recording_wraps.wraps_of(connection, [recording_id]))[recording_id]
                open_recording_key(
                    wraps,
                    keys,
                    tenant=TENANT,
                    patient=patient,
                    recording_id=recording_id,
                    recording_key_id=key_id,
                )
                opens += 1
        return opens

    def audited(self) -> list[dict[str, Any]]:
        """The audit log."""
        return tail(self.folder, limit=10_000)

    async def _recordings(self, patient: PatientRef) -> list[tuple[RecordingId, Any]]:
        question = select(recordings_table.c.id, recordings_table.c.key_id).where(
            recordings_table.c.patient == patient
        )
        async with self.catalog.reading() as connection:
            return [(RecordingId(row.id), row.key_id) for row in await connection.execute(question)]


# What a film of the room consists of: an empty file, and one that ends with a chunk; its source is neither.
FILES = {"audio.mp4": 2 * CHUNK_BYTES, "captions-en.vtt": 0}


@dataclass(frozen=True)
class Film:
    """Seals the objects of one recording as a worker does."""

    catalog: Database
    store: ObjectStore
    access: RecordingAccess
    at: dt.datetime

    async def seal(self, role: str, plain: bytes) -> FileFacts:
        """One object, kept."""
        async with SealedWriter(self.store, access=self.access, role=role, limit_bytes=1 << 40) as writer:
            await writer.write(plain)
            facts = await writer.finish()
        async with self.catalog.writing() as connection:
            row = ObjectRow(self.access.recording_id, facts.file_id)
            await drafts.announce(connection, row, run_id=uuid.uuid4(), now=self.at)
            await drafts.keep(connection, [facts.file_id])
        return facts

    async def publish(self, source: FileFacts) -> None:
        """The rest of its files, its manifest and its summary."""
        made = [
            source,
            *[await self.seal(role, lines(role, size_bytes=size)) for role, size in FILES.items()],
        ]
        entries = tuple(
            FileEntry(
                role=facts.role,
                header=facts.header,
                plain_size_bytes=facts.plain_size_bytes,
                content_type="application/octet-stream",
            )
            for facts in made
        )
        packed = pack_manifest(Manifest(recording_id=self.access.recording_id, files=entries))
        manifest = await self.seal(MANIFEST_ROLE, packed)
        summary = Summary(duration_s=4.0, has_video=True, has_audio=True, files=(), published_at=self.at)
        async with self.catalog.writing() as connection:
            await recordings.publish(
                connection,
                self.access.recording_id,
                manifest=StoredFile(manifest.file_id, manifest.plain_size_bytes),
                summary=seal_details(summary, self.access),
                now=self.at,
            )


def of(name: str) -> Patient:
    """A patient of the room's tenant."""
    return Patient(TENANT, parse_patient(name))
