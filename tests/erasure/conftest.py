"""Databases of each engine in turn, and a room and an office on them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from keys.database import Database
from tests.catalog.databases import (
    catalog,
    emptied_url,
    fresh_url,
    kind,
    postgres_templates,
    postgres_worn,
    shares,
    sqlite_templates,
)
from tests.erasure.office import Office
from tests.rotation.room import Room
from tests.servers import ValkeyServer
from vault.app.ground import utc_now
from vault.objects.folder import FolderStore
from vault.redis_client import connect_redis
from vault.sessions.records import RecordStore

__all__ = [
    "catalog",
    "emptied_url",
    "fresh_url",
    "kind",
    "postgres_templates",
    "postgres_worn",
    "shares",
    "sqlite_templates",
]


@pytest.fixture
async def room(catalog: Database, shares: Database, tmp_path: Path) -> AsyncIterator[Room]:
    made = await Room.open(catalog, shares, tmp_path / "audit")
    made.at = utc_now()
    yield made
    await made.audit.aclose()


@pytest.fixture
async def office(room: Room, valkey_server: ValkeyServer, tmp_path: Path) -> AsyncIterator[Office]:
    redis = connect_redis(valkey_server.url)
    yield Office(room.strongroom, FolderStore(tmp_path / "objects"), RecordStore(redis), room.audit)
    await redis.aclose()
