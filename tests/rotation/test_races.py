"""A whole rotation between two steps of one request: it looks again, and what it makes is under the key of now."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from keys import recording_wraps
from keys.ids import PatientRef, RecordingId, TenantId
from keys.strongroom import OpenedPatient, Strongroom
from tests.adversary.press import PICTURE, Press, pressing
from tests.rotation.asking import ask, ended
from tests.world import Backend, World
from vault.catalog.key_job_states import JobState
from vault.catalog.key_jobs import JobKind

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
