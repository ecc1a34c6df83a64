"""An eraser that is killed after each of its steps in turn, and one that goes on: the same end as without."""

from __future__ import annotations

import asyncio
import datetime as dt
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import func, select

from keys import keyring
from keys.database import Database
from keys.ids import PatientRef, RecordingId, new_file_id
from keys.master.local import create_master_file, load_master_file
from keys.notes import create_audit_key, load_audit_key, public_key
from keys.tables import recording_wraps
from tests.catalog.databases import emptied
from tests.catalog.rows import TENANT
from tests.erasure.office import Office
from tests.mortality import DIED, Runners
from tests.rotation.room import Room
from tests.servers import ValkeyServer
from vault.app.ground import utc_now
from vault.catalog import drafts
from vault.catalog.drafts import ObjectRow
from vault.catalog.migrate import Schema
from vault.catalog.tables import objects
from vault.erasure.certificate import verify
from vault.objects.folder import FolderStore
from vault.objects.store import ObjectName
from vault.redis_client import connect_redis
from vault.sessions.records import RecordStore

MOST_STEPS = 60


@pytest.fixture
def runners() -> Iterator[Runners]:
    with Runners("tests.erasure.mortal") as made:
        yield made


@dataclass
class Story:
    """One erasure on databases and folders of its own."""

    runners: Runners
    urls: tuple[str, str]
    redis: str
    folder: Path

    async def tell(self, *, die_after: int) -> tuple[bool, tuple[object, ...]]:
        """Erase one of two patients, let the eraser die and another go on: whether it died, and how it all ended."""
        create_master_file(self.folder / "master.key")
        create_audit_key(self.folder / "audit.key")
        databases = await emptied(self.urls[0], Schema.CATALOG), await emptied(self.urls[1], Schema.SHARES)
        room = await Room.open(*databases, self.folder, master=load_master_file(self.folder / "master.key"))
        redis = connect_redis(self.redis)
        store = FolderStore(self.folder / "objects")
        office = Office(room.strongroom, store, RecordStore(redis), room.audit)
        for name in ("ann", "ben"):
            for recording_id in await room.patient(name, recordings=2):
                await _object(room.catalog, store, recording_id)
            await room.session(name, ttl=dt.timedelta(days=9000))
        row = await office.ask("ann")
        code = await self._run(die_after)
        if code == DIED:
            assert await self._run(0) == 0
        ended = await office.now(row)
        held = verify(
            str(ended.certificate).encode(), [public_key(load_audit_key(self.folder / "audit.key"))]
        )
        outcome = (ended.state, held.wraps_tried, *await _left(room, store))
        await room.audit.aclose()
        await redis.aclose()
        for database in databases:
            await database.aclose()
        return code == DIED, outcome

    async def _run(self, after: int) -> int:
        return await asyncio.to_thread(
            self.runners.run,
            catalog=self.urls[0],
            shares=self.urls[1],
            redis=self.redis,
            objects=str(self.folder / "objects"),
            master=str(self.folder / "master.key"),
            audit=str(self.folder),
            after=after,
        )


async def _object(catalog: Database, store: FolderStore, recording_id: RecordingId) -> None:
    name = ObjectName(recording_id, new_file_id())
    upload = await store.create(name)
    await upload.part(b"sealed")
    await upload.complete()
    async with catalog.writing() as connection:
        row = ObjectRow(recording_id, name.file_id)
        await drafts.announce(connection, row, run_id=uuid.uuid4(), now=utc_now())
        await drafts.keep(connection, [name.file_id])


async def _left(room: Room, store: FolderStore) -> tuple[object, ...]:
    """What is left of both patients."""
    shares = [
        await room.strongroom.shares.find(TENANT, PatientRef(name)) is not None for name in ("ann", "ben")
    ]
    async with room.catalog.reading() as connection:
        rows = [
            len(await keyring.generations(connection, TENANT, PatientRef(name))) for name in ("ann", "ben")
        ]
        counts = [
            await connection.scalar(select(func.count()).select_from(table))
            for table in (recording_wraps, objects)
        ]
    stored = len([info async for info in store.list()])
    room.sessions = [each for each in room.sessions if each[0] == "ben"]
    return shares, rows, counts, stored, await room.everything_opens()


async def test_killed_after_every_step(
    runners: Runners, emptied_url: Callable[[Schema], str], valkey_server: ValkeyServer, tmp_path: Path
) -> None:
    urls = await asyncio.to_thread(lambda: (emptied_url(Schema.CATALOG), emptied_url(Schema.SHARES)))

    async def told(after: int) -> tuple[bool, tuple[object, ...]]:
        folder = tmp_path / str(after)
        folder.mkdir()
        return await Story(runners, urls, valkey_server.url, folder).tell(die_after=after)

    died, undisturbed = await told(0)
    assert not died
    assert undisturbed[1:] == (2, [False, True], [0, 1], [2, 2], 2, 2)
    for after in range(1, MOST_STEPS):
        died, outcome = await told(after)
        assert outcome == undisturbed, f"killed after step {after}"
        if not died:
            break
    assert not died, "every step there is was the last one once"
    assert after > 12
