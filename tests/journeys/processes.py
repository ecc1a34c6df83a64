"""The product as its users run it: `replayvault serve` and `replayvault worker`, real processes on real engines.

    async with open_house(engine, folder, request) as house:
        clinic, worker = await house.backend(), house.role("worker")

A `Role` is a `ChildServer`: it can be killed, and started again on the same data and port. Each role has a data
folder of its own and is told only what it may know, as on separate machines.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import os
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.servers import ChildServer, PostgresServer, S3Server, ValkeyServer
from tests.servers.child import _descendants
from tests.world import Backend, Engine, hire
from vault.audit.reading import tail

_PROGRAM = str(Path(sys.executable).with_name("replayvault"))
_PREFIX = "REPLAYVAULT_"
_STOP_TIMEOUT_S = 20.0


class Role(ChildServer):
    """One process of the product. `settings` are those of its environment, without the prefix."""

    name = "role"

    def __init__(
        self,
        role: str,
        *,
        settings: Mapping[str, str],
        foreign: Mapping[str, str],
        before: tuple[str, ...] = (),
    ) -> None:
        """`before` is a program that runs ours, such as strace; `foreign` is environment that isn't ours."""
        self.name = role
        super().__init__()
        self._role = role
        self._settings = settings
        self._foreign = foreign
        self._before = before

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """Only what this role may know."""
        ours = {_PREFIX + name.upper(): value for name, value in self._settings.items()}
        return super().environment | dict(self._foreign) | ours

    def processes(self) -> list[int]:
        """This process and every one below it."""
        return list(_descendants(self.pid))

    def stop(self) -> None:
        """As every server; a program that runs ours ends with ours."""
        if self._before and self._process is not None:
            for pid in self.processes()[1:2]:
                os.kill(pid, self.stop_signal)
            self._process.wait(_STOP_TIMEOUT_S)
        super().stop()

    def _command(self) -> list[str]:
        if self._role == "worker":
            return [*self._before, _PROGRAM, "worker"]
        return [*self._before, _PROGRAM, "serve", "--role", self._role, "--port", str(self.port)]

    def _ready(self) -> bool:
        if self._role == "worker":
            return True
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=1)
        try:
            connection.request("GET", "/healthz")
            return connection.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


@dataclass(slots=True)
class House:
    """Engines, a folder, control, and whatever else is started on them."""

    folder: Path
    urls: Mapping[str, str]
    foreign: Mapping[str, str]
    valkey: ValkeyServer
    control: Role
    http: aiohttp.ClientSession
    roles: list[Role] = field(default_factory=list)

    @property
    def catalog(self) -> str:
        """Database URL of the catalog."""
        return self.urls["catalog_url"]

    def role(self, name: str, *, before: tuple[str, ...] = ()) -> Role:
        """Start a `worker` or `stream`."""
        keys = {"worker": ("worker_key_file", "worker.key"), "stream": ("tier_secret_file", "tier.secret")}
        setting, file = keys[name]
        own = {"data_dir": str(self.folder / f"{name}-{len(self.roles)}")}
        own[setting] = str(self.folder / "control" / file)
        started = Role(name, settings={**self.urls, **own}, foreign=self.foreign, before=before)
        self.roles.append(started)
        started.start()
        return started

    async def backend(self) -> Backend:
        """A backend that speaks to control."""
        return await hire(self.catalog, self.http, "clinic")

    def audit(self, action: str) -> list[dict[str, Any]]:
        """What every role wrote of an action, each chain checked."""
        folders = sorted(self.folder.glob("*/audit"))
        return [
            entry for each in folders for entry in tail(each, limit=1_000_000) if entry["action"] == action
        ]


@contextlib.asynccontextmanager
async def open_house(
    engine: Engine,
    folder: Path,
    request: pytest.FixtureRequest,
    *,
    before: tuple[str, ...] = (),
) -> AsyncIterator[House]:
    """A house with control running, on a queue of its own; `before` runs control (see `Role`)."""
    with contextlib.ExitStack() as stack:
        valkey = stack.enter_context(ValkeyServer())
        urls, foreign = _engines(engine, folder, request)
        urls["redis_url"] = valkey.url
        own = {"data_dir": str(folder / "control")}
        if engine is Engine.PRODUCTION:
            own["shares_url"] = urls.pop("shares_url")
        control = Role("control", settings={**urls, **own}, foreign=foreign, before=before)
        async with aiohttp.ClientSession(control.url) as http:
            house = House(folder, urls, foreign, valkey, control, http, [control])
            try:
                await asyncio.to_thread(control.start)
                yield house
            finally:
                for role in reversed(house.roles):
                    await asyncio.to_thread(role.close)


def _engines(
    engine: Engine, folder: Path, request: pytest.FixtureRequest
) -> tuple[dict[str, str], Mapping[str, str]]:
    if engine is Engine.EMBEDDED:
        control = folder / "control"
        return {
            "catalog_url": f"sqlite+aiosqlite:///{control / 'catalog.sqlite'}",
            "objects_url": str(control / "objects"),
        }, {}
    postgres: PostgresServer = request.getfixturevalue("postgres_server")
    s3: S3Server = request.getfixturevalue("s3_server")
    bucket = s3.create_bucket()
    databases = {"catalog_url": postgres.create_database(), "shares_url": postgres.create_database()}
    return databases | {"objects_url": bucket.url}, bucket.environment
