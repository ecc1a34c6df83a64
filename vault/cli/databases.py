"""The catalog as operators' commands reach it, without any service running.

Invariant: a command that looks never makes what it looks for: SQLite would create a missing database.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from keys.database import Database, open_database
from vault.catalog.migrate import Schema, require_current
from vault.settings import AllSettings, SettingsError


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
async def opened_catalog(settings: AllSettings) -> AsyncIterator[Database]:
    """The catalog, of this release's schema; raises `SettingsError`, `UnknownSchema` or `DatabaseUnavailable`."""
    file = sqlite_file(settings.catalog)
    if file is not None and not file.exists():
        raise SettingsError(
            f"there is no catalog at {file}: start `replayvault serve` once, which makes it, or say where it is "
            "(--data-dir, REPLAYVAULT_DATA_DIR or REPLAYVAULT_CATALOG_URL)"
        )
    database = open_database(settings.catalog)
    try:
        await require_current(database, Schema.CATALOG)
        yield database
    finally:
        await database.aclose()
