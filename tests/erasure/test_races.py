"""What goes on beside an erasure, at the worst of moments."""

from __future__ import annotations

import asyncio
import datetime as dt
import uuid
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
from nacl.public import PrivateKey
from sqlalchemy import select

from keys import erasures, recording_wraps
from keys.database import Database
from keys.erasure import ErasureState
from keys.erasures import ErasureId, LegalHold
from keys.errors import ErasurePending, ErasureRefused, PatientErased
from keys.ids import PatientRef, RecordingId, new_file_id, new_key_id, new_recording_id
from keys.opening import wrap_recording_key
from keys.secret import RecordingKey
from tests.catalog.rows import TENANT, new_recording
from tests.erasure.office import Office
from tests.rotation.room import Room
from vault.alarm import Alarm
from vault.app.ground import utc_now
from vault.catalog import drafts, erasing, jobs, recordings
from vault.catalog.drafts import ObjectRow
from vault.catalog.errors import UnknownRecording
from vault.catalog.key_jobs import JobKind
from vault.catalog.rows import StoredFile
from vault.catalog.tables import jobs as jobs_table
from vault.catalog.tables import key_jobs
from vault.drafting import Drafting
from vault.erasure import steps
from vault.ingest import Caller, Ingest
from vault.objects.store import ObjectName
from vault.queue import WakeUps

ANN = PatientRef("ann")
CALLER = Caller(TENANT, "backend", "request")


def ingest(room: Room, office: Office) -> Ingest:
    return Ingest(
        catalog=room.catalog,
        strongroom=room.strongroom,
        store=office.store,
        workers=PrivateKey.generate().public_key,
        wake_ups=cast("WakeUps", None),
        alarm=Alarm(room.audit, cast("Any", None), "test", cast("Any", None), None),
        clock=utc_now,
        limit_bytes=1_000_000,
    )


async def test_a_legal_hold_and_the_end_of_the_time_come_one_after_the_other(
    room: Room, office: Office
) -> None:
    await room.patient("ann", recordings=1)
    row = await office.ask("ann")
    hold = LegalHold(TENANT, ANN, "court order", "operator:alice", utc_now())

    async def place() -> None:
        async with room.strongroom.shares.database.writing() as connection:
            await erasures.place_hold(connection, hold)

    async with room.strongroom.shares.database.writing() as connection:
        await erasures.move(connection, row.erasure_id, ErasureState.DESTROYING)
        placing = asyncio.create_task(place())
        await asyncio.wait([placing], timeout=0.3)
    with pytest.raises(ErasureRefused, match="nothing is left"):
        await placing


async def test_no_job_is_left_of_an_upload_that_was_acknowledged_meanwhile(
    room: Room, office: Office
) -> None:
    """A job opens its recording for whoever has the worker's key."""
    (recording_id,) = await room.patient("ann", recordings=1)
    row = await office.ask("ann")
    async with room.catalog.writing() as connection:
        source = StoredFile(new_file_id(), 100)
        await recordings.keep_source(connection, recording_id, source)
        await jobs.owe(connection, recording_id, b"sealed to the worker", now=utc_now())
        clearing = asyncio.create_task(_clear(room.catalog, row.erasure_id))
        await asyncio.wait([clearing], timeout=0.3)
    await clearing
    async with room.catalog.reading() as connection:
        assert (await connection.execute(select(jobs_table))).all() == []


async def _clear(catalog: Database, erasure_id: ErasureId) -> None:
    async with catalog.writing() as connection:
        await erasing.clear(connection, TENANT, ANN, erasure_id=erasure_id, now=utc_now())


async def test_an_upload_that_ends_after_the_erasure_leaves_nothing(room: Room, office: Office) -> None:
    recording_id = await _announced(room)

    async def body() -> AsyncIterator[bytes]:
        yield b"the first half"
        await office.ask("ann")
        await office.work()
        yield b"and the second"

    with pytest.raises(PatientErased):
        await ingest(room, office).store_source(CALLER, recording_id, body())
    assert [info async for info in office.store.list()] == []


