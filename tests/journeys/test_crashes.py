"""`kill -9`, an emptied queue, a restart: nothing acknowledged is lost, nothing is published twice, nothing stays.

Real processes on both engines. What a killed process wrote and nobody points at is removed two minutes later; the
tests let a reconciler with a later clock do that.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import functools
import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from sqlalchemy import select, update

from keys.database import open_database
from tests.journeys.processes import House, Role, open_house
from tests.media import Media
from tests.world import Backend, Engine
from vault.catalog.drafts import ABANDONED_AFTER, KEPT
from vault.catalog.tables import jobs, objects
from vault.objects.location import make_store
from vault.queue import WakeUps, open_queue
from vault.redis_client import connect_redis
from vault.work.reconciler import Reconciler
from vault.work.worker import MAX_BEGUN

pytestmark = pytest.mark.slow


@pytest.fixture
async def house(
    engine: Engine, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[House]:
    async with open_house(engine, tmp_path, request) as opened:
        for name, value in opened.foreign.items():
            monkeypatch.setenv(name, value)
        yield opened


async def _reconcile(house: House, *, later: dt.timedelta) -> tuple[set[str], set[str]]:
    """Reconcile with a clock that is ahead; what the store then holds, and what the catalog points at."""
    catalog = await asyncio.to_thread(open_database, house.catalog)
    store = await asyncio.to_thread(make_store, house.urls["objects_url"])
    redis = connect_redis(house.urls["redis_url"])
    try:
        wake_ups = WakeUps(open_queue(redis))
        clock = functools.partial(_clock, later)
        await Reconciler(catalog, store, wake_ups, clock).once()
        stored = {str(info.name.file_id) async for info in store.list()}
        async with catalog.reading() as connection:
            rows = (await connection.execute(select(objects.c.file_id, objects.c.kept))).all()
        assert {row.kept for row in rows} <= {KEPT}
        return stored, {str(row.file_id) for row in rows}
    finally:
        await redis.aclose()
        await store.aclose()
        await catalog.aclose()


def _clock(later: dt.timedelta) -> dt.datetime:
    return dt.datetime.now(tz=dt.UTC) + later


async def _until_in_the_middle(clinic: Backend, recording: str) -> None:
    async with asyncio.timeout(60):
        while not (await clinic.json(f"/v1/recordings/{recording}"))["progress"]:  # noqa: ASYNC110
            await asyncio.sleep(0.1)


def _gone(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state == "Z"


async def _kill_alone(role: Role) -> None:
    """`kill -9` for the one process; whatever it had started must end by itself."""
    family = await asyncio.to_thread(role.processes)
    os.kill(role.pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while (left := [pid for pid in family if not _gone(pid)]) and time.monotonic() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    assert left == []
    await asyncio.to_thread(role.kill)


async def _check_playable(house: House, clinic: Backend, recording: str) -> None:
    stream = await asyncio.to_thread(house.role, "stream")
    ann = await clinic.sign_in("patient-a")
    async with aiohttp.ClientSession(stream.url) as http:
        ann.http = http
        listed = await ann.json("/v1/recordings")
        assert [entry["id"] for entry in listed["recordings"]] == [recording]
        for name in (*listed["recordings"][0]["files"], "master.m3u8", "replay.mp4"):
            assert (await ann.get(f"/v1/recordings/{recording}/{name}")).status == 200


async def test_a_worker_killed_in_mid_transcode_is_replaced(house: House, media: Media) -> None:
    clinic = await house.backend()
    worker = await asyncio.to_thread(house.role, "worker")
    recording = await clinic.send_in("patient-a", media.path("consultation.webm"))
    await _until_in_the_middle(clinic, recording)
    assert len(await asyncio.to_thread(worker.processes)) > 1, "ffmpeg should be running"
    await _kill_alone(worker)
    assert (await clinic.json(f"/v1/recordings/{recording}"))["state"] == "processing"
    await asyncio.to_thread(house.role, "worker")
    status = await clinic.final(recording)
    assert status["state"] == "published"
    assert len(house.audit("recording.publish")) == 1
    stored, pointed_at = await _reconcile(house, later=ABANDONED_AFTER + dt.timedelta(minutes=1))
    assert stored == pointed_at
    await _check_playable(house, clinic, recording)
    await _reconcile(house, later=dt.timedelta(hours=25))
    assert list(house.folder.rglob(".incoming/*")) == []


async def test_a_recording_that_takes_its_workers_down_ends(house: House, media: Media) -> None:
    clinic = await house.backend()
    recording = await clinic.send_in("patient-a", media.path("audio.webm"))
    catalog = await asyncio.to_thread(open_database, house.catalog)
    async with catalog.writing() as connection:
        await connection.execute(update(jobs).values(attempts=MAX_BEGUN))
    await catalog.aclose()
    await asyncio.to_thread(house.role, "worker")
    status = await clinic.final(recording)
    assert (status["state"], status["failure"]) == ("failed", "workers-died")
    retry = await clinic.send("POST", f"/v1/recordings/{recording}/retry")
    assert retry.status in {200, 202}, retry.body
    assert (await clinic.final(recording))["state"] == "published"


async def test_an_emptied_and_restarted_queue_loses_no_recording(house: House, media: Media) -> None:
    clinic = await house.backend()
    before = await clinic.send_in("patient-a", media.path("vp9.webm"))
    await asyncio.to_thread(house.valkey.flush)
    await asyncio.to_thread(house.valkey.kill)
    assert (await clinic.json(f"/v1/recordings/{before}"))["state"] == "queued"
    meanwhile = str((await clinic.announce("patient-b"))["id"])
    answer = await clinic.put(meanwhile, media.path("audio.webm").read_bytes())
    assert answer.status == 202, "without Redis a job waits in the catalog"
    await asyncio.to_thread(house.valkey.start)
    await asyncio.to_thread(house.role, "worker")
    assert {(await clinic.final(each))["state"] for each in (before, meanwhile)} == {"published"}
    await _check_playable(house, clinic, before)


async def test_control_killed_in_mid_upload_can_be_sent_to_again(house: House, media: Media) -> None:
    clinic = await house.backend()
    recording = str((await clinic.announce("patient-a"))["id"])
    body = await asyncio.to_thread(media.path("consultation.mp4").read_bytes)
    half_sent = asyncio.Event()

    async def half() -> AsyncIterator[bytes]:
        for start in range(0, len(body) // 2, 65_536):
            yield body[start : start + 65_536]
        half_sent.set()
        await asyncio.sleep(60)

    sending = asyncio.create_task(clinic.put(recording, half()))
    await asyncio.wait_for(half_sent.wait(), 20)
    await asyncio.sleep(0.5)
    await _kill_alone(house.control)
    with pytest.raises(aiohttp.ClientError):
        await sending
    await asyncio.to_thread(house.control.start)
    status = await clinic.json(f"/v1/recordings/{recording}")
    assert (status["state"], status["source_size_bytes"]) == ("created", None)
    assert (await clinic.put(recording, body)).status == 202
    await asyncio.to_thread(house.role, "worker")
    assert (await clinic.final(recording))["state"] == "published"
    stored, pointed_at = await _reconcile(house, later=ABANDONED_AFTER + dt.timedelta(minutes=1))
    assert stored == pointed_at
    await _check_playable(house, clinic, recording)
