"""Worlds that a module's tests share: for tests that only add recordings and read."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.servers import PostgresServer, S3Server, ValkeyServer
from tests.world import Engine, Servers, World, embedded_settings, open_world, production_settings


@pytest_asyncio.fixture(
    scope="module", loop_scope="module", params=list(Engine), ids=lambda engine: str(engine.value)
)
async def each_world(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    """One world on each engine in turn for the whole module."""
    engine: Engine = request.param
    folder: Path = tmp_path_factory.mktemp("world")
    if engine is Engine.EMBEDDED:
        async with open_world(engine, embedded_settings(folder)) as opened:
            yield opened
        return
    postgres: PostgresServer = request.getfixturevalue("postgres_server")
    valkey: ValkeyServer = request.getfixturevalue("valkey_server")
    s3: S3Server = request.getfixturevalue("s3_server")
    with pytest.MonkeyPatch.context() as environment:
        for name, value in s3.create_bucket().environment.items():
            environment.setenv(name, value)
        async with open_world(engine, production_settings(Servers(valkey, postgres, s3), folder)) as opened:
            yield opened
