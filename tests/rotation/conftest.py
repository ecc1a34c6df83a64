"""A room on each database engine in turn."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from keys.database import Database
from tests.catalog.databases import (
    catalog,
    emptied_url,
    empty_url,
    fresh_url,
    kind,
    postgres_templates,
    postgres_worn,
    shares,
    sqlite_templates,
)
from tests.rotation.room import Room

__all__ = [
    "catalog",
    "emptied_url",
    "empty_url",
    "fresh_url",
    "kind",
    "postgres_templates",
    "postgres_worn",
    "shares",
    "sqlite_templates",
]


@pytest.fixture
async def room(catalog: Database, shares: Database, tmp_path: Path) -> AsyncIterator[Room]:
    """Empty."""
    opened = await Room.open(catalog, shares, tmp_path / "audit")
    yield opened
    await opened.aclose()
