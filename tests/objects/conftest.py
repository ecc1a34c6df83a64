"""Stores to test on: a folder, a bucket, and a bucket behind a proxy that misbehaves on request."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from blockbuster import blockbuster_ctx

from tests.objects.faulty import FaultyProxy
from tests.servers import S3Bucket, S3Server
from vault.objects import s3_carrier
from vault.objects.location import make_store
from vault.objects.store import ObjectStore


@pytest.fixture(autouse=True)
def nothing_blocks_the_loop() -> Iterator[None]:
    """A blocking call of ours on the event loop fails the test."""
    with blockbuster_ctx(["vault", "keys"]):
        yield


@pytest.fixture
def bucket(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Bucket:
    """An empty bucket, its credentials in the environment."""
    bucket = s3_server.create_bucket()
    for name, value in bucket.environment.items():
        monkeypatch.setenv(name, value)
    return bucket


@pytest.fixture
async def folder_store(tmp_path: Path) -> AsyncIterator[ObjectStore]:
    """A store in an empty folder."""
    store = make_store(str(tmp_path / "objects"))
    yield store
    await store.aclose()


@pytest.fixture
async def s3_store(bucket: S3Bucket) -> AsyncIterator[ObjectStore]:
    """A store in an empty bucket, below a prefix."""
    store = make_store(f"s3://{bucket.name}/some/prefix?endpoint={bucket.endpoint}")
    yield store
    await store.aclose()


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest) -> ObjectStore:
    """Each store in turn."""
    chosen: ObjectStore = request.getfixturevalue(f"{request.param}_store")
    return chosen


@pytest.fixture
async def proxy(bucket: S3Bucket, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FaultyProxy]:
    """A proxy in front of the S3 service; retries come at once."""
    monkeypatch.setattr(s3_carrier, "RETRY_PAUSES_S", (0.0, 0.0, 0.0))
    async with FaultyProxy(bucket.endpoint) as proxy:
        yield proxy


@pytest.fixture
async def proxied_store(proxy: FaultyProxy, bucket: S3Bucket) -> AsyncIterator[ObjectStore]:
    """A store that reaches its bucket through the proxy."""
    store = make_store(f"s3://{bucket.name}?endpoint={proxy.endpoint}")
    yield store
    await store.aclose()
