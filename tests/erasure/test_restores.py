"""What a restored backup, a crash or a second control role makes of tombstones, and of what is on record."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import text

from keys import database as engines
from keys import erasures
from keys.database import open_database
from keys.erasure import ErasureState
from keys.erasures import LegalHold
from keys.errors import DatabaseUnavailable, ErasureRefused
from keys.ids import PatientRef
from keys.shares import ShareStore
from keys.tables import catalog_metadata, shares_metadata
from tests.catalog.dumps import dump, restore
from tests.catalog.rows import TENANT
from tests.erasure.office import BACKUP_DAYS, Office
from tests.rotation.room import Room
from tests.servers import PostgresServer
from vault.app.ground import utc_now
from vault.catalog import jobs
from vault.catalog.migrate import Schema
from vault.erasure.proof import attempt, remember
from vault.objects.anchors import TombstoneName

ANN = PatientRef("ann")


async def test_two_control_roles_that_replay_at_once_agree(room: Room, office: Office) -> None:
    await room.patient("ann", recordings=1)
    shares = room.strongroom.shares.database
    await room.strongroom.shares.tombstone_key()
    old = await dump(shares, shares_metadata)
    row = await office.ask("ann")
    await office.work()
    for shares_of in (old, old | {"erasure_shares": []}):
        await restore(shares, shares_metadata, shares_of)
        await asyncio.gather(*(office.replay() for _ in range(4)))
        assert (await office.now(row)).state is ErasureState.DESTROYED
        await office.work()


async def test_whoever_replays_late_forgets_no_evidence(room: Room, office: Office) -> None:
    await room.patient("ann", recordings=1)
    shares = room.strongroom.shares.database
    await room.strongroom.shares.tombstone_key()
    old = await dump(shares, shares_metadata)
    catalog = await dump(room.catalog, Schema.CATALOG.metadata)
    row = await office.ask("ann")
    await office.work()
    await restore(shares, shares_metadata, old)
    await restore(room.catalog, Schema.CATALOG.metadata, catalog)
    late = office.replaying
    (forgotten,) = await late.graveyard.forgotten()
    await office.replay()
    await office.work()
    before = await office.now(row)
    assert before.evidence is not None
    await late.destroy_again(forgotten)
    assert await office.now(row) == before


async def test_a_share_that_came_back_takes_the_certificate_with_it(room: Room, office: Office) -> None:
    await room.patient("ann", recordings=1)
    shares = room.strongroom.shares.database
    (share,) = (await dump(shares, shares_metadata))["erasure_shares"]
    row = await office.ask("ann")
    await office.work()
    office.later(days=BACKUP_DAYS, hours=1)
    await office.work()
    assert (await office.now(row)).certificate is not None
    now = await dump(shares, shares_metadata)
    await restore(shares, shares_metadata, now | {"erasure_shares": [share]})
    assert await office.replay() == 1
    assert (await office.now(row)).certificate is None
    await office.work()
    assert (await office.now(row)).state is ErasureState.DELETED
    office.later(days=BACKUP_DAYS, hours=1)
    await office.work()
    assert (await office.now(row)).certificate is not None


async def test_a_tombstone_that_a_restored_object_store_lost_is_written_again(
    room: Room, office: Office, tmp_path: Path
) -> None:
    await room.patient("ann", recordings=1)
    row = await office.ask("ann")
    await office.work()
    tombstone = tmp_path / "objects" / str(TombstoneName(row.erasure_id))
    await asyncio.to_thread(tombstone.unlink)
    await office.replay()
    assert await office.graveyard.stands(row.erasure_id)
    office.later(days=BACKUP_DAYS, hours=1)
    await office.work()
    assert (await office.now(row)).state is ErasureState.CERTIFIED


async def test_an_empty_tombstone_that_a_crash_left_is_filled(
    room: Room, office: Office, tmp_path: Path
) -> None:
    await room.patient("ann", recordings=1)
    await room.strongroom.shares.tombstone_key()
    shares = room.strongroom.shares.database
    old = await dump(shares, shares_metadata)
    row = await office.ask("ann")
    tombstone = tmp_path / "objects" / str(TombstoneName(row.erasure_id))
    await asyncio.to_thread(tombstone.parent.mkdir, parents=True)
    await asyncio.to_thread(tombstone.touch)
    await office.work()
    await restore(shares, shares_metadata, old)
    assert await office.replay() == 1


async def test_no_share_goes_while_its_tombstone_cannot_be_read(
    room: Room, office: Office, tmp_path: Path
) -> None:
    await room.patient("ann", recordings=1)
    row = await office.ask("ann")
    tombstone = tmp_path / "objects" / str(TombstoneName(row.erasure_id))
    await asyncio.to_thread(tombstone.parent.mkdir, parents=True)
    await asyncio.to_thread(tombstone.write_bytes, b"half of one")
    await office.work()
    assert (await office.now(row)).state is ErasureState.DESTROYING
    assert await room.strongroom.shares.find(TENANT, ANN) is not None


async def test_asked_for_again_after_a_share_store_forgot_the_first_erasure(
    room: Room, office: Office
) -> None:
    """Two tombstones of one patient do not take turns."""
    await room.patient("ann", recordings=1)
    await room.strongroom.shares.tombstone_key()
    shares = room.strongroom.shares.database
    old = await dump(shares, shares_metadata), await dump(room.catalog, Schema.CATALOG.metadata)
    await office.ask("ann")
    await office.work()
    await restore(shares, shares_metadata, old[0])
    await restore(room.catalog, Schema.CATALOG.metadata, old[1])
    second = await office.ask("ann")
    await office.work()
    assert await office.replay() == 0
    assert (await office.now(second)).state is ErasureState.DELETED


async def test_a_restored_share_store_keeps_who_asked(room: Room, office: Office) -> None:
    await room.patient("ann", recordings=1)
    await room.strongroom.shares.tombstone_key()
    row = await office.ask("ann")
    shares = room.strongroom.shares.database
    old = await dump(shares, shares_metadata)
    await office.work()
    await restore(shares, shares_metadata, old)
    assert await office.replay() == 1
    again = await office.now(row)
    assert (again.requested_by, again.reason) == (row.requested_by, row.reason)


async def test_a_log_that_is_not_cut_is_told(
    sqlite_templates: dict[Schema, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A backup that reads while the share goes keeps SQLite from dropping it from its log."""
    path = tmp_path / "shares.sqlite"
    path.write_bytes(await asyncio.to_thread(sqlite_templates[Schema.SHARES].read_bytes))
    monkeypatch.setattr(engines, "COMMAND_TIMEOUT_S", 0.1)
    database = open_database(f"sqlite+aiosqlite:///{path}")
    async with database.writing() as connection:
        await erasures.place_hold(connection, LegalHold(TENANT, ANN, "reason", "operator", utc_now()))
    reader = sqlite3.connect(path, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM legal_holds").fetchall()
    async with database.writing() as connection:
        await erasures.lift_hold(connection, TENANT, ANN)
    with pytest.raises(DatabaseUnavailable, match="cannot be cut"):
        await database.scrub("erasure_shares")
    reader.close()
    await database.scrub("erasure_shares")
    await database.aclose()


async def test_no_file_of_a_table_keeps_a_share(
    postgres_server: PostgresServer, postgres_templates: dict[Schema, str]
) -> None:
    """PostgreSQL leaves the last row of a page in its file when it reclaims it, and so in the next base backup."""
    url = await asyncio.to_thread(
        lambda: postgres_server.create_database(like=postgres_templates[Schema.SHARES])
    )
    database = open_database(url)
    store = ShareStore(database)
    for name in ("ann", "ben", "cleo"):
        share = await store.find_or_make(TENANT, PatientRef(name), now=utc_now())
    async with database.writing() as connection:
        await erasures.destroy_share(connection, TENANT, PatientRef("cleo"))
    async with database.reading() as connection:
        assert await store.find(TENANT, PatientRef("ben")) is not None
        await connection.execute(text("SELECT * FROM erasure_shares"))
        with pytest.raises(DatabaseUnavailable):
            await store.scrub()
    await store.scrub()
    async with database.reading() as connection:
        file = await connection.scalar(text("SELECT pg_relation_filepath('erasure_shares')"))
        folder = await connection.scalar(text("SHOW data_directory"))
        await connection.execute(text("CHECKPOINT"))
    data = await asyncio.to_thread((Path(str(folder)) / str(file)).read_bytes)
    assert b"cleo" not in data
    assert share.reveal(to="share store") not in data
    await database.aclose()


async def test_those_who_stay_erased_are_looked_up_together(
    room: Room, office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ann", "ben"):
        await room.patient(name, recordings=1)
        await office.ask(name)
    await office.work()
    monkeypatch.delattr(erasures, "find")
    assert await office.graveyard.forgotten() == []


async def test_jobs_that_need_no_share_are_counted_and_named(room: Room, office: Office) -> None:
    (recording_id,) = await room.patient("ann", recordings=1)
    async with room.catalog.writing() as connection:
        await jobs.owe(connection, recording_id, b"sealed to the worker", now=utc_now())
    row = await office.ask("ann")
    await office.work()
    office.later(days=BACKUP_DAYS, hours=1)
    await office.work()
    whole = json.loads((await office.now(row)).certificate or "")["certificate"]
    assert [found["handovers"] for found in whole["found"]] == [{"count": 1}]
    assert [words for words in whole["out_of_reach"] if "the worker's key" in words]


async def test_a_cancellation_that_a_backup_has_forgotten_can_be_repeated(room: Room, office: Office) -> None:
    """What came due while nobody ran is held for another day: somebody can look before anything is destroyed."""
    await room.patient("ann", recordings=1)
    shares = room.strongroom.shares.database
    row = await office.ask("ann", hold=dt.timedelta(hours=1))
    old = await dump(shares, shares_metadata)
    await office.requests.cancel(row.erasure_id, actor="operator:alice")
    await restore(shares, shares_metadata, old)
    office.later(hours=2)
    await office.replay()
    await office.work()
    assert (await office.now(row)).state is ErasureState.HELD
    await office.requests.cancel(row.erasure_id, actor="operator:alice")
    office.later(days=2)
    await office.work()
    assert await room.strongroom.shares.find(TENANT, ANN) is not None


async def test_a_certificate_takes_no_more_proofs(room: Room, office: Office) -> None:
    await room.patient("ann", recordings=1)
    before = await dump(room.catalog, catalog_metadata)
    row = await office.ask("ann")
    await office.work()
    office.later(days=BACKUP_DAYS, hours=1)
    await office.work()
    await restore(room.catalog, catalog_metadata, before)
    ended = await office.now(row)
    master = room.strongroom.master
    finding = await attempt(room.catalog, master, ended, source="backup x", at=office.clock())
    assert finding is not None
    with pytest.raises(ErasureRefused, match="made already"):
        await remember(room.strongroom.shares.database, ended, finding)
    with pytest.raises(ErasureRefused, match="366 days"):
        await office.ask("ann", hold=dt.timedelta(days=367))
