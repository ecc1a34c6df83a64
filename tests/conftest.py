"""What every test can ask for: a real server of each kind for each worker, and real media."""

from __future__ import annotations

import ipaddress
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from blockbuster import blockbuster_ctx

from tests.media import Media
from tests.servers import BaoServer, PostgresServer, S3Server, ValkeyServer
from tests.world import Engine, Servers, World, embedded_settings, open_world, production_settings


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
def bao() -> Iterator[BaoServer]:
    """One OpenBao for this worker; take a key of one's own by `transit_key(name)`, and leave it unsealed."""
    with BaoServer() as server:
        yield server


@pytest.fixture(scope="session")
def media() -> Media:
    """Real recordings by name: `media.path("vp8.webm")`; see `CATALOGUE` in tests/media."""
    return Media()


@pytest.fixture(params=list(Engine), ids=lambda engine: engine.value)
def engine(request: pytest.FixtureRequest) -> Engine:
    """Each engine in turn: a test that asks for a world runs on both."""
    found: Engine = request.param
    return found


@pytest.fixture
def world_settings(
    engine: Engine, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Any]:
    """Settings of a fresh world on real servers."""
    if engine is Engine.EMBEDDED:
        return embedded_settings(tmp_path)
    servers = Servers(
        valkey=request.getfixturevalue("valkey_server"),
        postgres=request.getfixturevalue("postgres_server"),
        s3=request.getfixturevalue("s3_server"),
    )
    for name, value in servers.s3.create_bucket().environment.items():
        monkeypatch.setenv(name, value)
    return production_settings(servers, tmp_path)


@pytest.fixture
async def world(engine: Engine, world_settings: dict[str, Any]) -> AsyncIterator[World]:
    """A running Replay Vault; see `tests.world`. Once it runs, a blocking call on the loop fails the test."""
    async with open_world(engine, world_settings) as opened:
        with blockbuster_ctx(["vault", "keys", "transcoder"]) as watch:
            for function in watch.functions.values():
                # asyncpg looks for a service file at each new connection: one stat, not ours to change.
                function.can_block_in("asyncpg/connect_utils.py", {"_parse_connect_dsn_and_args"})
            yield opened


def _refuse_the_outside(event: str, arguments: tuple[Any, ...]) -> None:
    """Tests talk to this machine alone: any other address is a mistake, and fails at once."""
    if event != "socket.connect" or not isinstance(arguments[1], tuple):
        return
    host = arguments[1][0]
    if host != "localhost" and not ipaddress.ip_address(host).is_loopback:
        raise RuntimeError("a test tried to reach an address outside this machine")


sys.addaudithook(_refuse_the_outside)
