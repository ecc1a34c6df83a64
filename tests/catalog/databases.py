"""Fixtures for tests that need a database: `catalog` and `shares` are fresh, migrated, and of each engine in turn.

A schema is migrated once for each engine and worker; each test works on a copy of it.
"""

from __future__ import annotations

import asyncio
import enum
import itertools
import shutil
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import delete

from keys.database import Database, open_database
from tests.servers import PostgresServer
from vault.catalog.migrate import Schema, migrate


class Kind(enum.Enum):
    """A database engine."""

    SQLITE = "sqlite"
    POSTGRESQL = "postgresql"


def sqlite_url(path: Path) -> str:
    return f"sqlite+aiosqlite:///{path}"


def migrated(url: str, schema: Schema) -> None:
    """Migrate a database from outside any event loop."""

    async def run() -> None:
        database = open_database(url)
        await migrate(database, schema)
        await database.aclose()

    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, run()).result()


@pytest.fixture(scope="session")
def sqlite_templates(tmp_path_factory: pytest.TempPathFactory) -> dict[Schema, Path]:
    folder = tmp_path_factory.mktemp("templates")
    for schema in Schema:
        migrated(sqlite_url(folder / schema.value), schema)
    return {schema: folder / schema.value for schema in Schema}


@pytest.fixture(scope="session")
def postgres_templates(postgres_server: PostgresServer) -> dict[Schema, str]:
    urls = {schema: postgres_server.create_database() for schema in Schema}
    for schema, url in urls.items():
        migrated(url, schema)
    return urls


@pytest.fixture(scope="session")
def postgres_worn(
    postgres_server: PostgresServer, postgres_templates: dict[Schema, str]
) -> dict[Schema, str]:
    return {schema: postgres_server.create_database(like=url) for schema, url in postgres_templates.items()}


@pytest.fixture(params=list(Kind), ids=lambda kind: kind.value)
def kind(request: pytest.FixtureRequest) -> Kind:
    """Each engine in turn."""
    found: Kind = request.param
    return found


@pytest.fixture
def empty_url(kind: Kind, tmp_path: Path, request: pytest.FixtureRequest) -> Callable[[], str]:
    """Makes databases without any table; returns their URL."""
    numbers = itertools.count()
    if kind is Kind.SQLITE:
        return lambda: sqlite_url(tmp_path / f"empty-{next(numbers)}.sqlite3")
    server: PostgresServer = request.getfixturevalue("postgres_server")
    return server.create_database


@pytest.fixture
def fresh_url(kind: Kind, tmp_path: Path, request: pytest.FixtureRequest) -> Callable[[Schema], str]:
    """Makes migrated databases; returns their URL."""
    numbers = itertools.count()
    if kind is Kind.POSTGRESQL:
        server: PostgresServer = request.getfixturevalue("postgres_server")
        urls: dict[Schema, str] = request.getfixturevalue("postgres_templates")
        return lambda schema: server.create_database(like=urls[schema])
    files: dict[Schema, Path] = request.getfixturevalue("sqlite_templates")

    def copy(schema: Schema) -> str:
        path = tmp_path / f"{schema.value}-{next(numbers)}.sqlite3"
        shutil.copyfile(files[schema], path)
        return sqlite_url(path)

    return copy


@pytest.fixture
def emptied_url(kind: Kind, request: pytest.FixtureRequest) -> Callable[[Schema], str]:
    """Names a migrated database of this worker, which `emptied` has yet to empty: cheaper than a fresh one."""
    if kind is Kind.POSTGRESQL:
        urls: dict[Schema, str] = request.getfixturevalue("postgres_worn")
        return urls.__getitem__
    fresh: Callable[[Schema], str] = request.getfixturevalue("fresh_url")
    return fresh


async def emptied(url: str, schema: Schema) -> Database:
    """Open a database and delete every row."""
    database = open_database(url)
    async with database.writing() as connection:
        for table in reversed(schema.metadata.sorted_tables):
            await connection.execute(delete(table))
    return database


@pytest.fixture
async def catalog(emptied_url: Callable[[Schema], str]) -> AsyncIterator[Database]:
    """An empty catalog."""
    database = await emptied(await asyncio.to_thread(emptied_url, Schema.CATALOG), Schema.CATALOG)
    yield database
    await database.aclose()


@pytest.fixture
async def shares(emptied_url: Callable[[Schema], str]) -> AsyncIterator[Database]:
    """An empty share store's database."""
    database = await emptied(await asyncio.to_thread(emptied_url, Schema.SHARES), Schema.SHARES)
    yield database
    await database.aclose()
