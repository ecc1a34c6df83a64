"""The product on a real OpenBao: what stops while it hangs and what goes on, and jobs that rotate through it."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import select, update

from keys import halves
from keys.database import Database
from keys.keyfile import create_private_file
from keys.master.local import create_master_file, load_master_file
from keys.master.openbao import OpenBaoMaster, Transit
from keys.master.several import Masters
from keys.tables import catalog_metadata, patient_keys
from tests.catalog.rows import TENANT
from tests.media import Media
from tests.rotation.room import Room
from tests.servers import BaoServer
from tests.world import Engine, embedded_settings, open_world
from vault.catalog import key_jobs
from vault.catalog.key_job_states import JobState
from vault.catalog.key_jobs import JobId, JobKind
from vault.cli import replayvault
from vault.cli.exits import Exit


@pytest.fixture
def transit(bao: BaoServer, tmp_path: Path) -> Transit:
    """A key of this test's own."""
    key = bao.transit_key(f"key-{tmp_path.name.lower().replace('_', '-')[:40]}")
    create_private_file(tmp_path / "token", bao.root_token.encode())
    return Transit(address=bao.url, mount="transit", key=key, token_file=tmp_path / "token")


@dataclass(frozen=True, slots=True)
class Away:
    """A way in which the server is away, and how it comes back."""

    name: str
    goes: Callable[[BaoServer], object]
    is_back: Callable[[BaoServer], object]


AWAY = (
    Away("hung", BaoServer.pause, BaoServer.resume),
    Away("sealed", BaoServer.seal, BaoServer.unseal),
    Away("killed", BaoServer.kill, BaoServer.start),
)


@pytest.fixture(scope="module")
def own_bao() -> Iterator[BaoServer]:
    """One that this module may seal and kill."""
    with BaoServer() as server:
        yield server


@pytest.mark.parametrize("away", AWAY, ids=lambda each: each.name)
async def test_while_it_is_away_live_sessions_play(
    own_bao: BaoServer, tmp_path: Path, media: Media, away: Away
) -> None:
    key = await asyncio.to_thread(own_bao.transit_key, f"away-{away.name}")
    create_private_file(tmp_path / "token", own_bao.root_token.encode())
    given = {
        **embedded_settings(tmp_path / "data"),
        "master_url": f"openbao+{own_bao.url}/transit/{key}",
        "master_token_file": tmp_path / "token",
    }
    async with open_world(Engine.EMBEDDED, given) as world:
        clinic = await world.backend("clinic")
        film = await clinic.upload("ann", media.path("audio.webm"))
        ann = await clinic.sign_in("ann")
        assert not (tmp_path / "data" / "master.key").exists()
        await asyncio.to_thread(away.goes, own_bao)
        try:
            begun = time.monotonic()
            answer = await clinic.send("POST", "/v1/sessions", json={"patient": "ann"})
            assert time.monotonic() - begun < 3.0
            assert (answer.status, answer.json["code"]) == (503, "unavailable")
            assert int(answer.headers["Retry-After"]) > 0
            assert (await ann.get(f"/v1/recordings/{film}/audio.mp4")).status == 200
            assert (await ann.get("/v1/recordings")).json["recordings"]
            assert (await clinic.send("POST", "/v1/recordings", json=_announcement("ann"))).status == 503
        finally:
            await asyncio.to_thread(away.is_back, own_bao)
        assert (await clinic.sign_in("ann")).token
        assert world.metric("replayvault_key_mismatch_total") == 0


def _announcement(patient: str) -> dict[str, object]:
    return {"patient": patient, "consultation": "c-while-away", "metadata": {"title": "x"}}


