"""A10: a bad release causes mismatches. Past the threshold every list stops, until an operator lets them go on.

On every replica, for everybody; the alarm says which release it was; what is one's own plays on.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from keys.ids import PatientRef
from tests.adversary.conftest import EMBEDDED_ALONE, Scene
from tests.adversary.press import PICTURE, Pressed
from tests.adversary.replica import StreamServer
from tests.adversary.test_a2_list_query import everybodys
from tests.adversary.vandal import redis_of
from tests.webhook.receiver import SECRET, Receiver, receiving
from tests.world import Answer, Client
from vault.app.desk import open_breaker
from vault.catalog import recordings

A, B = "Alderwick-71c0e2", "Bramblehurst-5d9f3a"
RELEASE = "2026.11.24-bad"
THRESHOLD = 5


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as started:
        yield started


@pytest.fixture
def world_settings(world_settings: dict[str, Any], receiver: Receiver) -> dict[str, Any]:
    """A new release, whose operator has a webhook."""
    secret = world_settings["data_dir"] / "webhook.secret"
    secret.touch(mode=0o600)
    secret.write_text(SECRET)
    told = {"alarm_webhook_url": f"{receiver.url}/alarm/s3cret-path", "alarm_webhook_secret_file": secret}
    return world_settings | told | {"release": RELEASE}


@pytest.fixture
async def mine(scene: Scene) -> Pressed:
    (found,) = await scene.press.many(scene.clinic, "patient-a", count=1, stem=A)
    return found


@pytest.fixture
async def theirs(scene: Scene) -> Pressed:
    (found,) = await scene.press.many(scene.clinic, "patient-b", count=1, stem=B, sizes=PICTURE)
    return found


async def mismatch(scene: Scene, theirs: Pressed, *, times: int) -> None:
    for _ in range(times):
        assert (await scene.evidence.ask(scene.a, "GET", f"{theirs.url}/poster.jpg")).status == 404


async def listed(who: Client, origin: str = "") -> Answer:
    return await who.send("GET", f"{origin}/v1/recordings")


def assert_stopped(answer: Answer) -> None:
    assert answer.status == 503
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["Retry-After"] == "60"
    assert answer.json["code"] == "listing-stopped"
    assert set(answer.json) == {"type", "title", "status", "code", "detail", "retry_after_s"}


async def plays(who: Client, recording: Pressed) -> bool:
    ways = (recording.url, f"{recording.url}/master.m3u8", f"{recording.url}/360p.mp4")
    return [(await who.get(way)).status for way in ways] == [200, 200, 200]


async def test_a10_lists_stop_for_everybody_and_ones_own_plays_on(
    scene: Scene, mine: Pressed, theirs: Pressed, without_checks: Callable[[], None], receiver: Receiver
) -> None:
    without_checks()
    await mismatch(scene, theirs, times=THRESHOLD)
    assert (await listed(scene.a)).status == (await listed(scene.b)).status == 200
    assert scene.world.metric("replayvault_listing_breaker_open") == 0
    await mismatch(scene, theirs, times=1)
    rival = await scene.world.backend("rival")
    await rival.announce("patient-r")
    for who in (scene.a, scene.b, await rival.sign_in("patient-r")):
        assert_stopped(await listed(who))
        assert_stopped(await who.get("/v1/recordings?limit=1"))
        assert (await who.send("HEAD", "/v1/recordings")).status == 503
    assert await plays(scene.a, mine)
    assert scene.world.metric("replayvault_listing_breaker_open") == 1
    (entry,) = await scene.evidence.audited(action="breaker.open")
    assert (entry["release"], entry["actor"], entry["decision"]) == (RELEASE, "system", "allow")
    opened, told = await receiver.next("breaker.opened"), await receiver.next("key_mismatch")
    assert opened.is_signed()
    assert told.is_signed()
    assert opened.json["data"]["release"] == told.json["data"]["release"] == RELEASE
    assert opened.json["data"]["places"] == {"view.open": THRESHOLD + 1}
    assert told.json["data"]["recordings"] == [str(theirs.recording_id)]
    scene.evidence.answers += [
        (f"message {n}", as_answer(each.body)) for n, each in enumerate(receiver.received)
    ]
    scene.evidence.answers_say_nothing_of("patient-a", "patient-b", A, B, scene.a.token or "")
    assert b"s3cret-path" not in scene.evidence.logs + scene.world.served.metrics.render()


def as_answer(body: bytes) -> Answer:
    return Answer(0, {}, body)


async def test_a10_an_operator_closes_it_and_lists_go_on(
    scene: Scene, mine: Pressed, theirs: Pressed, without_checks: Callable[[], None], receiver: Receiver
) -> None:
    without_checks()
    await mismatch(scene, theirs, times=THRESHOLD + 1)
    assert_stopped(await listed(scene.a))
    await scene.world.close_breaker()
    assert [each["id"] for each in (await listed(scene.a)).json["recordings"]] == [str(mine.recording_id)]
    assert scene.world.metric("replayvault_listing_breaker_open") == 0
    (entry,) = await scene.evidence.audited(action="breaker.close")
    assert (entry["actor"], entry["role"]) == ("operator", "operator")
    assert entry["note"].endswith("a test knows why")
    closed = await receiver.next("breaker.closed")
    assert closed.json["data"]["opening"] == (await receiver.next("breaker.opened")).json["data"]["opening"]
    assert b"a test knows why" not in closed.body
    await mismatch(scene, theirs, times=THRESHOLD)
    assert (await listed(scene.a)).status == 200  # the count began anew
    await mismatch(scene, theirs, times=1)
    assert_stopped(await listed(scene.a))


async def test_a10_it_holds_on_another_replica_and_after_a_restart(
    scene: Scene, mine: Pressed, theirs: Pressed, without_checks: Callable[[], None]
) -> None:
    server = StreamServer(scene.world)
    try:
        await asyncio.to_thread(server.start)
        assert (await listed(scene.a, server.url)).status == 200
        without_checks()
        await mismatch(scene, theirs, times=THRESHOLD + 1)
        assert_stopped(await listed(scene.a, server.url))
        assert (await scene.a.send("GET", f"{server.url}{mine.url}/master.m3u8")).status == 200
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.start)
        assert_stopped(await listed(scene.a, server.url))
        await scene.world.close_breaker()
        assert (await listed(scene.a, server.url)).status == 200
    finally:
        await asyncio.to_thread(server.close)


async def test_a10_replicas_count_together(
    scene: Scene, mine: Pressed, theirs: Pressed, without_checks: Callable[[], None]
) -> None:
    """Another replica, whose catalog lies to it about whose recording this is, gives the last of the mismatches."""
    server = StreamServer(scene.world, REPLAYVAULT_RELEASE="2026.11.25-worse")
    try:
        await asyncio.to_thread(server.start)
        without_checks()
        await mismatch(scene, theirs, times=THRESHOLD)
        assert await plays(scene.a, mine)
        await scene.rows.change(theirs.recording_id, patient=PatientRef("patient-a"))
        assert (await scene.a.send("GET", f"{server.url}{theirs.url}/poster.jpg")).status == 404
        assert_stopped(await listed(scene.a))
        assert_stopped(await listed(scene.b, server.url))
        async with redis_of(scene.world) as redis:
            assert await redis.hget("rv:breaker:state", "release") == b"2026.11.25-worse"  # type: ignore[misc]
    finally:
        await asyncio.to_thread(server.close)


async def test_a10_the_window_slides(
    scene: Scene, theirs: Pressed, without_checks: Callable[[], None]
) -> None:
    without_checks()
    await mismatch(scene, theirs, times=THRESHOLD)
    async with redis_of(scene.world) as redis:
        for member, at_ms in await redis.zrange("rv:breaker:recent", 0, -1, withscores=True):
            await redis.zadd("rv:breaker:recent", {member: at_ms - 60_000})  # a minute passes
    await mismatch(scene, theirs, times=THRESHOLD)
    assert (await listed(scene.a)).status == 200
    await mismatch(scene, theirs, times=1)
    assert_stopped(await listed(scene.a))


async def test_a10_a_redis_that_is_emptied_does_not_let_lists_go_on(
    scene: Scene, theirs: Pressed, without_checks: Callable[[], None]
) -> None:
    without_checks()
    await mismatch(scene, theirs, times=THRESHOLD + 1)
    async with redis_of(scene.world) as redis:
        await redis.flushall()
    assert (await listed(scene.a)).status == 401
    again = await scene.clinic.sign_in("patient-a")
    assert_stopped(await listed(again))
    await scene.world.close_breaker()
    assert (await listed(again)).status == 200


async def test_a10_the_page_that_opens_it_shows_ones_own_and_is_the_last(
    scene: Scene, mine: Pressed, monkeypatch: pytest.MonkeyPatch
) -> None:
    await scene.press.many(scene.clinic, "patient-b", count=THRESHOLD + 1, stem=B, sizes=PICTURE)
    reads = 0

    async def counted(*given: Any, **named: Any) -> Any:
        nonlocal reads
        reads += 1
        return await everybodys(*given, **named)

    monkeypatch.setattr(recordings, "shelf", counted)
    page = await scene.evidence.ask(scene.a, "GET", "/v1/recordings")
    assert [each["id"] for each in page.json["recordings"]] == [str(mine.recording_id)]
    assert_stopped(await listed(scene.b))
    assert reads == 1  # no row is read for a list that is stopped
    await scene.evidence.says_nothing_of(B, B[:12])


@EMBEDDED_ALONE
async def test_a10_a_second_patient_for_a_consultation_is_told_and_stops_no_list(
    scene: Scene, receiver: Receiver
) -> None:
    for patient, status in (("patient-a", 201), *[("patient-b", 409)] * (THRESHOLD + 1)):
        body = {"patient": patient, "consultation": "c-s3cret", "metadata": {"title": A}}
        assert (await scene.clinic.send("POST", "/v1/recordings", json=body)).status == status
    told = await receiver.next("consultation_taken")
    assert told.is_signed()
    assert told.json["data"]["places"] == {"recording.create": told.json["data"]["count"]}
    assert not any(word in told.body for word in (b"c-s3cret", b"patient-", A.encode()))
    assert scene.world.metric("replayvault_consultation_taken_total") == THRESHOLD + 1
    assert scene.world.metric("replayvault_key_mismatch_total") == 0
    assert scene.evidence.logs.count(b"a second patient was named") == THRESHOLD + 1
    assert (await listed(scene.a)).status == 200


@EMBEDDED_ALONE
async def test_a10_an_operator_stops_lists_by_hand(scene: Scene, mine: Pressed, receiver: Receiver) -> None:
    opening = await open_breaker(scene.world.settings, reason="a strange title", warn=pytest.fail)
    assert opening is not None
    assert await open_breaker(scene.world.settings, reason="once more", warn=pytest.fail) is None
    assert_stopped(await listed(scene.a))
    assert await plays(scene.a, mine)
    assert (await receiver.next("breaker.opened")).json["data"]["places"] == {"operator": 0}
    await scene.world.close_breaker()
    assert (await listed(scene.a)).status == 200
