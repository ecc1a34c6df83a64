"""Databases as operators' commands reach them, without any service running.

Invariant: a command that looks never makes what it looks for: SQLite would create a missing database.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from keys.database import Database, open_database
from vault.catalog.migrate import Schema, require_current
from vault.settings import CommonSettings, SettingsError


def sqlite_file(url: str) -> Path | None:
    """The file of an SQLite database, None for a server's; raises `SettingsError`."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise SettingsError(
            "a database is given as postgresql+asyncpg://… or sqlite+aiosqlite:///…"
        ) from None
    if parsed.get_backend_name() != "sqlite" or not parsed.database:
        return None
    return Path(parsed.database)


def database_name(url: str) -> str:
    """What a database is called, without where it stands and who may open it; raises `SettingsError`."""
    file = sqlite_file(url)
    return (make_url(url).database or "") if file is None else file.name


@contextlib.asynccontextmanager
async def opened_catalog(settings: CommonSettings) -> AsyncIterator[Database]:
    """The catalog; raises as `opened` does."""
    async with opened(settings.catalog, Schema.CATALOG) as database:
        yield database


@contextlib.asynccontextmanager
async def opened(url: str, schema: Schema) -> AsyncIterator[Database]:
    """A database of this release's schema; raises `SettingsError`, `UnknownSchema` or `DatabaseUnavailable`."""
    file = sqlite_file(url)
    if file is not None and not await asyncio.to_thread(file.exists):
        raise SettingsError(
            f"there is no {schema.value} database at {file}: start `replayvault serve` once, which makes it, or say "
            f"where it is (--data-dir, REPLAYVAULT_DATA_DIR or REPLAYVAULT_{schema.name}_URL)"
        )
    database = open_database(url)
    try:
        await require_current(database, schema)
        yield database
    finally:
        await database.aclose()
