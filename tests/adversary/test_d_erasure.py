"""D: after the share is gone nothing opens, from no backup; holds hold; nobody else is touched; certificates hold."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import json
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from keys.database import Database, open_database
from keys.erasure import ErasureState
from keys.errors import ErasureRefused, NoSuchKey, PatientErased, UnknownErasure
from keys.ids import PatientRef
from keys.keyring import generations
from keys.notes import public_key
from keys.proving import try_everything
from keys.secret import AuditKey
from keys.strongroom import Strongroom
from keys.tables import catalog_metadata, shares_metadata
from tests.adversary.conftest import EMBEDDED_ALONE
from tests.adversary.press import PICTURE, Press, pressing
from tests.catalog.databases import sqlite_templates, sqlite_url
from tests.catalog.dumps import Dump, dump, restore
from tests.erasure.office import BACKUP_DAYS, CLINIC, Office
from tests.rotation.asking import ask, ended
from tests.world import World, open_world
from vault.audit.log import AuditLog
from vault.catalog import erasing
from vault.catalog.key_jobs import JobKind
from vault.catalog.migrate import Schema
from vault.erasure.certificate import verify
from vault.erasure.errors import CertificateRefused, ForeignTombstone
from vault.objects.anchors import TombstoneName
from vault.objects.sealed import SealedWriter
from vault.redis_client import connect_redis
from vault.sessions.records import RecordStore

__all__ = ["sqlite_templates"]

ANN = PatientRef("ann")


@pytest.fixture
async def press(world: World) -> AsyncIterator[Press]:
    async with pressing(world) as made:
        yield made


@pytest.fixture
async def office(world: World, press: Press, tmp_path: Path) -> AsyncIterator[Office]:
    """Beside the world's own runner, with a clock of its own."""
    async with beside(world, press, tmp_path) as made:
        yield made


@contextlib.asynccontextmanager
async def beside(world: World, press: Press, folder: Path) -> AsyncIterator[Office]:
    redis = connect_redis(world.settings.redis)
    audit = await AuditLog.open(
        folder / "office", role="office", release="test", clock=lambda: dt.datetime.now(tz=dt.UTC)
    )
    yield Office(press.strongroom, press.store, RecordStore(redis), audit)
    await audit.aclose()
    await redis.aclose()


@pytest.fixture
async def restored(
    sqlite_templates: dict[Schema, Path], tmp_path: Path
) -> AsyncIterator[Callable[[Dump], Any]]:
    """Restores a dump of the catalog into a database of its own."""
    opened: list[Database] = []

    async def one(dumped: Dump) -> Database:
        path = tmp_path / f"restored-{len(opened)}.sqlite"
        await asyncio.to_thread(shutil.copyfile, sqlite_templates[Schema.CATALOG], path)
        opened.append(await asyncio.to_thread(open_database, sqlite_url(path)))
        await restore(opened[-1], catalog_metadata, dumped)
        return opened[-1]

    yield one
    for database in opened:
        await database.aclose()


async def erased(office: Office, patient: str = "ann") -> Any:
    """An erasure that has come as far as it can before backups run out; two runners take its steps."""
    row = await office.ask(patient)
    async with asyncio.timeout(30):
        while (row := await office.now(row)).state is not ErasureState.DELETED:
            await office.work()
            await asyncio.sleep(0.05)
    return row


async def test_d1_nothing_opens_from_any_backup(
    world: World, press: Press, office: Office, restored: Callable[[Dump], Any]
) -> None:
    clinic = await world.backend()
    films = [await press.publish(clinic, "ann", sizes=PICTURE) for _ in range(2)]
    async with SealedWriter(press.store, access=films[0].access, role="stray", limit_bytes=100) as stray:
        await stray.write(b"of which no row knows")
        await stray.finish()
    app = await clinic.sign_in("ann")
    old = await dump(press.catalog, catalog_metadata)
    (share,) = (await dump(press.strongroom.shares.database, shares_metadata))["erasure_shares"]
    assert (await ended(press.catalog, await ask(press.catalog, JobKind.MASTER))).failed == 0
    newer = await dump(press.catalog, catalog_metadata)
    await erased(office)
    for dumped in (old, newer):
        catalog = await restored(dumped)
        async with catalog.reading() as connection:
            holdings = await erasing.holdings(connection, CLINIC, ANN)
        tried = await try_everything(
            press.strongroom.master, holdings.generations, holdings.wraps, tenant=CLINIC, patient=ANN
        )
        assert (tried.halves_unwrapped, tried.attempts, tried.opened) == (1, 2, 0)
        assert dict(tried.errors) == {"KeyMismatch": 2}
        with pytest.raises(PatientErased):
            await Strongroom(catalog, press.strongroom.master, press.strongroom.shares).open(CLINIC, ANN)
    for film in films:
        assert [info async for info in press.store.list(film.recording_id)] == []
        assert (await app.get(f"{film.url}/poster.jpg")).status == 401
    assert (await app.get("/v1/recordings")).status == 401
    text = repr(await dump(press.catalog, catalog_metadata))
    assert "'ann'" not in text.replace("{'tenant': 'clinic', 'patient': 'ann', 'epoch'", "")
    kept = await asyncio.to_thread(
        lambda: [path.read_bytes() for path in world.settings.data_dir.glob("shares.sqlite*")]
    )
    assert not [data for data in kept if share["share"] in data]


