"""The tier secret over HTTP: rotated by naming the one that goes, once, whoever asks again."""

from __future__ import annotations

import asyncio
from typing import Any

from keys.service_token import HOUSE, ServiceScope
from tests.api.test_leaks import declare, go_on
from tests.world import Answer, Backend, World
from vault.redis_client import connect_redis
from vault.sessions.replicas import Replicas

PATH = "/v1/keys/tier-secret"


async def rotate(backend: Backend, secret: str) -> Answer:
    return await backend.send("POST", f"{PATH}/rotate", json={"secret": secret})


async def rotated(backend: Backend, secret: str) -> Any:
    """The standing once the secret is gone."""
    async with asyncio.timeout(60):
        while (answer := await rotate(backend, secret)).json.get("step") != "none":
            assert answer.status == 200, answer.body
            await asyncio.sleep(0.3)
    return answer.json


async def together(backend: Backend) -> Any:
    """The standing once every replica tells what the file has."""
    async with asyncio.timeout(30):
        while True:
            found = await backend.json(PATH)
            if found["replicas"] >= 2 and set(found["holding"].values()) == {found["replicas"]}:
                return found
            await asyncio.sleep(0.2)


async def test_the_named_secret_goes_once(world: World) -> None:
    house, clinic = await world.backend(HOUSE, ServiceScope.KEYS), await world.backend("clinic")
    await clinic.announce("ann")
    app = await clinic.sign_in("ann", ttl_s=60)
    leak = (await declare(house, "tier")).json["id"]
    before = await together(house)
    assert (before["step"], len(before["secrets"])) == ("none", 1)
    [old] = before["secrets"]
    first = await asyncio.gather(*[rotate(house, old) for _ in range(4)])
    assert {each.status for each in first} == {200}
    assert (await rotate(house, "0" * 16)).status == 409
    assert (await app.get("/v1/recordings")).status == 200
    await clinic.send("DELETE", "/v1/sessions?all=true")
    [new] = (await rotated(house, old))["secrets"]
    assert new != old
    again = await rotate(house, old)
    assert (again.json["step"], again.json["secrets"]) == ("none", [new])
    assert (await go_on(house, leak)).status == 200
    entries = [each for each in await asyncio.to_thread(world.audit) if each["action"] == "tier.rotate"]
    assert [each["note"].split(":")[0] for each in entries] == ["add", "switch", "drop", "end"]
    assert {each["actor"][:8] for each in entries} == {"service:"}


async def test_files_that_differ_and_a_file_that_cannot_be_changed(world: World) -> None:
    house = await world.backend(HOUSE, ServiceScope.KEYS)
    [old] = (await together(house))["secrets"]
    redis = connect_redis(world.settings.redis)
    await Replicas(redis).tell("control-far", ["f" * 16])
    refused = await rotate(house, old)
    assert (refused.status, "replica" in refused.json["detail"]) == (409, True)
    await Replicas(redis).leave("control-far")
    await redis.aclose()
    path = world.settings.tier_file
    await asyncio.to_thread(path.chmod, 0o644)
    for answer in (await house.get(PATH), await rotate(house, old)):
        assert (answer.status, "command line" in answer.json["detail"]) == (409, True)
        assert str(path) not in answer.body.decode()
    await asyncio.to_thread(path.chmod, 0o600)
    assert (await house.json(PATH))["secrets"] == [old]
    for body in ({}, {"secret": "x"}):
        assert (await house.send("POST", f"{PATH}/rotate", json=body)).status == 422