async def test_a_rotation_names_the_wrap_that_the_server_refuses(
    catalog: Database, shares: Database, transit: Transit, tmp_path: Path
) -> None:
    """An error inside an answer that is otherwise 200."""
    room = await Room.open(catalog, shares, tmp_path / "audit", master=OpenBaoMaster(transit))
    for name in ("ann", "ben", "cleo"):
        await room.patient(name, recordings=1)
    async with room.catalog.writing() as connection:
        of_ann = patient_keys.c.patient == "ann"
        [(key_id, whole)] = await connection.execute(
            select(patient_keys.c.key_id, patient_keys.c.wrapped_half).where(of_ann)
        )
        await connection.execute(update(patient_keys).where(of_ann).values(wrapped_half=b"vault:v1:AAAA"))
    job = await room.ask(JobKind.MASTER, base_version=1)
    assert await room.runner().once()
    ended = await room.job(job)
    assert (ended.state, ended.total, ended.done, ended.failed) == (JobState.INCOMPLETE, 3, 2, 1)
    async with room.catalog.writing() as connection:
        [error] = await key_jobs.errors_of(connection, job, limit=10)
        assert (error.item, error.code) == (str(key_id), "Malformed")
        await connection.execute(update(patient_keys).where(of_ann).values(wrapped_half=whole))
        await key_jobs.retry(connection, job, now=room.at)
    assert await room.runner().once()
    ended = await room.job(job)
    assert (ended.state, ended.done, ended.failed) == (JobState.DONE, 3, 0)
    await room.audit.aclose()


async def test_a_rotation_waits_for_a_sealed_server(
    catalog: Database, shares: Database, bao: BaoServer, transit: Transit, tmp_path: Path
) -> None:
    room = await Room.open(catalog, shares, tmp_path / "audit", master=OpenBaoMaster(transit))
    await room.patient("ann", recordings=1)
    job = await room.ask(JobKind.MASTER, base_version=1)
    await asyncio.to_thread(bao.seal)
    try:
        assert await room.runner().once()
        waits = await room.job(job)
        assert waits.state is JobState.QUEUED
        assert waits.note is not None
        assert "does not answer" in waits.note
    finally:
        await asyncio.to_thread(bao.unseal)
    room.at = room.at.replace(hour=room.at.hour + 1)
    assert await room.runner().once()
    assert (await room.job(job)).state is JobState.DONE
    await room.audit.aclose()


async def test_patient_keys_move_from_a_file_to_the_server(
    catalog: Database, shares: Database, transit: Transit, tmp_path: Path
) -> None:
    create_master_file(tmp_path / "master.key")
    local = load_master_file(tmp_path / "master.key")
    before = await Room.open(catalog, shares, tmp_path / "audit", master=local)
    for name in ("ann", "ben"):
        await before.patient(name, recordings=2)
    await before.session("ann", ttl=key_jobs.LEASE)
    await before.audit.aclose()
    room = await Room.open(
        catalog, shares, tmp_path / "audit", master=Masters(OpenBaoMaster(transit), (local,))
    )
    room.sessions = before.sessions
    job = await room.ask(JobKind.REWRAP)
    assert await room.runner().once()
    assert (await room.job(job)).done == 2
    async with room.catalog.reading() as connection:
        assert [(each.place.provider, each.count) for each in await halves.census(connection)] == [
            ("openbao", 2)
        ]
    await room.audit.aclose()
    alone = await Room.open(catalog, shares, tmp_path / "audit", master=OpenBaoMaster(transit))
    alone.sessions, alone.at = before.sessions, before.at
    await alone.session("ben", ttl=key_jobs.LEASE)
    assert await alone.everything_opens() == 4
    await alone.audit.aclose()