async def test_d2_a_restored_backup_brings_nobody_back(world: World, press: Press, office: Office) -> None:
    clinic = await world.backend()
    await press.publish(clinic, "ann", sizes=PICTURE)
    await press.publish(clinic, "ben", sizes=PICTURE)
    shares = press.strongroom.shares.database
    await press.strongroom.shares.tombstone_key()
    old = await dump(press.catalog, catalog_metadata), await dump(shares, shares_metadata)
    row = await erased(office)
    due = row.backups_expire_at
    await restore(shares, shares_metadata, old[1])
    await restore(press.catalog, catalog_metadata, old[0])
    assert await press.strongroom.shares.find(CLINIC, ANN) is not None
    office.later(days=3)
    assert len(await office.graveyard.forgotten()) == 1
    assert await office.replay() == 1
    assert await press.strongroom.shares.find(CLINIC, ANN) is None
    assert await press.strongroom.shares.find(CLINIC, PatientRef("ben")) is not None
    with pytest.raises(PatientErased):
        await press.strongroom.open(CLINIC, ANN)
    async with asyncio.timeout(30):
        while (again := await office.now(row)).state is not ErasureState.DELETED:
            await office.work()
            await asyncio.sleep(0.05)
    assert due is not None
    assert again.backups_expire_at is not None
    assert again.backups_expire_at > due + dt.timedelta(days=2)
    with pytest.raises(PatientErased):
        await press.strongroom.open_or_make(CLINIC, ANN, now=office.clock())
    office.later(days=BACKUP_DAYS - 2)  # when it was due before the restore
    await office.work()
    assert (await office.now(row)).certificate is None
    office.later(days=2)
    await office.work()
    assert (await office.now(row)).state is ErasureState.CERTIFIED
    # A catalog alone that comes back later is cleared again.
    await restore(press.catalog, catalog_metadata, old[0])
    assert await office.replay() == 1
    await office.work()
    async with press.catalog.reading() as connection:
        assert await generations(connection, CLINIC, ANN) == ()
    assert await office.replay() == 0


@EMBEDDED_ALONE
async def test_d2_a_control_role_replays_before_it_serves(
    world_settings: dict[str, Any], engine: Any, tmp_path: Path
) -> None:
    async with open_world(engine, world_settings) as world, pressing(world) as press:
        clinic = await world.backend()
        await press.publish(clinic, "ann", sizes=PICTURE)
        shares = press.strongroom.shares.database
        old = await dump(press.catalog, catalog_metadata), await dump(shares, shares_metadata)
        async with beside(world, press, tmp_path) as office:
            await erased(office)
        await restore(press.catalog, catalog_metadata, old[0])
        await restore(shares, shares_metadata, old[1])
    async with open_world(engine, world_settings) as world:
        clinic = await world.backend()
        refused = await clinic.send("POST", "/v1/sessions", json={"patient": "ann"})
        assert (refused.status, refused.json["code"]) == (410, "patient-erased")
        assert [entry for entry in world.audit() if entry["action"] == "erase.replay"]
    other = await asyncio.to_thread(open_database, sqlite_url(tmp_path / "shares.sqlite"))
    await restore(other, shares_metadata, {table.name: [] for table in shares_metadata.sorted_tables})
    await other.aclose()
    with pytest.raises(ForeignTombstone):
        async with open_world(engine, world_settings):
            pytest.fail("a share store that cannot read the tombstones must not serve")


