"""B5: any two of token, Redis dump and tier secret open nothing; nor does a Redis restored from before a revoke."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from keys.errors import Damaged, NoSuchKey
from keys.ids import PatientRef, TenantId
from keys.records import TIER_ID_BYTES, open_record, tier_id
from keys.secret import TierSecret
from keys.tier import create_tier_file, load_tier_file
from tests.adversary.conftest import Scene
from tests.adversary.evidence import assert_constant
from tests.adversary.forging import PREFIX, parsed, sealed_of
from tests.adversary.press import PICTURE
from tests.adversary.replica import StreamServer
from tests.adversary.vandal import Dump, redis_of
from tests.world import Client
from vault.catalog import recordings

A, B = "Alderwick-71c0e2", "Bramblehurst-5d9f3a"


async def test_b5_token_and_dump_without_the_tier_secret(scene: Scene, tmp_path: Path) -> None:
    """Another deployment's servers on the stolen Redis, and the record taken apart by hand."""
    token, record = parsed(str(scene.a.token)), await sealed_of(scene, str(scene.a.token))
    theirs = TierSecret.generate()
    with pytest.raises(NoSuchKey):
        open_record(token, record, [theirs])
    renamed = record[:1] + tier_id(theirs) + record[1 + TIER_ID_BYTES :]
    with pytest.raises(Damaged):
        open_record(token, renamed, [theirs])
    other = tmp_path / "other.tier"
    await asyncio.to_thread(create_tier_file, other)
    server = StreamServer(scene.world, REPLAYVAULT_TIER_SECRET_FILE=str(other))
    try:
        await asyncio.to_thread(server.start)
        assert_constant(await scene.a.send("GET", f"{server.url}/v1/recordings"), status=401)
    finally:
        await asyncio.to_thread(server.close)


async def test_b5_dump_and_tier_secret_without_a_token(scene: Scene) -> None:
    """Every record in the dump against every token but its own: the thief has tokens of his own."""
    tiers = await asyncio.to_thread(load_tier_file, scene.world.settings.tier_file)
    async with redis_of(scene.world) as redis:
        dump = await Dump.take(redis)
        records = [await redis.get(name) for name in dump.entries if name.startswith(PREFIX)]
    assert len(records) == 2
    thief = parsed(str((await scene.clinic.sign_in("patient-a")).token))
    for record in records:
        with pytest.raises(Damaged):
            open_record(thief, record, tiers)


async def test_b5_token_and_tier_secret_without_the_record(scene: Scene) -> None:
    async with redis_of(scene.world) as redis:
        await redis.flushall()
    assert_constant(await scene.a.get("/v1/recordings"), status=401)
    assert_constant(await scene.a.send("POST", "/v1/sessions/refresh", json={}), status=401)


async def test_b5_what_stands_in_redis_says_nothing(scene: Scene) -> None:
    mine = await scene.press.publish(scene.clinic, "patient-a", sizes=PICTURE, title=A, clinician=A)
    asked = {"recording": str(mine.recording_id)}
    ticket = (await scene.a.send("POST", "/v1/tickets", json=asked)).json["ticket"]
    assert A in (await scene.a.get("/v1/recordings")).json["recordings"][0]["title"]
    await scene.a.get(f"{mine.url}/poster.jpg")
    await scene.world.anyone.get(f"/v1/t/{ticket}/poster.jpg")
    opened = await scene.press.strongroom.open(mine.access.tenant, mine.access.patient)
    await scene.evidence.says_nothing_of(A, mine.mark, str(scene.a.token)[4:], ticket[4:])
    async with redis_of(scene.world) as redis:
        dump = await Dump.take(redis)
        values = b"".join([await redis.get(name) for name in dump.entries if name.startswith(PREFIX)])
    assert b"patient-a" not in values
    for secret in (opened.active.key, mine.access.key):
        assert secret.reveal(to="search") not in values


@pytest.mark.parametrize("whom", ["session", "patient", "tenant"])
async def test_b5_redis_restored_from_before_a_revoke(scene: Scene, whom: str) -> None:
    mine = await scene.press.publish(scene.clinic, "patient-a", sizes=PICTURE)
    asked = {"recording": str(mine.recording_id)}
    ticket = (await scene.a.send("POST", "/v1/tickets", json=asked)).json["ticket"]
    path = {
        "session": f"/v1/sessions/{scene.a.session_id}",
        "patient": "/v1/sessions?patient=patient-a",
        "tenant": "/v1/sessions?all=true",
    }[whom]
    async with redis_of(scene.world) as redis:
        dump = await Dump.take(redis)
        assert (await scene.clinic.send("DELETE", path)).status == 200
        await dump.restore(redis)
        assert await redis.get(PREFIX + parsed(str(scene.a.token)).record_id) is not None
    assert_constant(await scene.a.get("/v1/recordings"), status=401)
    assert_constant(await scene.a.send("POST", "/v1/sessions/refresh", json={}), status=401)
    assert_constant(await scene.world.anyone.get(f"/v1/t/{ticket}/poster.jpg"), status=401)
    others = await Client(scene.world.http, scene.b.token).get("/v1/recordings")
    assert others.status == (401 if whom == "tenant" else 200)


@pytest.mark.parametrize("whose", ["patient-a", None], ids=["patient", "tenant"])
async def test_b5_the_epoch_alone_ends_what_registry_and_redis_still_hold(
    scene: Scene, whose: str | None
) -> None:
    mine = await scene.press.publish(scene.clinic, "patient-a", sizes=PICTURE)
    asked = {"recording": str(mine.recording_id)}
    ticket = (await scene.a.send("POST", "/v1/tickets", json=asked)).json["ticket"]
    async with scene.press.catalog.writing() as connection:
        patient = None if whose is None else PatientRef(whose)
        await recordings.raise_epoch(connection, TenantId("clinic"), patient)
    assert_constant(await scene.a.get("/v1/recordings"), status=401)
    assert_constant(await scene.a.send("POST", "/v1/sessions/refresh", json={}), status=401)
    assert_constant(await scene.world.anyone.get(f"/v1/t/{ticket}/poster.jpg"), status=401)
    assert (await scene.b.get("/v1/recordings")).status == (401 if whose is None else 200)