@pytest.mark.parametrize(
    "words",
    [
        ("rotate", "patient"),
        ("rotate", "patient", "--now"),
        ("rotate", "master"),
        ("rewrap",),
        ("retire", "patient"),
        ("reencrypt", "--tenant", str(TENANT)),
    ],
    ids=" ".join,
)
async def test_a_dry_run_asks_for_nothing_to_be_opened(
    catalog: Database,
    shares: Database,
    bao: BaoServer,
    transit: Transit,
    tmp_path: Path,
    *,
    words: tuple[str, ...],
) -> None:
    """The server's key and the catalog stay as they are, and no half is wrapped or decrypted."""
    room = await Room.open(catalog, shares, tmp_path / "audit", master=OpenBaoMaster(transit))
    await room.patient("ann", recordings=1)
    before = await _standing(catalog, bao, transit)
    told = await _typed(catalog, bao, transit, tmp_path, *words, "--dry-run")
    assert (told.exit_code, "ann" in told.stdout) == (Exit.OK, False)
    assert next(iter(json.loads(told.stdout).values()))
    assert await _standing(catalog, bao, transit) == before
    assert before[1][0] > 0  # what is asked for is counted


async def _typed(catalog: Database, bao: BaoServer, transit: Transit, folder: Path, *words: str) -> Result:
    """A command of `keys`, and what it told in JSON."""
    environment = {
        "REPLAYVAULT_DATA_DIR": str(folder / "data"),
        "REPLAYVAULT_CATALOG_URL": catalog.engine.url.render_as_string(hide_password=False),
        "REPLAYVAULT_MASTER_URL": f"openbao+{bao.url}/transit/{transit.key}",
        "REPLAYVAULT_MASTER_TOKEN_FILE": str(transit.token_file),
    }
    line = ["keys", *words, "--json"]
    return await asyncio.to_thread(CliRunner().invoke, replayvault, line, env=environment)


async def _standing(catalog: Database, bao: BaoServer, transit: Transit) -> tuple[Any, ...]:
    """The catalog's rows, how often the server was asked for what, and its key."""
    async with catalog.reading() as connection:
        rows = [
            (await connection.execute(select(table).order_by(*table.primary_key))).all()
            for table in catalog_metadata.sorted_tables
        ]
    asked = [bao.asked(verb, transit.key) for verb in ("encrypt", "decrypt", "rewrap")]
    return rows, asked, bao.root.read(f"transit/keys/{transit.key}")["data"]


async def test_a_dry_run_of_retiring_asks_for_nothing_to_be_opened(
    catalog: Database, shares: Database, bao: BaoServer, transit: Transit, tmp_path: Path
) -> None:
    """Neither the server's key nor the catalog changes, and no half is decrypted, refused or not."""
    room = await Room.open(catalog, shares, tmp_path / "audit", master=OpenBaoMaster(transit))
    await room.patient("ann", recordings=1)
    await room.strongroom.master.rotate()
    retiring = partial(_typed, catalog, bao, transit, tmp_path, "retire", "master", "--version", "1")
    standing = partial(_standing, catalog, bao, transit)

    before = await standing()
    for words in (("--dry-run",), ("--yes",)):
        refused = await retiring(*words)
        assert (refused.exit_code, "1 patient keys stand under" in refused.stderr) == (Exit.REFUSED, True)
    assert await standing() == before
    assert before[1][0] > 0  # it is counted
    assert (await room.job(await _rewrapped(room))).state is JobState.DONE
    before = await standing()
    told = await retiring("--dry-run")
    assert (told.exit_code, json.loads(told.stdout)["would_retire"]["versions"]) == (Exit.OK, [1])
    assert await standing() == before
    job = JobId(uuid.UUID(json.loads((await retiring("--yes")).stdout)["id"]))
    room.at = dt.datetime.now(tz=dt.UTC) + dt.timedelta(seconds=1)
    await room.work()
    assert bao.root.read(f"transit/keys/{transit.key}")["data"]["min_decryption_version"] == 2
    before = await standing()
    assert (await retiring("--undo", "--dry-run")).exit_code == Exit.OK
    assert await standing() == before
    assert json.loads((await retiring("--undo", "--yes")).stdout) == {"restored": [1]}
    assert bao.root.read(f"transit/keys/{transit.key}")["data"]["min_decryption_version"] == 1
    assert (await room.job(job)).state is JobState.ABORTED
    await room.audit.aclose()


async def _rewrapped(room: Room) -> JobId:
    job = await room.ask(JobKind.REWRAP)
    await room.work()
    return job