async def test_d3_an_erased_patient_takes_in_nothing_and_opens_nothing(
    world: World, press: Press, office: Office
) -> None:
    clinic = await world.backend()
    film = await press.publish(clinic, "ann", sizes=PICTURE)
    waiting = await clinic.announce("ann")
    app = await clinic.sign_in("ann")
    held = await office.ask("ann", hold=dt.timedelta(hours=1))
    announcement = {"patient": "ann", "consultation": "c-late", "metadata": {"title": "Late"}}
    for answer in (
        await clinic.send("POST", "/v1/recordings", json=announcement),
        await clinic.put(waiting["id"], b"late"),
    ):
        assert (answer.status, answer.json["code"]) == (409, "erasure-pending")
    assert (await app.get(f"{film.url}/poster.jpg")).status == 200
    await office.requests.cancel(held.erasure_id, actor="operator:alice")
    assert (await clinic.put(waiting["id"], b"not late")).status == 202
    await erased(office)
    for path, body in (
        ("/v1/recordings", announcement),
        ("/v1/sessions", {"patient": "ann"}),
    ):
        refused = await clinic.send("POST", path, json=body)
        assert (refused.status, refused.json["code"]) == (410, "patient-erased")
    by_backend = {"recording": str(film.recording_id), "purpose": "second opinion"}
    assert (await clinic.send("POST", "/v1/tickets", json=by_backend)).status == 404
    assert (await app.send("POST", "/v1/tickets", json={"recording": str(film.recording_id)})).status == 401
    assert (await app.send("POST", "/v1/sessions/refresh", json={})).status == 401
    assert (await clinic.put(waiting["id"], b"late")).status == 404
    assert world.metric("replayvault_key_mismatch_total") == 0


async def test_d4_holds_hold_and_cancelling_restores_everything(
    world: World, press: Press, office: Office
) -> None:
    clinic = await world.backend()
    film = await press.publish(clinic, "ann", sizes=PICTURE)
    app = await clinic.sign_in("ann")
    shares = press.strongroom.shares.database
    before = (
        await dump(press.catalog, catalog_metadata),
        (await dump(shares, shares_metadata))["erasure_shares"],
    )
    await office.requests.place_hold(CLINIC, ANN, reason="court order", actor="operator:alice")
    with pytest.raises(ErasureRefused, match="legal hold"):
        await office.ask("ann")
    kept = await clinic.send("DELETE", film.url)
    assert (kept.status, kept.json["code"]) == (409, "legal-hold")
    await office.requests.lift_hold(CLINIC, ANN, actor="operator:alice")
    row = await office.ask("ann", hold=dt.timedelta(hours=1))
    with pytest.raises(ErasureRefused, match="stands already"):
        await office.ask("ann")
    await office.requests.place_hold(CLINIC, ANN, reason="court order", actor="operator:alice")
    office.later(hours=2)
    await office.work()
    assert (await office.now(row)).state is ErasureState.HELD
    await office.requests.cancel(row.erasure_id, actor="operator:alice")
    after = (
        await dump(press.catalog, catalog_metadata),
        (await dump(shares, shares_metadata))["erasure_shares"],
    )
    assert after == before
    assert (await app.get(f"{film.url}/poster.jpg")).body == film.plain("poster.jpg")
    await office.requests.lift_hold(CLINIC, ANN, actor="operator:alice")
    done = await erased(office)
    with pytest.raises(ErasureRefused, match="cannot become cancelled"):
        await office.requests.cancel(done.erasure_id, actor="operator:alice")
    with pytest.raises(ErasureRefused, match="was erased"):
        await office.requests.place_hold(CLINIC, ANN, reason="too late", actor="operator:alice")
    with pytest.raises(UnknownErasure):
        await office.ask("nobody")
    for reason in ("", " ", "x" * 201, "two\nlines"):
        with pytest.raises(ErasureRefused, match="a reason"):
            await office.requests.ask(CLINIC, ANN, reason=reason, hold=dt.timedelta(), actor="operator:alice")


async def test_two_persons_have_to_agree(world: World, press: Press, office: Office) -> None:
    await press.publish(await world.backend(), "ann", sizes=PICTURE)
    office.two_persons = True
    row = await office.ask("ann")
    await office.work()
    assert (await office.now(row)).state is ErasureState.REQUESTED
    with pytest.raises(ErasureRefused, match="second person"):
        await office.requests.approve(row.erasure_id, actor="operator:alice")
    agreed = await office.requests.approve(row.erasure_id, actor="operator:bob")
    assert (agreed.state, agreed.approved_by) == (ErasureState.HELD, "operator:bob")
    await office.work()
    with pytest.raises(PatientErased):
        await press.strongroom.open(CLINIC, ANN)


