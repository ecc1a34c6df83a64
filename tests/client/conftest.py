"""One embedded Replay Vault for each module, and a recording that is published in it."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from keys.service_token import ServiceScope
from tests.client.proxy import Proxy
from tests.media import Media
from tests.world import Engine, World, embedded_settings, open_world
from vault.client import Backoff, Metadata, ReplayVault, Token

# Waits that a test can sit out.
QUICK = Backoff(first_wait_s=0.02, longest_wait_s=0.05, total_wait_s=5.0)
METADATA = Metadata(
    title="Knee, six weeks after surgery",
    clinician="Dr Osei",
    consulted_at=dt.datetime(2026, 3, 1, 9, 30, tzinfo=dt.UTC),
)


async def service_token(world: World, *scopes: ServiceScope) -> Token:
    """A service token, with every scope unless some are named."""
    text = (await world.backend("clinic", *scopes)).token
    assert text is not None
    return Token(text)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """A world for a whole module."""
    async with open_world(Engine.EMBEDDED, embedded_settings(tmp_path_factory.mktemp("house"))) as world:
        yield world


@pytest_asyncio.fixture(loop_scope="module")
async def vault(house: World) -> AsyncIterator[ReplayVault]:
    """A backend."""
    async with ReplayVault(house.url, await service_token(house), backoff=QUICK) as client:
        yield client


@pytest_asyncio.fixture(loop_scope="module")
async def narrow(house: World) -> AsyncIterator[ReplayVault]:
    """A backend that may only store recordings."""
    token = await service_token(house, ServiceScope.INGEST)
    async with ReplayVault(house.url, token, backoff=QUICK) as client:
        yield client


@pytest_asyncio.fixture(loop_scope="module")
async def proxy(house: World) -> AsyncIterator[Proxy]:
    """A proxy in front of the house."""
    async with Proxy.before(house.url) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="module")
async def through(house: World, proxy: Proxy) -> AsyncIterator[ReplayVault]:
    """A backend behind the proxy."""
    async with ReplayVault(proxy.url, await service_token(house), backoff=QUICK) as client:
        yield client


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def published(house: World, media: Media) -> uuid.UUID:
    """A recording of patient p-1."""
    async with ReplayVault(house.url, await service_token(house)) as client:
        stored = await client.store(film(media), patient="p-1", consultation="c-1", metadata=METADATA)
        return (await client.published(stored.id)).id


def film(media: Media) -> Path:
    """A recording that a worker is soon done with."""
    return media.path("audio.webm")
