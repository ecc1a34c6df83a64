"""A database of ours, SQLite or PostgreSQL: engines, transactions, and one error when it does not answer.

Invariants:
- SQLite runs in WAL mode with foreign keys on and synchronous commits; whoever means to write takes the write lock
  at the start, so that no transaction fails half-way for want of it;
- driver errors do not leave: an unreachable database is `DatabaseUnavailable`.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, event, make_url, select
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from keys.errors import DatabaseUnavailable

CONNECT_TIMEOUT_S: Final = 2.0
COMMAND_TIMEOUT_S: Final = 10.0
# Whoever waits to write a table anew keeps everybody else waiting behind it.
_LOCK_TIMEOUT_S: Final = 1.0
_WRITES: Final = "replayvault_writes"


@dataclass(frozen=True, slots=True)
class Database:
    """Short transactions on one engine."""

    engine: AsyncEngine

    @contextlib.asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A connection for questions; raises `DatabaseUnavailable`."""
        async with _translated(), self.engine.connect() as connection:
            yield connection

    @contextlib.asynccontextmanager
    async def snapshot(self) -> AsyncIterator[AsyncConnection]:
        """As `reading`, and all questions see one and the same moment, whatever is committed meanwhile.

        For whoever compares two answers: a recording that is deleted between them must not look misrouted.
        """
        async with _translated(), self._still().connect() as connection:
            yield connection

    def _still(self) -> AsyncEngine:
        # SQLite's transactions are snapshots anyway, and know no other kind.
        if self.engine.dialect.name == "sqlite":
            return self.engine
        return self.engine.execution_options(isolation_level="REPEATABLE READ")

    @contextlib.asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that commits at the end of the block; raises `DatabaseUnavailable`."""
        writer = self.engine.execution_options(**{_WRITES: True})
        async with _translated(), writer.begin() as connection:
            yield connection

    async def ping(self) -> None:
        """Return when the database answers; raises `DatabaseUnavailable`."""
        async with self.reading() as connection:
            await connection.execute(select(1))

    async def scrub(self, table: str) -> None:
        """Drop what the engine still keeps of rows that were deleted from `table`; raises `DatabaseUnavailable`.

        SQLite overwrites what is deleted (`secure_delete`), and its log is cut here. PostgreSQL writes the table anew,
        since reclaimed rows may stay in its file; its own log keeps them until it is recycled, and so do archives and
        backups. Nobody is kept waiting for a table that is being read for long.
        """
        if self.engine.dialect.name == "sqlite":
            async with _translated(), self.engine.connect() as connection:
                raw = await connection.get_raw_connection()  # a log is not cut inside a transaction
                assert raw.driver_connection is not None  # noqa: S101 - it was just opened
                cursor = await raw.driver_connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                is_busy, *_ = await cursor.fetchone()
            if is_busy:
                raise DatabaseUnavailable("the database's log cannot be cut while somebody reads from it")
            return
        alone = self.engine.execution_options(isolation_level="AUTOCOMMIT")
        async with _translated(), alone.connect() as connection:
            await connection.exec_driver_sql(f"SET lock_timeout = '{_LOCK_TIMEOUT_S:.0f}s'")
            try:
                await connection.exec_driver_sql(f'VACUUM FULL "{table}"')
            finally:
                await connection.exec_driver_sql("RESET lock_timeout")

    async def aclose(self) -> None:
        """Close every connection."""
        await self.engine.dispose()


def open_database(url: str) -> Database:
    """An engine for `sqlite+aiosqlite:///…` or `postgresql+asyncpg://…`; connects when first used."""
    if make_url(url).get_backend_name() == "sqlite":
        return Database(_sqlite(url))
    return Database(
        create_async_engine(
            url,
            pool_size=10,
            max_overflow=20,
            pool_timeout=CONNECT_TIMEOUT_S,
            pool_pre_ping=True,
            hide_parameters=True,
            connect_args={"timeout": CONNECT_TIMEOUT_S, "command_timeout": COMMAND_TIMEOUT_S},
        ),
    )


def _sqlite(url: str) -> AsyncEngine:
    engine = create_async_engine(url, hide_parameters=True, connect_args={"timeout": COMMAND_TIMEOUT_S})
    event.listen(engine.sync_engine, "connect", _prepare_sqlite)
    event.listen(engine.sync_engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # the driver must not begin transactions of its own
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "secure_delete=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get(_WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


@contextlib.asynccontextmanager
async def _translated() -> AsyncIterator[None]:
    try:
        yield
    except IntegrityError:
        raise
    except (DBAPIError, PoolTimeout, OSError) as error:
        raise DatabaseUnavailable(f"the database does not answer ({type(error).__name__})") from None
