"""A control role's rotation without its HTTP: real databases, a local master key, patients, recordings, sessions.

room = await Room.open(catalog, shares, tmp_path)
ann = await room.patient("ann", recordings=3)
await room.session("ann", ttl=dt.timedelta(minutes=15))
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
from tests.catalog.rows import TENANT, new_recording
from vault.alarm import Alarm
from vault.audit.log import AuditLog
from vault.audit.reading import tail
from vault.breaker.process import Breaker
from vault.breaker.shared import SharedBreaker
from vault.breaker.window import Limit
from vault.catalog import key_jobs, recordings, registry
from vault.catalog.key_job_states import JobState
from vault.catalog.key_jobs import JobClaim, JobId, JobKind, JobRow
from vault.catalog.registry import Registered
from vault.catalog.rotation import Patient
from vault.catalog.tables import recordings as recordings_table
from vault.metrics import Metrics
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
    at: dt.datetime = START
    dropped: list[RecordId] = field(default_factory=list)
    sessions: list[tuple[PatientRef, dt.datetime, tuple[GrantedKey, ...]]] = field(default_factory=list)

    @classmethod
    async def open(cls, catalog: Database, shares: Database, folder: Path, **master: Any) -> Self:
        """Nobody in it yet."""
        keeper = master.get("master") or LocalMaster("local", {1: MasterKey.generate()})
        audit = await AuditLog.open(folder, role="control", release="test", clock=lambda: START)
        return cls(Strongroom(catalog, keeper, ShareStore(shares)), audit, folder)

    @property
    def catalog(self) -> Database:
        return self.strongroom.catalog

    def clock(self) -> dt.datetime:
        return self.at

    async def patient(self, name: str, *, recordings: int) -> list[RecordingId]:
        """A patient with recordings, which have a key each and no object."""
        opened = await self.strongroom.open_or_make(TENANT, parse_patient(name), now=self.at)
        return [await self._recording(opened.patient, opened.active) for _ in range(recordings)]

    async def upload(self, name: str) -> RecordingId:
        """One more recording of a patient."""
        opened = await self.strongroom.open(TENANT, parse_patient(name))
        return await self._recording(opened.patient, opened.active)

    async def _recording(self, patient: PatientRef, under: GrantedKey) -> RecordingId:
        recording_id, key_id = new_recording_id(), new_key_id()
        wrap = wrap_recording_key(
            RecordingKey.generate(),
            under,
            tenant=TENANT,
            patient=patient,
            recording_id=recording_id,
            recording_key_id=key_id,
        )
        new = new_recording(
            recording_id=recording_id,
            patient=patient,
            key_id=key_id,
            consultation=parse_consultation(str(uuid.uuid4())),
            created_at=self.at,
        )
        async with self.catalog.writing() as connection:
            await recordings.create(connection, new)
            await recording_wraps.add_wrap(connection, wrap, now=self.at)
        return recording_id

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
                job, held, strongroom=self.strongroom, alarm=alarm, clock=self.clock, drop=self._drop
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


def of(name: str) -> Patient:
    """A patient of the room's tenant."""
    return Patient(TENANT, parse_patient(name))
