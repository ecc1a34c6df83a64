"""A whole Replay Vault for tests, on real engines, and the people who use it.

    async def test_a_patient_sees_her_recording(world: World) -> None:
        clinic = await world.backend("clinic")                       # a service token of the tenant "clinic"
        recording = await clinic.upload("patient-a", path)           # announce, send, wait until published
        ann = await clinic.sign_in("patient-a")                      # a session, as the patient's app holds it
        page = await ann.json("/v1/recordings")
        assert (await ann.get(f"/v1/recordings/{recording}/master.m3u8")).status == 200

`Engine.EMBEDDED` is SQLite, a folder and a Valkey of its own; `Engine.PRODUCTION` is PostgreSQL, Redis by TCP and an
S3 server. The product runs in the test's own process, so that a test can replace a check (`monkeypatch`) and see that
nothing leaks; everything around it is a real server. `world.audit()` and `world.metric(…)` tell what it noticed.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import enum
import io
import itertools
import json
import uuid
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yarl

from keys.database import open_database
from keys.ids import TenantId
from keys.service_token import ServiceScope, hash_service_token, new_service_token
from tests.servers import PostgresServer, S3Server, ValkeyServer
from vault.app.desk import close_breaker, read_breaker
from vault.app.everything import every_role
from vault.app.serving import Served, build_app, listening
from vault.audit.reading import tail
from vault.catalog import service_tokens
from vault.catalog.service_tokens import ServiceTokenRow
from vault.settings import AllSettings, load

PUBLISH_TIMEOUT_S = 90.0


class Engine(enum.Enum):
    """What the world stands on."""

    EMBEDDED = "embedded"
    PRODUCTION = "production"


@dataclass(frozen=True, slots=True)
class Servers:
    """Real servers for `Engine.PRODUCTION`."""

    valkey: ValkeyServer
    postgres: PostgresServer
    s3: S3Server


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer, read to its end."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


@dataclass(slots=True)
class Client:
    """Someone who sends requests with one bearer token, or none."""

    http: aiohttp.ClientSession
    token: str | None = None

    async def send(self, method: str, path: str, **options: Any) -> Answer:
        """Any request; the path is sent as it is written."""
        headers = dict(options.pop("headers", {}))
        if self.token is not None:
            headers.setdefault("Authorization", f"Bearer {self.token}")
        url = yarl.URL(path, encoded=True)
        async with self.http.request(method, url, headers=headers, **options) as response:
            return Answer(response.status, response.headers.copy(), await response.read())

    async def get(self, path: str, **headers: str) -> Answer:
        """GET; header names are written with underscores (`If_Range`)."""
        return await self.send(
            "GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()}
        )

    async def json(self, path: str) -> Any:
        """GET of a JSON document that must be there."""
        answer = await self.get(path)
        assert answer.status == 200, answer.body
        return answer.json


@dataclass(slots=True)
class App(Client):
    """A patient's app with a session."""

    session_id: str = ""


@dataclass(slots=True)
class Backend(Client):
    """A tenant's backend with a service token."""

    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    async def announce(self, patient: str, **metadata: Any) -> dict[str, Any]:
        """Announce a recording of a consultation of its own."""
        body = {
            "patient": patient,
            "consultation": f"consultation-{patient}-{next(self._numbers)}-{uuid.uuid4().hex[:8]}",
            "metadata": {"title": "A consultation", **metadata},
        }
        answer = await self.send("POST", "/v1/recordings", json=body)
        assert answer.status == 201, answer.body
        return dict(answer.json)

    async def put(self, recording: str, data: Any, *, content_type: str = "video/webm") -> Answer:
        """Send a source."""
        headers = {"Content-Type": content_type}
        if isinstance(data, bytes):
            data = io.BytesIO(data)  # aiohttp warns of a long body in one piece
        return await self.send("PUT", f"/v1/recordings/{recording}/source", data=data, headers=headers)

    async def send_in(self, patient: str, source: Path | bytes, **metadata: Any) -> str:
        """Announce and send; the recording's id, its transcode owed."""
        recording = str((await self.announce(patient, **metadata))["id"])
        data = source if isinstance(source, bytes) else await asyncio.to_thread(source.read_bytes)
        answer = await self.put(recording, data)
        assert answer.status == 202, answer.body
        return recording

    async def final(self, recording: str) -> dict[str, Any]:
        """The status once it is published or failed."""
        async with asyncio.timeout(PUBLISH_TIMEOUT_S):
            while True:
                status = await self.json(f"/v1/recordings/{recording}")
                if status["state"] in {"published", "failed"}:
                    return dict(status)
                await asyncio.sleep(0.1)

    async def upload(self, patient: str, source: Path | bytes, **metadata: Any) -> str:
        """Announce, send, and wait until it is published."""
        recording = await self.send_in(patient, source, **metadata)
        status = await self.final(recording)
        assert status["state"] == "published", status
        return recording

    async def sign_in(self, patient: str, **options: Any) -> App:
        """A session of a patient."""
        answer = await self.send("POST", "/v1/sessions", json={"patient": patient, **options})
        assert answer.status == 201, answer.body
        return App(self.http, answer.json["token"], answer.json["id"])


