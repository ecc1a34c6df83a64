"""Two questions in one snapshot see the same moment, whatever is committed between them."""

from __future__ import annotations

from sqlalchemy import func, select

from keys.database import Database
from tests.catalog.rows import add_recording
from vault.catalog.tables import recordings

COUNT = select(func.count()).select_from(recordings)


async def test_what_is_committed_meanwhile_is_not_seen(catalog: Database) -> None:
    await add_recording(catalog)
    async with catalog.snapshot() as connection:
        assert await connection.scalar(COUNT) == 1
        await add_recording(catalog)
        assert await connection.scalar(COUNT) == 1
    async with catalog.reading() as connection:
        assert await connection.scalar(COUNT) == 2


async def test_a_snapshot_leaves_the_connection_as_it_was(catalog: Database) -> None:
    """The pool hands it to somebody who wants to see what is committed."""
    for _ in range(30):
        async with catalog.snapshot() as connection:
            await connection.scalar(COUNT)
    # Every transaction of SQLite is a snapshot, one of PostgreSQL only where it is asked for.
    seen = 0 if catalog.engine.dialect.name == "sqlite" else 1
    async with catalog.reading() as connection:
        assert await connection.scalar(COUNT) == 0
        await add_recording(catalog)
        assert await connection.scalar(COUNT) == seen
