"""B5 with real dumps: the RDB file of the world's Redis in a Valkey of its own, and a server of the product on that."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from keys.errors import Damaged
from keys.records import open_record
from keys.tier import create_tier_file, load_tier_file
from tests.adversary.conftest import EMBEDDED_ALONE, Scene
from tests.adversary.evidence import assert_constant
from tests.adversary.forging import PREFIX, parsed
from tests.adversary.press import PICTURE, Pressed
from tests.adversary.replica import StreamServer
from tests.adversary.vandal import redis_of
from tests.servers import RestoredValkey, ValkeyServer
from tests.world import App, Client


async def rdb_of(scene: Scene) -> bytes:
    """What a backup of the world's Redis is: its RDB file, written now."""
    async with redis_of(scene.world) as redis:
        await redis.save()
        folder = (await redis.config_get("dir"))["dir"]
        name = (await redis.config_get("dbfilename"))["dbfilename"]
    return await asyncio.to_thread(Path(os.fsdecode(folder), os.fsdecode(name)).read_bytes)


@contextlib.asynccontextmanager
async def running(server: StreamServer | ValkeyServer) -> AsyncIterator[None]:
    """A server for the length of the block."""
    try:
        await asyncio.to_thread(server.start)
        yield
    finally:
        await asyncio.to_thread(server.close)


@contextlib.asynccontextmanager
async def served_from(scene: Scene, valkey: ValkeyServer, **more: str) -> AsyncIterator[str]:
    """The address of the product on the world's catalog and objects, and on another Valkey."""
    async with running(valkey):
        server = await asyncio.to_thread(
            lambda: StreamServer(scene.world, REPLAYVAULT_REDIS_URL=valkey.url, **more)
        )
        async with running(server):
            yield server.url


async def ticket_for(app: App, film: Pressed) -> str:
    asked = {"recording": str(film.recording_id)}
    return str((await app.send("POST", "/v1/tickets", json=asked)).json["ticket"])


@pytest.mark.parametrize("whom", ["session", "patient", "tenant"])
async def test_b5_a_redis_restored_from_before_a_revoke(scene: Scene, whom: str) -> None:
    film = await scene.press.publish(scene.clinic, "patient-a", sizes=PICTURE)
    ticket = await ticket_for(scene.a, film)
    rdb = await rdb_of(scene)
    path = {
        "session": f"/v1/sessions/{scene.a.session_id}",
        "patient": "/v1/sessions?patient=patient-a",
        "tenant": "/v1/sessions?all=true",
    }[whom]
    assert (await scene.clinic.send("DELETE", path)).status == 200
    valkey = await asyncio.to_thread(RestoredValkey, rdb)
    async with served_from(scene, valkey) as url:
        assert_constant(await scene.a.get(f"{url}/v1/recordings"), status=401)
        assert_constant(await scene.a.get(f"{url}{film.url}/poster.jpg"), status=401)
        assert_constant(await scene.world.anyone.get(f"{url}/v1/t/{ticket}/poster.jpg"), status=401)
        other = await scene.b.get(f"{url}/v1/recordings")
        assert other.status == (401 if whom == "tenant" else 200)  # the dump was whole


@EMBEDDED_ALONE
async def test_b5_any_two_of_token_dump_and_tier_secret(scene: Scene, tmp_path: Path) -> None:
    film = await scene.press.publish(scene.clinic, "patient-a", sizes=PICTURE)
    ticket = await ticket_for(scene.a, film)
    rdb = await rdb_of(scene)
    thief = await scene.clinic.sign_in("patient-b")  # after the dump: a token of his own
    other = tmp_path / "other.tier"
    await asyncio.to_thread(create_tier_file, other)

    async def assert_nothing(url: str, holder: Client, with_ticket: str) -> None:
        for path in ("/v1/recordings", film.url, f"{film.url}/poster.jpg"):
            assert_constant(await holder.get(f"{url}{path}"), status=401)
        assert_constant(await scene.world.anyone.get(f"{url}/v1/t/{with_ticket}/poster.jpg"), status=401)

    full = await asyncio.to_thread(RestoredValkey, rdb)
    async with served_from(scene, full) as url:  # all three: what makes the rest of this test worth anything
        assert (await scene.a.get(f"{url}{film.url}/poster.jpg")).body == film.plain("poster.jpg")
        await assert_nothing(url, thief, "rvt_" + "A" * 43)  # dump and tier secret
        await _no_record_opens_by(scene, full, thief)
    without_tier = await asyncio.to_thread(RestoredValkey, rdb)
    async with served_from(scene, without_tier, REPLAYVAULT_TIER_SECRET_FILE=str(other)) as url:
        await assert_nothing(url, scene.a, ticket)
    empty = await asyncio.to_thread(ValkeyServer)
    async with served_from(scene, empty) as url:  # token and tier secret
        await assert_nothing(url, scene.a, ticket)


async def _no_record_opens_by(scene: Scene, valkey: ValkeyServer, thief: App) -> None:
    """Every record of the dump by hand, with the tier secret and the thief's token."""
    tiers = await asyncio.to_thread(load_tier_file, scene.world.settings.tier_file)
    client = Redis.from_url(valkey.url)
    try:
        records = [await client.get(name) async for name in client.scan_iter(PREFIX + b"*")]
    finally:
        await client.aclose()
    assert len(records) == 3
    for record in records:
        with pytest.raises(Damaged):
            open_record(parsed(str(thief.token)), record, tiers)