async def hire(catalog: str, http: aiohttp.ClientSession, tenant: str, *scopes: ServiceScope) -> Backend:
    """A backend of a tenant in the catalog at a database URL, with every scope unless some are named."""
    token = new_service_token()
    row = ServiceTokenRow(
        token_id=uuid.uuid4(),
        tenant=TenantId(tenant),
        name="test",
        scopes=frozenset(scopes or ServiceScope),
        created_at=dt.datetime.now(tz=dt.UTC),
        expires_at=None,
        revoked_at=None,
    )
    database = await asyncio.to_thread(open_database, catalog)
    async with database.writing() as connection:
        await service_tokens.add(connection, row, hash_service_token(token))
    await database.aclose()
    return Backend(http, token)


@dataclass(slots=True)
class World:
    """A running Replay Vault."""

    engine: Engine
    settings: AllSettings
    served: Served
    url: str
    http: aiohttp.ClientSession

    @property
    def anyone(self) -> Client:
        """Someone without a credential."""
        return Client(self.http)

    async def backend(self, tenant: str = "clinic", *scopes: ServiceScope) -> Backend:
        """A backend of a tenant, with every scope unless some are named."""
        return await hire(self.settings.catalog, self.http, tenant, *scopes)

    async def close_breaker(self) -> None:
        """What an operator does once the reason of an alarm is known: `replayvault breaker close`."""
        record = await read_breaker(self.settings)
        if record is not None and record.is_open:
            await close_breaker(self.settings, record.opening, reason="a test knows why", warn=pytest.fail)

    def audit(self) -> list[dict[str, Any]]:
        """Every audit entry so far, each chain checked."""
        return tail(self.settings.audit_folder, limit=1_000_000)

    def metric(self, name: str) -> float:
        """The sum of a metric's samples over its labels."""
        return sum(
            sample.value
            for family in self.served.metrics.registry.collect()
            for sample in family.samples
            if sample.name == name
        )


def production_settings(servers: Servers, folder: Path) -> dict[str, Any]:
    """Settings for fresh databases, an empty Redis and a fresh bucket. Blocks: call it from a fixture."""
    servers.valkey.flush()
    return {
        "data_dir": folder,
        "catalog_url": servers.postgres.create_database(),
        "shares_url": servers.postgres.create_database(),
        "redis_url": servers.valkey.tcp_url,
        "objects_url": servers.s3.create_bucket().url,
    }


def embedded_settings(folder: Path) -> dict[str, Any]:
    """Settings of the default: everything in one folder."""
    return {"data_dir": folder}


@contextlib.asynccontextmanager
async def open_world(engine: Engine, given: Mapping[str, Any]) -> AsyncIterator[World]:
    """Run a world for the length of the block. For S3 the environment must hold credentials."""
    settings = load(AllSettings, {}, **given)
    async with (
        every_role(settings) as served,
        listening(build_app(served, settings), host="127.0.0.1", port=0) as url,
        aiohttp.ClientSession(url, auto_decompress=False) as http,
    ):
        yield World(engine, settings, served, url, http)
