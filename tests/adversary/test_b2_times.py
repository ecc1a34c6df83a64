"""B2: expired, idle, past its absolute limit, from the future. One constant 401."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
import time
from typing import Any

import pytest
from sqlalchemy import update

from tests.adversary.conftest import Scene
from tests.adversary.evidence import assert_constant
from tests.adversary.forging import forge, session_of, ticket_of
from tests.adversary.press import PICTURE
from tests.world import Answer
from vault.catalog.tables import sessions
from vault.sessions import minting

# What is changed, in seconds from now, and whether it still opens.
ROWS: tuple[tuple[str, dict[str, int], bool], ...] = (
    ("a second to go", {"expires_at": 5, "absolute_at": 5}, True),
    ("the clocks of two hosts", {"issued_at": 25}, True),
    ("expired", {"expires_at": 0}, False),
    ("expired long ago", {"issued_at": -9000, "expires_at": -8000}, False),
    ("past its absolute limit", {"absolute_at": 0}, False),
    ("past its absolute limit by far", {"absolute_at": -9000}, False),
    ("from the future", {"issued_at": 60}, False),
    ("from a far future", {"issued_at": 90_000, "expires_at": 99_000, "absolute_at": 99_000}, False),
)


def moved(record: Any, change: dict[str, int]) -> Any:
    now = int(time.time())
    held = {name: now + seconds for name, seconds in change.items() if hasattr(record, name)}
    return dataclasses.replace(record, **held)


def assert_opens(answer: Answer) -> None:
    assert answer.status == 200


async def test_b2_a_session_out_of_its_time(scene: Scene, subtests: pytest.Subtests) -> None:
    session = await session_of(scene, str(scene.a.token))
    for name, change, opens in ROWS:
        with subtests.test(name):
            await forge(scene, str(scene.a.token), moved(session, change))
            answer = await scene.a.get("/v1/recordings")
            assert_opens(answer) if opens else assert_constant(answer, status=401)


async def test_b2_a_ticket_out_of_its_time(scene: Scene, subtests: pytest.Subtests) -> None:
    mine = await scene.press.publish(scene.clinic, "patient-a", sizes=PICTURE)
    asked = {"recording": str(mine.recording_id)}
    text = (await scene.a.send("POST", "/v1/tickets", json=asked)).json["ticket"]
    ticket = await ticket_of(scene, text)
    for name, change, opens in ROWS:
        if change.keys() == {"absolute_at"}:
            continue  # a ticket has one limit
        with subtests.test(name):
            await forge(scene, text, moved(ticket, change))
            answer = await scene.world.anyone.get(f"/v1/t/{text}/poster.jpg")
            assert_opens(answer) if opens else assert_constant(answer, status=401)


async def test_b2_the_registry_says_it_is_over(scene: Scene) -> None:
    past = dt.datetime.now(tz=dt.UTC) - dt.timedelta(seconds=1)
    async with scene.press.catalog.writing() as connection:
        await connection.execute(update(sessions).values(expires_at=past))
    assert_constant(await scene.a.get("/v1/recordings"), status=401)


async def test_b2_idle(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """With an idle limit of two seconds: used every second it lives, left alone it ends."""
    monkeypatch.setattr(minting, "DEFAULT_IDLE", dt.timedelta(seconds=2))
    app = await scene.clinic.sign_in("patient-a")
    for _ in range(3):
        await asyncio.sleep(1)
        assert (await app.get("/v1/recordings")).status == 200
    await asyncio.sleep(2.2)
    assert_constant(await app.get("/v1/recordings"), status=401)


async def test_b2_refreshing_never_moves_the_absolute_limit(scene: Scene) -> None:
    session = await session_of(scene, str(scene.a.token))
    limit = int(time.time()) + 100
    await forge(scene, str(scene.a.token), dataclasses.replace(session, absolute_at=limit))
    answer = await scene.a.send("POST", "/v1/sessions/refresh", json={"ttl_s": 12 * 3600})
    assert answer.status == 201
    fresh = await session_of(scene, answer.json["token"])
    assert (fresh.absolute_at, fresh.expires_at) == (limit, limit)


async def test_b2_the_old_token_of_a_refreshed_session_ends_though_it_is_used(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(minting, "GRACE", dt.timedelta(seconds=2))
    assert (await scene.a.send("POST", "/v1/sessions/refresh", json={})).status == 201
    until = time.monotonic() + 2.5
    while time.monotonic() < until:
        await scene.a.get("/v1/recordings")
        await asyncio.sleep(0.2)
    assert_constant(await scene.a.get("/v1/recordings"), status=401)
    assert_constant(await scene.a.send("POST", "/v1/sessions/refresh", json={}), status=401)
