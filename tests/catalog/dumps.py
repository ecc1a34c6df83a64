"""Dumps of a database, and restoring them: what a backup holds, on either engine."""

from __future__ import annotations

from typing import Any

from sqlalchemy import MetaData, delete, insert, select

from keys.database import Database

Dump = dict[str, list[dict[str, Any]]]


async def dump(database: Database, metadata: MetaData) -> Dump:
    """Every row of every table, in the order of primary keys."""
    async with database.snapshot() as connection:
        return {
            table.name: [
                dict(row)
                for row in (await connection.execute(select(table).order_by(*table.primary_key))).mappings()
            ]
            for table in metadata.sorted_tables
        }


async def restore(database: Database, metadata: MetaData, dumped: Dump) -> None:
    """Put every row back, and nothing else."""
    async with database.writing() as connection:
        for table in reversed(metadata.sorted_tables):
            await connection.execute(delete(table))
        for table in metadata.sorted_tables:
            if dumped[table.name]:
                await connection.execute(insert(table), dumped[table.name])
