"""Twenty viewers list, play and seek while every key above their recordings is rotated and retired: none notices.

Sessions are short and are refreshed as an app does it, so that the rotation has somebody to wait for and comes to its
end. One stream, by a ticket, is read slowly from before the rotation until after it.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import random
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from keys import halves, keyring
from keys.halves import MasterPlace
from keys.ids import parse_patient, parse_tenant
from tests.adversary.press import Press, Pressed, pressing
from tests.rotation.asking import ask, ended
from tests.world import App, Backend, World
from vault.catalog import recordings
from vault.catalog.key_job_states import JobState
from vault.catalog.key_jobs import JobKind
from vault.rotation.renewal_job import GRACE
from vault.rotation.retire_master_job import options_of

VIEWERS = 20
TTL_S = 30
ROLE = "360p.mp4"


@dataclass
class Viewer:
    """One app of the patient. `wrong` tells what was not as it should be."""

    app: App
    films: tuple[Pressed, ...]
    dice: random.Random
    pause_s: float = 0.05
    answers: int = 0
    refreshes: int = 0
    wrong: list[str] = field(default_factory=list)

    async def watch(self, until: asyncio.Event) -> None:
        """List, play and seek, and refresh the session half-way through its life."""
        due_s = time.monotonic() + TTL_S / 2 * self.dice.random()
        while not until.is_set():
            if time.monotonic() > due_s:
                await self._refresh()
                due_s = time.monotonic() + TTL_S / 2
            await self.dice.choice((self._list, self._play, self._seek))()
            self.answers += 1
            await asyncio.sleep(self.pause_s * self.dice.random())

    async def _refresh(self) -> None:
        answer = await self.app.send("POST", "/v1/sessions/refresh", json={"ttl_s": TTL_S})
        if answer.status != 201:
            self.wrong.append(f"refresh {answer.status}")
            return
        self.app = App(self.app.http, answer.json["token"], answer.json["id"])
        self.refreshes += 1

    async def _list(self) -> None:
        answer = await self.app.get("/v1/recordings")
        titles = {each["title"] for each in answer.json["recordings"]} if answer.status == 200 else set()
        if len(titles) < len(self.films):
            self.wrong.append(f"list {answer.status}: {len(titles)}")

    async def _play(self) -> None:
        film = self.dice.choice(self.films)
        answer = await self.app.get(f"{film.url}/{ROLE}")
        if answer.body != film.plain(ROLE):
            self.wrong.append(f"play {answer.status}")

    async def _seek(self) -> None:
        film = self.dice.choice(self.films)
        plain = film.plain(ROLE)
        first = self.dice.randrange(len(plain))
        answer = await self.app.get(f"{film.url}/{ROLE}", Range=f"bytes={first}-{first + 9999}")
        if answer.body != plain[first : first + 10000]:
            self.wrong.append(f"seek {answer.status}")


async def slowly(clinic: Backend, film: Pressed, until: asyncio.Event) -> bytes:
    """One long stream, its second half not read before the end."""
    body = bytearray()
    asked = {"recording": str(film.recording_id), "purpose": "second opinion"}
    ticket = (await clinic.send("POST", "/v1/tickets", json=asked)).json["ticket"]
    async with clinic.http.get(f"/v1/t/{ticket}/{ROLE}") as answer:
        async for piece in answer.content.iter_chunked(64 * 1024):
            body += piece
            if len(body) > film.manifest.files[0].plain_size_bytes // 2:
                await until.wait()
    return bytes(body)


async def slowly_by_session(app: App, film: Pressed, until: asyncio.Event) -> bytes:
    """One long stream of a session, its second half not read before the end."""
    body = bytearray()
    bearer = {"Authorization": f"Bearer {app.token}"}
    async with app.http.get(f"{film.url}/{ROLE}", headers=bearer) as answer:
        async for piece in answer.content.iter_chunked(64 * 1024):
            body += piece
            if len(body) > film.manifest.files[0].plain_size_bytes // 2:
                await until.wait()
    return bytes(body)


@pytest.fixture
async def press(world: World) -> AsyncIterator[Press]:
    async with pressing(world) as made:
        yield made


async def test_nobody_notices_a_rotation(world: World, press: Press) -> None:
    clinic = await world.backend("clinic")
    films = tuple([await press.publish(clinic, "ann", title=f"Film {number}") for number in range(3)])
    long = await press.publish(clinic, "ann", sizes={ROLE: 24 << 20})
    over = asyncio.Event()
    viewers = [
        Viewer(await clinic.sign_in("ann", ttl_s=TTL_S), films, random.Random(number))  # noqa: S311
        for number in range(VIEWERS)
    ]
    stream = asyncio.create_task(slowly(clinic, long, over))
    watching = [asyncio.create_task(viewer.watch(over)) for viewer in viewers]
    jobs = [await ask(press.catalog, kind) for kind in (JobKind.PATIENT, JobKind.MASTER)]
    results = [await ended(press.catalog, job) for job in jobs]
    fresh = await press.publish(clinic, "ann", title="After the rotation")
    async with press.catalog.reading() as connection:
        [newest] = await halves.census(connection)
    old = MasterPlace(newest.place.provider, newest.place.key_name, 1)
    left = await ended(press.catalog, await ask(press.catalog, JobKind.RETIRE, options={"soak_s": 0}))
    gone = await ended(
        press.catalog,
        await ask(press.catalog, JobKind.RETIRE_MASTER, options=options_of(old, dt.timedelta())),
    )
    over.set()
    assert not stream.done()
    await asyncio.gather(*watching)
    assert await stream == long.plain(ROLE)
    assert [viewer.wrong for viewer in viewers] == [[] for _ in viewers]
    assert {(job.state, job.failed) for job in (*results, gone)} == {(JobState.DONE, 0)}
    assert (left.state, left.done, left.failed) == (
        JobState.INCOMPLETE,
        0,
        1,
    )  # live sessions carry the old key
    assert sum(viewer.answers for viewer in viewers) > 500
    assert min(viewer.refreshes for viewer in viewers) > 0
    async with press.catalog.reading() as connection:
        rows = await keyring.generations(connection, parse_tenant("clinic"), parse_patient("ann"))
        under = await halves.census(connection)
    assert [row.state.value for row in rows] == ["draining", "active"]
    assert [each.place.key_version for each in under] == [2]
    assert world.metric("replayvault_key_mismatch_total") == 0
    last = await clinic.sign_in("ann")
    assert (await last.get(f"{fresh.url}/{ROLE}")).body == fresh.plain(ROLE)


async def test_now_asks_every_app_to_sign_in_once(world: World, press: Press) -> None:
    clinic = await world.backend("clinic")
    film = await press.publish(clinic, "ann", title="Film")
    apps = [await clinic.sign_in("ann") for _ in range(3)]
    begun = time.monotonic()
    job = await ended(press.catalog, await ask(press.catalog, JobKind.PATIENT, options={"now": True}))
    assert (job.state, job.done) == (JobState.DONE, 1)
    assert time.monotonic() - begun < 10
    assert {(await app.get("/v1/recordings")).status for app in apps} == {401}
    async with press.catalog.reading() as connection:
        assert await recordings.patient_epoch(connection, parse_tenant("clinic"), parse_patient("ann")) == 2
    again = await clinic.sign_in("ann")
    assert (await again.get(f"{film.url}/{ROLE}")).body == film.plain(ROLE)


async def test_nobody_notices_that_everything_is_encrypted_anew(world: World, press: Press) -> None:
    """Twice, and the old objects go while a stream that began on them is still read."""
    clinic = await world.backend("clinic")
    films = tuple([await press.publish(clinic, "ann", title=f"Film {number}") for number in range(3)])
    long = await press.publish(clinic, "ann", sizes={ROLE: 24 << 20})
    over = asyncio.Event()
    viewers = [
        Viewer(await clinic.sign_in("ann", ttl_s=TTL_S), films, random.Random(number))  # noqa: S311
        for number in range(VIEWERS)
    ]
    stream = asyncio.create_task(slowly_by_session(await clinic.sign_in("ann"), long, over))
    watching = [asyncio.create_task(viewer.watch(over)) for viewer in viewers]
    await asyncio.sleep(1.0)
    results = []
    for _ in range(2):
        asked = await ask(press.catalog, JobKind.REENCRYPT, options={GRACE: 1})
        results.append(await ended(press.catalog, asked))
    left = {info.name async for info in press.store.list()}
    over.set()
    assert not stream.done()
    await asyncio.gather(*watching)
    assert await stream == long.plain(ROLE)
    assert [viewer.wrong for viewer in viewers] == [[] for _ in viewers]
    assert [(job.state, job.failed, job.done) for job in results] == [(JobState.DONE, 0, 4)] * 2
    assert sum(viewer.answers for viewer in viewers) > 200
    assert not left & {film.name(entry.role) for film in (*films, long) for entry in film.manifest.files}
    assert world.metric("replayvault_key_mismatch_total") == 0
