"""Where a benchmark runs: a data folder that goes away, recordings of chosen sizes in it, and `replayvault serve`.

Invariants: loopback only; what is started is stopped and what is written is removed, also after a failure.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import tempfile
import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp

from bench.recordings import BulkMaker
from keys.database import open_database
from keys.handover import load_worker_key
from keys.ids import RecordingId, TenantId
from keys.service_token import ServiceScope, hash_service_token, new_service_token
from transcoder.binaries import find_tools
from transcoder.sandbox import Sandbox
from vault.app.control import control_role
from vault.app.ground import lay_ground, utc_now
from vault.app.serving import build_app, listening
from vault.catalog import service_tokens
from vault.catalog.service_tokens import ServiceTokenRow
from vault.embedded import embedded_valkey
from vault.settings import AllSettings, load
from vault.work.worker import Worker

_PATIENT: Final = "bench"
_START_TIMEOUT_S: Final = 30.0
_STOP_TIMEOUT_S: Final = 20.0


@dataclass(frozen=True, slots=True)
class Serving:
    """A `serve` process, a session, and the recordings, in the order of the sizes asked for."""

    pid: int
    url: str
    token: str
    recordings: tuple[str, ...]


@contextlib.asynccontextmanager
async def serving(sizes_bytes: Sequence[int]) -> AsyncIterator[Serving]:
    """Prepare the recordings and serve them for the length of the block."""
    # Short: a unix socket's path holds 107 bytes.
    with tempfile.TemporaryDirectory(prefix="rv-bench-") as folder:
        settings = load(AllSettings, {}, data_dir=Path(folder))
        token, recordings = await _prepare(settings, sizes_bytes)
        async with _served(settings) as (pid, url):
            yield Serving(pid, url, await _sign_in(url, token), recordings)


async def _prepare(settings: AllSettings, sizes_bytes: Sequence[int]) -> tuple[str, tuple[str, ...]]:
    async with (
        embedded_valkey(settings.data_dir / "valkey"),
        control_role(settings) as served,
        listening(build_app(served, settings), host="127.0.0.1", port=0) as url,
    ):
        token = await _hire(settings)
        made = [await _publish(settings, url, token, size) for size in sizes_bytes]
    return token, tuple(made)


async def _hire(settings: AllSettings) -> str:
    token = new_service_token()
    row = ServiceTokenRow(
        token_id=uuid.uuid4(),
        tenant=TenantId("bench"),
        name="bench",
        scopes=frozenset(ServiceScope),
        created_at=utc_now(),
        expires_at=None,
        revoked_at=None,
    )
    database = open_database(settings.catalog)
    async with database.writing() as connection:
        await service_tokens.add(connection, row, hash_service_token(token))
    await database.aclose()
    return token


async def _publish(settings: AllSettings, url: str, token: str, size_bytes: int) -> str:
    """Announce a recording, send a byte, and do the job as a worker would."""
    named = {
        "patient": _PATIENT,
        "consultation": uuid.uuid4().hex,
        "metadata": {"title": f"{size_bytes} bytes"},
    }
    async with aiohttp.ClientSession(url, headers={"Authorization": f"Bearer {token}"}) as http:
        recording = str((await _json(http, "POST", "/v1/recordings", json=named))["id"])
        source = f"/v1/recordings/{recording}/source"
        await _json(http, "PUT", source, data=b"0", headers={"Content-Type": "video/webm"})
        async with lay_ground(settings, role="worker") as ground:
            worker = Worker(
                catalog=ground.catalog,
                store=ground.store,
                key=load_worker_key(settings.worker_file),
                maker=BulkMaker(ground.store, find_tools(), Sandbox(), utc_now, size_bytes),
                alarm=ground.alarm,
                clock=utc_now,
            )
            await worker.transcode(RecordingId(uuid.UUID(recording)))
        status = await _json(http, "GET", f"/v1/recordings/{recording}")
    if status["state"] != "published":
        raise RuntimeError(f"the recording was not published: {status['failure']}")
    return recording


@contextlib.asynccontextmanager
async def _served(settings: AllSettings) -> AsyncIterator[tuple[int, str]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name("replayvault")),
        *("serve", "--port", str(port), "--data-dir", str(settings.data_dir)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        env={"PATH": os.environ.get("PATH", os.defpath), "HOME": str(settings.data_dir), "LC_ALL": "C.UTF-8"},
    )
    url = f"http://127.0.0.1:{port}"
    try:
        await _ready(url)
        yield process.pid, url
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), _STOP_TIMEOUT_S)
        except TimeoutError:
            process.kill()
            await process.wait()


async def _ready(url: str) -> None:
    async with asyncio.timeout(_START_TIMEOUT_S), aiohttp.ClientSession() as http:
        while True:
            with contextlib.suppress(aiohttp.ClientError):
                async with http.get(f"{url}/readyz") as answer:
                    if answer.status == 200:
                        return
            await asyncio.sleep(0.1)


async def _sign_in(url: str, token: str) -> str:
    async with aiohttp.ClientSession(url, headers={"Authorization": f"Bearer {token}"}) as http:
        return str((await _json(http, "POST", "/v1/sessions", json={"patient": _PATIENT}))["token"])


async def _json(http: aiohttp.ClientSession, method: str, path: str, **options: Any) -> Any:
    async with http.request(method, path, **options) as answer:
        answer.raise_for_status()
        return await answer.json()
