"""Migrations lead to exactly the tables that the code knows, once, and refuse what they do not know."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from keys.database import Database, open_database
from keys.tables import Moment
from vault.catalog.errors import UnknownSchema
from vault.catalog.migrate import Schema, migrate, require_current


@contextlib.asynccontextmanager
async def database_at(url: Callable[[], str]) -> AsyncIterator[Database]:
    database = open_database(await asyncio.to_thread(url))
    try:
        yield database
    finally:
        await database.aclose()


def differences(connection: sa.Connection, schema: Schema) -> list[Any]:
    context = MigrationContext.configure(connection, opts={"compare_type": _types_differ})
    return list(compare_metadata(context, schema.metadata))


def _types_differ(_context: object, _inspected: object, _column: object, found: Any, due: Any) -> bool | None:
    """Our own type is compared by what it is made of."""
    if isinstance(due, Moment):
        return not isinstance(found, sa.DateTime)
    return None


def shape(connection: sa.Connection) -> list[tuple[Any, ...]]:
    """Everything that the engine itself says of its tables, as text; alembic's own table left out."""
    if connection.dialect.name == "sqlite":
        question = "SELECT type, name, tbl_name, sql FROM sqlite_master WHERE tbl_name <> 'alembic_version'"
        return sorted((*row[:3], _words(row[3])) for row in connection.execute(sa.text(question)))
    columns = """
        SELECT table_name, column_name, data_type, character_maximum_length, is_nullable, column_default
        FROM information_schema.columns
        WHERE table_schema = 'public' AND table_name <> 'alembic_version'"""
    indexes = """
        SELECT tablename, indexname, indexdef FROM pg_indexes
        WHERE schemaname = 'public' AND tablename <> 'alembic_version'"""
    constraints = """
        SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
        WHERE connamespace = 'public'::regnamespace AND conrelid::regclass::text <> 'alembic_version'"""
    rows = [
        tuple(row) for each in (columns, indexes, constraints) for row in connection.execute(sa.text(each))
    ]
    return sorted(rows, key=repr)


def _words(sql: str | None) -> str:
    """SQL without differences in quotes, white space and order that mean nothing: constraints are sorted."""
    if sql is None:
        return ""
    bare = sql.replace('"', "").replace("(", " ( ").replace(")", " ) ").replace(",", " ")
    return " ".join(sorted(bare.split()))


@pytest.mark.filterwarnings("ignore:autogenerate skipping")
@pytest.mark.parametrize("schema", Schema, ids=lambda schema: schema.value)
async def test_they_lead_to_the_metadata(fresh_url: Callable[[Schema], str], schema: Schema) -> None:
    async with database_at(lambda: fresh_url(schema)) as database, database.reading() as connection:
        assert await connection.run_sync(differences, schema) == []


@pytest.mark.parametrize("schema", Schema, ids=lambda schema: schema.value)
async def test_the_engine_sees_no_difference_either(
    fresh_url: Callable[[Schema], str], empty_url: Callable[[], str], schema: Schema
) -> None:
    """Partial and descending indexes, which alembic does not compare on SQLite, included."""
    async with database_at(lambda: fresh_url(schema)) as migrated, database_at(empty_url) as made:
        async with made.writing() as connection:
            await connection.run_sync(schema.metadata.create_all)
        async with migrated.reading() as one, made.reading() as other:
            found, due = await one.run_sync(shape), await other.run_sync(shape)
    assert found == due
    assert len(found) >= 2


async def test_a_missing_column_would_be_seen(fresh_url: Callable[[Schema], str]) -> None:
    """The comparison itself can fail."""
    async with database_at(lambda: fresh_url(Schema.SHARES)) as database:
        async with database.writing() as connection:
            await connection.execute(sa.text("ALTER TABLE erasure_shares ADD COLUMN more INTEGER"))
        async with database.reading() as connection:
            assert await connection.run_sync(differences, Schema.SHARES) != []


@pytest.mark.parametrize("schema", Schema, ids=lambda schema: schema.value)
async def test_a_second_run_changes_nothing(fresh_url: Callable[[Schema], str], schema: Schema) -> None:
    async with database_at(lambda: fresh_url(schema)) as database:
        async with database.reading() as connection:
            before = await connection.run_sync(shape)
        await migrate(database, schema)
        await require_current(database, schema)
        async with database.reading() as connection:
            assert await connection.run_sync(shape) == before


async def test_many_starts_at_once_migrate_once(empty_url: Callable[[], str]) -> None:
    url = await asyncio.to_thread(empty_url)
    processes = [open_database(url) for _ in range(5)]
    try:
        await asyncio.gather(*(migrate(each, Schema.CATALOG) for each in processes))
        await require_current(processes[0], Schema.CATALOG)
    finally:
        await asyncio.gather(*(each.aclose() for each in processes))


async def test_an_empty_database_is_not_current(empty_url: Callable[[], str]) -> None:
    async with database_at(empty_url) as database:
        with pytest.raises(UnknownSchema, match="none"):
            await require_current(database, Schema.CATALOG)


async def test_a_newer_schema_is_refused_and_not_touched(fresh_url: Callable[[Schema], str]) -> None:
    async with database_at(lambda: fresh_url(Schema.CATALOG)) as database:
        async with database.writing() as connection:
            await connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
        async with database.reading() as connection:
            before = await connection.run_sync(shape)
        with pytest.raises(UnknownSchema, match="newer release"):
            await migrate(database, Schema.CATALOG)
        with pytest.raises(UnknownSchema, match="9999"):
            await require_current(database, Schema.CATALOG)
        async with database.reading() as connection:
            assert await connection.run_sync(shape) == before
            assert await connection.scalar(sa.text("SELECT version_num FROM alembic_version")) == "9999"