async def test_an_upload_that_ends_during_the_hold_is_not_acknowledged(room: Room, office: Office) -> None:
    recording_id = await _announced(room)

    async def body() -> AsyncIterator[bytes]:
        yield b"the first half"
        await office.ask("ann", hold=dt.timedelta(hours=1))

    with pytest.raises(ErasurePending):
        await ingest(room, office).store_source(CALLER, recording_id, body())
    assert [info async for info in office.store.list()] == []


async def test_an_upload_of_a_recording_that_is_deleted_meanwhile_is_not_taken_for_a_second_one(
    room: Room, office: Office
) -> None:
    recording_id = await _announced(room)
    service = ingest(room, office)

    async def body() -> AsyncIterator[bytes]:
        yield b"the first half"
        await service.delete(CALLER, recording_id)

    with pytest.raises(UnknownRecording):
        await service.store_source(CALLER, recording_id, body())
    assert [info async for info in office.store.list()] == []


async def _announced(room: Room) -> RecordingId:
    """A recording of the patient that waits for its source."""
    opened = await room.strongroom.open_or_make(TENANT, ANN, now=utc_now())
    recording_id, key_id = new_recording_id(), new_key_id()
    wrap = wrap_recording_key(
        RecordingKey.generate(),
        opened.active,
        tenant=TENANT,
        patient=ANN,
        recording_id=recording_id,
        recording_key_id=key_id,
    )
    new = new_recording(recording_id=recording_id, patient=ANN, key_id=key_id)
    async with room.catalog.writing() as connection:
        await recordings.create(connection, new)
        await recording_wraps.add_wrap(connection, wrap, now=utc_now())
    return recording_id


async def test_a_run_that_ends_after_the_erasure_leaves_nothing(room: Room, office: Office) -> None:
    """As a worker does that is cut off between two looks at its claim."""
    (recording_id,) = await room.patient("ann", recordings=1)
    name, run_id = ObjectName(recording_id, new_file_id()), uuid.uuid4()
    async with room.catalog.writing() as connection:
        row = ObjectRow(recording_id, name.file_id)
        await drafts.announce(connection, row, run_id=run_id, now=utc_now())
    upload = await office.store.create(name)
    await upload.part(b"sealed")
    await office.ask("ann")
    await office.work()
    await upload.complete()
    await Drafting(room.catalog, office.store, utc_now).give_up(recording_id, run_id)
    assert [info async for info in office.store.list()] == []


async def test_no_job_on_keys_leads_from_the_audit_log_to_the_patient(room: Room, office: Office) -> None:
    await room.patient("ann", recordings=1)
    job = await room.ask(JobKind.PATIENT, tenant=TENANT, patient=ANN)
    await room.runner().once()
    assert [entry for entry in room.audited() if entry["patient"] and str(job) in entry["note"]]
    await office.ask("ann")
    await office.work()
    async with room.catalog.reading() as connection:
        (left,) = (await connection.execute(select(key_jobs))).mappings()
    assert "ann" not in repr(dict(left))


async def test_a_patient_with_many_recordings_keeps_no_other_waiting(
    room: Room, office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "_RECORDINGS_A_STEP", 1)
    monkeypatch.setattr(steps, "_PAGES_A_STEP", 1)
    await room.patient("ann", recordings=6)
    await room.patient("ben", recordings=1)
    many, ann = office.runner, await office.ask("ann")
    for _ in range(3):
        await many.once()
    await office.ask("ben")
    for _ in range(2):
        await many.once()
    assert await room.strongroom.shares.find(TENANT, PatientRef("ben")) is None
    assert (await office.now(ann)).state is ErasureState.DESTROYED
    await office.work()
    assert (await office.now(ann)).state is ErasureState.DELETED
