"""C7: encrypted anew under a reader: she sees the old or the new, never a mix; old versions are gone afterwards."""

from __future__ import annotations

import asyncio

import pytest

from keys.ids import KeyId
from tests.adversary.conftest import Scene
from tests.adversary.evidence import assert_constant
from tests.adversary.press import MIB, Pressed
from tests.rotation.asking import ask, ended
from tests.world import Engine
from vault.catalog import recordings
from vault.catalog.key_job_states import JobState
from vault.catalog.key_jobs import JobKind
from vault.objects.store import ObjectName
from vault.rotation.renewal_job import GRACE

ROLE = "360p.mp4"
IN_PRODUCTION = pytest.mark.parametrize("engine", [Engine.PRODUCTION], ids=["production"], indirect=True)


async def renewed(scene: Scene, film: Pressed) -> KeyId:
    """The key of a recording, once it is another one."""
    async with asyncio.timeout(30):
        while True:
            async with scene.press.catalog.reading() as connection:
                row = await recordings.by_id(connection, film.recording_id)
            if row.key_id != film.access.key_id:
                return row.key_id
            await asyncio.sleep(0.05)


async def ticket_for(scene: Scene, film: Pressed) -> str:
    asked = {"recording": str(film.recording_id), "purpose": "second opinion"}
    return str((await scene.clinic.send("POST", "/v1/tickets", json=asked)).json["ticket"])


def names(film: Pressed) -> set[ObjectName]:
    return {film.name(entry.role) for entry in film.manifest.files} | {film.manifest_name}


async def test_c7_a_ticket_plays_on_for_the_grace_and_then_ends_without_an_alarm(scene: Scene) -> None:
    film = await scene.press.publish(scene.clinic, "patient-a", sizes={ROLE: 300_000, "poster.jpg": 3000})
    ticket = await ticket_for(scene, film)
    job = await ask(
        scene.press.catalog, JobKind.REENCRYPT, recording_id=film.recording_id, options={GRACE: 4}
    )
    await renewed(scene, film)
    playing = await scene.world.anyone.get(f"/v1/t/{ticket}/{ROLE}")
    assert (playing.status, playing.body) == (200, film.plain(ROLE))
    assert (await scene.a.get(f"{film.url}/{ROLE}")).body == film.plain(ROLE)
    fresh = await ticket_for(scene, film)
    assert (await ended(scene.press.catalog, job)).state is JobState.DONE
    assert_constant(await scene.world.anyone.get(f"/v1/t/{ticket}/{ROLE}"), status=401)
    assert (await scene.world.anyone.get(f"/v1/t/{fresh}/{ROLE}")).body == film.plain(ROLE)
    assert (await scene.a.get(f"{film.url}/{ROLE}")).body == film.plain(ROLE)
    assert scene.world.metric("replayvault_key_mismatch_total") == 0
    denied = [each for each in await asyncio.to_thread(scene.world.audit) if each["decision"] == "deny"]
    assert [(each["action"], each["reason"], each["actor"]) for each in denied] == [
        ("view.open", "REVOKED", "ticket")
    ]


async def test_c7_a_stream_goes_over_to_the_new_objects_when_the_old_ones_go(scene: Scene) -> None:
    film = await scene.press.publish(scene.clinic, "patient-a", sizes={ROLE: 24 * MIB})
    bearer = {"Authorization": f"Bearer {scene.a.token}"}
    async with scene.world.http.get(f"{film.url}/{ROLE}", headers=bearer) as answer:
        body = bytearray(await answer.content.readexactly(MIB))
        job = await ask(scene.press.catalog, JobKind.REENCRYPT, options={GRACE: 0})
        assert (await ended(scene.press.catalog, job)).state is JobState.DONE
        left = {info.name async for info in scene.press.store.list()}
        assert not left & names(film)
        body += await answer.content.read()
    assert bytes(body) == film.plain(ROLE)


@IN_PRODUCTION
async def test_c7_no_version_of_an_old_object_is_left(scene: Scene) -> None:
    def versions() -> set[str]:
        with scene.objects._bucket() as bucket:
            return {each.object_key for each in bucket.object_versions.all()}

    def keep_versions() -> None:
        with scene.objects._bucket() as bucket:
            bucket.Versioning().enable()

    await asyncio.to_thread(keep_versions)
    film = await scene.press.publish(scene.clinic, "patient-a")
    old = {str(name) for name in names(film)}
    assert old <= await asyncio.to_thread(versions)
    job = await ask(scene.press.catalog, JobKind.REENCRYPT, options={GRACE: 0})
    assert (await ended(scene.press.catalog, job)).state is JobState.DONE
    found = {each for each in await asyncio.to_thread(versions) if str(film.recording_id) in each}
    assert not found & old
    assert len(found) == len(old) + 1  # the source, too
    assert (await scene.a.get(f"{film.url}/{ROLE}")).body == film.plain(ROLE)
