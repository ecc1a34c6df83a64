"""What every test can ask for: a real server of each kind for each worker, and real media."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.media import Media
from tests.servers import PostgresServer, S3Server, ValkeyServer


@pytest.fixture(scope="session")
def valkey_server() -> Iterator[ValkeyServer]:
    """One Valkey for this worker; call `flush()` first where a test needs an empty one."""
    with ValkeyServer() as server:
        yield server


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """One PostgreSQL cluster for this worker; take a database of one's own by `create_database()`."""
    with PostgresServer() as server:
        yield server


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """One S3 service for this worker; take a bucket of one's own by `create_bucket()`."""
    with S3Server() as server:
        yield server


@pytest.fixture(scope="session")
def media() -> Media:
    """Real recordings by name: `media.path("vp8.webm")`; see `CATALOGUE` in tests/media."""
    return Media()
