"""A whole rotation, or a whole encrypting anew, between two steps of one request: it looks again, and goes on."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from keys import recording_wraps
from keys.ids import PatientRef, RecordingId, TenantId
from keys.strongroom import OpenedPatient, Strongroom
from tests.adversary.press import PICTURE, Press, pressing
from tests.rotation.asking import ask, ended
from tests.world import Backend, World
from vault import ingest
from vault.catalog import recordings
from vault.catalog.key_job_states import JobState
from vault.catalog.key_jobs import JobKind
from vault.objects.manifest import SOURCE_ROLE
from vault.objects.sealed import SealedReader
from vault.objects.store import ObjectName
from vault.rotation.renewal_job import GRACE

Open = Callable[[Strongroom, TenantId, PatientRef], Awaitable[OpenedPatient]]


@pytest.fixture
async def press(world: World) -> AsyncIterator[Press]:
    async with pressing(world) as made:
        yield made


@pytest.fixture
async def clinic(world: World) -> Backend:
    return await world.backend("clinic")


@pytest.fixture
def rotated_meanwhile(press: Press, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Call it, and the next request that opens a patient's keys waits until all of them are rotated."""
    original: Open = Strongroom.open

    def arm() -> None:
        async def opened_and_late(self: Strongroom, tenant: TenantId, patient: PatientRef) -> OpenedPatient:
            monkeypatch.setattr(Strongroom, "open", original)
            opened = await original(self, tenant, patient)
            job = await ended(press.catalog, await ask(press.catalog, JobKind.PATIENT))
            assert job.state is JobState.DONE
            return opened

        monkeypatch.setattr(Strongroom, "open", opened_and_late)

    return arm


@pytest.fixture(params=["before its key opens", "after its key opened"])
def renewed_meanwhile(
    press: Press, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Callable[[], None]:
    """Call it, and the next request that opens a recording waits until every recording is encrypted anew."""

    async def renew() -> None:
        asked = await ask(press.catalog, JobKind.REENCRYPT, options={GRACE: 0})
        assert (await ended(press.catalog, asked)).state is JobState.DONE

    def arm() -> None:
        room, name = (Strongroom, "open") if request.param == "before its key opens" else (ingest, "unlock")
        original = getattr(room, name)

        async def late(*given: Any, **named: Any) -> Any:
            monkeypatch.setattr(room, name, original)
            found = await original(*given, **named)
            await renew()
            return found

        monkeypatch.setattr(room, name, late)

    return arm


async def generations_of(press: Press, recording: str) -> list[int]:
    recording_id = RecordingId(uuid.UUID(recording))
    async with press.catalog.reading() as connection:
        wraps = await recording_wraps.wraps_of(connection, [recording_id])
    return [wrap.generation for wrap in wraps[recording_id]]


async def test_a_session(clinic: Backend, press: Press, rotated_meanwhile: Callable[[], None]) -> None:
    film = await press.publish(clinic, "ann", sizes=PICTURE)
    rotated_meanwhile()
    ann = await clinic.sign_in("ann")
    assert (await ann.get(f"{film.url}/poster.jpg")).body == film.plain("poster.jpg")


async def test_an_announcement(clinic: Backend, press: Press, rotated_meanwhile: Callable[[], None]) -> None:
    await press.publish(clinic, "ann", sizes=PICTURE)
    rotated_meanwhile()
    assert await generations_of(press, (await clinic.announce("ann"))["id"]) == [2]


async def test_an_upload(
    world: World, clinic: Backend, press: Press, rotated_meanwhile: Callable[[], None]
) -> None:
    """Its recording's wrap moved to a key that the request has not opened: no misroute, and no alarm."""
    announced = str((await clinic.announce("ann"))["id"])
    rotated_meanwhile()
    assert (await clinic.put(announced, b"not a film")).status == 202
    assert world.metric("replayvault_key_mismatch_total") == 0
    assert await generations_of(press, announced) == [2]


async def test_a_ticket_by_the_backend(
    clinic: Backend, press: Press, rotated_meanwhile: Callable[[], None]
) -> None:
    film = await press.publish(clinic, "ann", sizes=PICTURE)
    rotated_meanwhile()
    asked = {"recording": str(film.recording_id), "purpose": "second opinion"}
    ticket = (await clinic.send("POST", "/v1/tickets", json=asked)).json["ticket"]
    assert (await clinic.get(f"/v1/t/{ticket}/poster.jpg")).body == film.plain("poster.jpg")


async def test_an_upload_while_its_recording_gets_a_new_key(
    world: World, clinic: Backend, press: Press, renewed_meanwhile: Callable[[], None]
) -> None:
    """What is stored opens under the key of now."""
    announced = str((await clinic.announce("ann"))["id"])
    renewed_meanwhile()
    assert (await clinic.put(announced, b"not a film")).status == 202
    assert (await clinic.final(announced))["failure"] == "source-not-media"
    access = await press.access("clinic", "ann", RecordingId(uuid.UUID(announced)))
    async with press.catalog.reading() as connection:
        source = (await recordings.by_id(connection, access.recording_id)).source
    assert source is not None
    name = ObjectName(access.recording_id, source.file_id)
    reader = await SealedReader.from_store(press.store, name, access=access, role=SOURCE_ROLE)
    assert await reader.read_all() == b"not a film"
    assert world.metric("replayvault_key_mismatch_total") == 0


async def test_a_retry_while_its_recording_gets_a_new_key(
    world: World, clinic: Backend, renewed_meanwhile: Callable[[], None]
) -> None:
    """The worker is handed the key and the source of now; the old ones would open nothing."""
    recording = await clinic.send_in("ann", b"not a film")
    first = await clinic.final(recording)
    renewed_meanwhile()
    assert (await clinic.send("POST", f"/v1/recordings/{recording}/retry")).status == 202
    assert (await clinic.final(recording))["failure"] == first["failure"]
    assert world.metric("replayvault_key_mismatch_total") == 0


async def test_a_ticket_by_the_backend_while_its_recording_gets_a_new_key(
    world: World, clinic: Backend, press: Press, renewed_meanwhile: Callable[[], None]
) -> None:
    film = await press.publish(clinic, "ann", sizes=PICTURE)
    renewed_meanwhile()
    asked = {"recording": str(film.recording_id), "purpose": "second opinion"}
    ticket = (await clinic.send("POST", "/v1/tickets", json=asked)).json["ticket"]
    assert (await clinic.get(f"/v1/t/{ticket}/poster.jpg")).body == film.plain("poster.jpg")
    assert world.metric("replayvault_key_mismatch_total") == 0
