"""Bring a database to the schema of this release, or refuse to work on one that it does not know.

Invariants: of several processes that start at once on PostgreSQL one migrates and the others wait; a schema newer
than this release is refused, never touched.
"""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Final

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from keys.database import Database
from keys.tables import catalog_metadata, shares_metadata
from vault.catalog import tables
from vault.catalog.errors import UnknownSchema

_FOLDER: Final = Path(__file__).parent / "migrations"
# Any number will do, as long as every release uses the same.
_MIGRATION_LOCK: Final = 0x5245504C4159


class Schema(enum.Enum):
    """The two databases; the value is the folder of its revisions."""

    CATALOG = "catalog"
    SHARES = "shares"

    @property
    def metadata(self) -> sa.MetaData:
        """The tables of this schema."""
        assert tables.recordings.metadata is catalog_metadata  # noqa: S101 - importing it filled the metadata
        return catalog_metadata if self is Schema.CATALOG else shares_metadata


async def migrate(database: Database, schema: Schema) -> None:
    """Run the missing revisions; raises `UnknownSchema` or `keys.errors.DatabaseUnavailable`."""
    async with database.writing() as connection:
        if connection.dialect.name == "postgresql":
            await connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
        await connection.run_sync(_upgrade, schema)


async def require_current(database: Database, schema: Schema) -> None:
    """Returns when the schema is this release's; raises `UnknownSchema` or `DatabaseUnavailable`."""
    async with database.reading() as connection:
        current = await connection.run_sync(_revision)
    newest = _scripts(schema).get_current_head()
    if current != newest:
        raise UnknownSchema(
            f"the {schema.value} database has schema {current or 'none'} and this release needs {newest}; "
            "start the control role of this release first, it migrates",
        )


def configuration(schema: Schema) -> Config:
    """Alembic's configuration for one schema."""
    config = Config()
    config.set_main_option("script_location", str(_FOLDER / schema.value))
    config.attributes["metadata"] = schema.metadata
    return config


def _upgrade(connection: sa.Connection, schema: Schema) -> None:
    current, scripts = _revision(connection), _scripts(schema)
    known = {script.revision for script in scripts.walk_revisions()}
    if current is not None and current not in known:
        raise UnknownSchema(
            f"the {schema.value} database was written by a newer release (schema {current}); install that release",
        )
    config = configuration(schema)
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _revision(connection: sa.Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _scripts(schema: Schema) -> ScriptDirectory:
    return ScriptDirectory.from_config(configuration(schema))
