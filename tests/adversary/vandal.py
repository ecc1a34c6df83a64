"""Someone who can write to the object store, the catalog or Redis behind the product's back."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import boto3
from redis.asyncio import Redis
from sqlalchemy import select, update

from keys.database import Database
from keys.ids import RecordingId
from keys.recording_wraps import RecordingWrap, add_wrap, drop_wraps, wraps_of
from tests.world import World
from vault.catalog.tables import recordings
from vault.objects.location import FolderLocation, parse_location
from vault.objects.store import ObjectName


@dataclass(frozen=True, slots=True)
class Objects:
    """The bytes of stored objects, read and overwritten in place."""

    address: str

    async def read(self, name: ObjectName) -> bytes:
        """An object as it stands."""
        return await asyncio.to_thread(self._read, str(name))

    async def write(self, name: ObjectName, body: bytes) -> None:
        """Put other bytes in its place."""
        await asyncio.to_thread(self._write, str(name), body)

    def _read(self, name: str) -> bytes:
        where = parse_location(self.address)
        if isinstance(where, FolderLocation):
            return (where.path / name).read_bytes()
        with self._bucket() as bucket:
            body: bytes = bucket.Object(where.prefix + name).get()["Body"].read()
            return body

    def _write(self, name: str, body: bytes) -> None:
        where = parse_location(self.address)
        if isinstance(where, FolderLocation):
            fresh = Path(f"{where.path / name}.new")
            fresh.write_bytes(body)
            fresh.replace(where.path / name)
            return
        with self._bucket() as bucket:
            bucket.Object(where.prefix + name).put(Body=body)

    @contextlib.contextmanager
    def _bucket(self) -> Iterator[Any]:
        where = parse_location(self.address)
        assert not isinstance(where, FolderLocation)
        service = boto3.resource("s3", endpoint_url=where.endpoint)
        try:
            yield service.Bucket(where.bucket)
        finally:
            service.meta.client.close()


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of the catalog, changed without asking anyone."""

    catalog: Database

    async def change(self, recording_id: RecordingId, **values: object) -> None:
        """Other values for a recording."""
        async with self.catalog.writing() as connection:
            await connection.execute(
                update(recordings).where(recordings.c.id == recording_id).values(**values)
            )

    async def values(self, recording_id: RecordingId) -> dict[str, Any]:
        """A recording's row."""
        async with self.catalog.reading() as connection:
            found = await connection.execute(select(recordings).where(recordings.c.id == recording_id))
            return dict(found.mappings().one())

    async def wrap(self, recording_id: RecordingId) -> RecordingWrap:
        """The one wrap of a recording."""
        async with self.catalog.reading() as connection:
            (wrap,) = (await wraps_of(connection, [recording_id]))[recording_id]
            return wrap

    async def put_wraps(self, recording_id: RecordingId, *wraps: RecordingWrap) -> None:
        """Let a recording have these wraps and no other."""
        async with self.catalog.writing() as connection:
            await drop_wraps(connection, recording_id)
            for wrap in wraps:
                await add_wrap(
                    connection, replace(wrap, recording_id=recording_id), now=dt.datetime.now(tz=dt.UTC)
                )


@contextlib.asynccontextmanager
async def redis_of(world: World) -> AsyncIterator[Redis]:
    """A client of the world's Redis."""
    client = Redis.from_url(world.settings.redis, driver_info=None)
    try:
        yield client
    finally:
        await client.aclose()


@dataclass(frozen=True, slots=True)
class Dump:
    """A copy of everything in Redis: what each key held, and how long it had to live in milliseconds."""

    entries: dict[bytes, tuple[bytes, int]]

    @classmethod
    async def take(cls, redis: Redis) -> Dump:
        """Copy everything (DUMP)."""
        names = [name async for name in redis.scan_iter()]
        return cls({name: (await redis.dump(name), max(await redis.pttl(name), 0)) for name in names})

    async def restore(self, redis: Redis) -> None:
        """Empty Redis and put the copy back (RESTORE)."""
        await redis.flushall()
        for name, (value, left_ms) in self.entries.items():
            await redis.restore(name, left_ms, value, replace=True)