async def test_d5_nobody_else_is_touched(world: World, press: Press, office: Office) -> None:
    clinic = await world.backend()
    other = await world.backend("practice")
    await press.publish(clinic, "ann", sizes=PICTURE)
    kept = [
        await press.publish(clinic, "ben", sizes=PICTURE),
        await press.publish(other, "ann", tenant="practice", sizes=PICTURE),
    ]
    apps = [await clinic.sign_in("ben"), await other.sign_in("ann")]
    before = await _of_others(press, kept)
    await erased(office)
    assert await _of_others(press, kept) == before
    for app, film in zip(apps, kept, strict=True):
        assert (await app.get(f"{film.url}/poster.jpg")).body == film.plain("poster.jpg")


async def _of_others(press: Press, films: list[Any]) -> tuple[Any, ...]:
    """Every row that names nobody of the erased patient's, the whole share store but hers, and every byte kept."""
    ids = {film.recording_id for film in films}

    def is_theirs(row: dict[str, Any]) -> bool:
        if "patient" in row:
            return (row["tenant"], row["patient"]) in {("clinic", "ben"), ("practice", "ann")}
        return row.get("recording_id") in ids or "scopes" in row

    tables = await dump(press.catalog, catalog_metadata)
    shares = await dump(press.strongroom.shares.database, shares_metadata)
    rows = {name: [row for row in found if is_theirs(row)] for name, found in {**tables, **shares}.items()}
    bodies = {}
    for recording_id in ids:
        async for info in press.store.list(recording_id):
            fetched = await press.store.read(info.name, first_byte=0, last_byte=info.size_bytes - 1)
            bodies[info.name] = bytes(fetched.data)
    return rows, bodies


@EMBEDDED_ALONE
async def test_d6_a_certificate_holds_and_an_altered_one_does_not(
    world: World, press: Press, office: Office
) -> None:
    clinic = await world.backend()
    for name in ("ann", "ben"):
        await press.publish(clinic, name, sizes=PICTURE)
    rows = [await erased(office, name) for name in ("ann", "ben")]
    office.later(days=BACKUP_DAYS, hours=1)
    await office.work()
    ann, ben = [str((await office.now(row)).certificate) for row in rows]
    held = verify(ann.encode(), [public_key(office.key)])
    assert (held.erasure, held.tenant, held.patient) == (str(rows[0].erasure_id), "clinic", "ann")
    assert held.wraps_tried == 1
    found = json.loads(ann)["certificate"]["found"][0]
    assert found["objects"]["count"] == len(PICTURE) + 2
    assert [info async for info in press.store.list_anchors(TombstoneName)]
    with pytest.raises(CertificateRefused, match="signature"):
        verify(ann.encode(), [public_key(AuditKey.generate())])
    refused = 0
    for altered in _altered(json.loads(ann), json.loads(ben)):
        with pytest.raises(CertificateRefused):
            verify(json.dumps(altered).encode(), [public_key(office.key)])
        refused += 1
    assert refused > 40


def _altered(document: Any, other: Any) -> Any:
    """The document with each of its values in turn changed, gone, or another certificate's."""
    for path in _paths(document):
        for change in ("other", "gone", "changed"):
            copy = json.loads(json.dumps(document))
            inside, foreign = copy, other
            for step in path[:-1]:
                inside, foreign = inside[step], foreign[step]
            if change == "gone":
                del inside[path[-1]]
            elif change == "other" and inside[path[-1]] != foreign[path[-1]]:
                inside[path[-1]] = foreign[path[-1]]
            elif change == "changed":
                inside[path[-1]] = [inside[path[-1]]]
            else:
                continue
            yield copy


def _paths(document: Any, *path: Any) -> Any:
    if isinstance(document, dict):
        for name, value in document.items():
            yield from _paths(value, *path, name)
    elif path:
        yield path


async def test_a_rotation_passes_over_whoever_was_erased(world: World, press: Press, office: Office) -> None:
    """C9 with the rows gone as well: erased while the job of everybody's rotation was under way."""
    clinic = await world.backend()
    for name in ("ann", "ben"):
        await press.publish(clinic, name, sizes=PICTURE)
    ann = await clinic.sign_in("ann", ttl_s=30)
    job = await ask(press.catalog, JobKind.PATIENT)
    await erased(office)
    assert (await ended(press.catalog, job)).failed == 0
    assert (await ann.get("/v1/recordings")).status == 401
    async with press.catalog.reading() as connection:
        assert await generations(connection, CLINIC, ANN) == ()
        assert len(await generations(connection, CLINIC, PatientRef("ben"))) == 2


async def test_what_was_never_there_is_not_erased(press: Press) -> None:
    with pytest.raises(NoSuchKey):
        await press.strongroom.open(CLINIC, PatientRef("nobody"))
