"""One process and a Redis that goes, comes back, and forgets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
from prometheus_client import CollectorRegistry, Gauge
from redis.asyncio import Redis

from tests.servers import ValkeyServer
from vault.breaker.errors import AnotherOpening, BreakerUnavailable, ListingStopped, UnreadableRecord
from vault.breaker.process import Breaker
from vault.breaker.shared import RECENT, STATE, SharedBreaker
from vault.breaker.window import Limit, Record
from vault.redis_client import connect_redis

LIMIT = Limit(threshold=2, window_ms=60_000)


@pytest.fixture(scope="module")
def server() -> Iterator[ValkeyServer]:
    """One of our own: it is stopped and emptied."""
    with ValkeyServer() as started:
        yield started


@pytest.fixture
async def redis(server: ValkeyServer) -> AsyncIterator[Redis]:
    client = connect_redis(server.url)
    await client.flushall()
    yield client
    await client.aclose()


def process(redis: Redis, limit: Limit = LIMIT) -> Breaker:
    gauge = Gauge("open", "-", registry=CollectorRegistry())
    return Breaker(SharedBreaker(redis), limit, "1.4.2", gauge)


def shown(breaker: Breaker) -> float:
    (family,) = breaker.gauge.collect()
    return family.samples[0].value


async def opened(breaker: Breaker) -> None:
    for _ in range(LIMIT.threshold):
        assert await breaker.mismatch("view.open") is None
    opening = await breaker.mismatch("recording.list")
    assert opening is not None
    assert (opening.release, opening.place, opening.count) == ("1.4.2", "recording.list", 3)


async def stopped(breaker: Breaker) -> bool:
    try:
        await breaker.require_closed()
    except ListingStopped:
        return True
    return False


async def test_replicas_count_together_and_one_of_them_opens(redis: Redis) -> None:
    one, two = process(redis), process(redis)
    await one.require_closed()
    openings = await asyncio.gather(*(each.mismatch("view.open") for each in (one, two) * 4))
    assert sum(opening is not None for opening in openings) == 1
    assert await stopped(one)
    assert await stopped(two)
    assert shown(two) == 1
    assert await redis.zcard(RECENT) <= LIMIT.threshold + 1


async def test_it_ends_where_an_operator_closes_what_was_looked_at(redis: Redis) -> None:
    one, two = process(redis), process(redis)
    await opened(one)
    record = await two.shared.read()
    assert record is not None
    await two.shared.close(record.opening)
    assert not await stopped(one)
    with pytest.raises(AnotherOpening):
        await two.shared.close(record.opening)
    assert await one.mismatch("view.open") is None  # the count begins anew
    await opened_again(one)
    with pytest.raises(AnotherOpening):
        await two.shared.close(record.opening)
    assert await stopped(two)


async def opened_again(breaker: Breaker) -> None:
    assert await breaker.mismatch("view.open") is None
    assert await breaker.mismatch("view.open") is not None


async def test_a_restart_changes_nothing(redis: Redis, server: ValkeyServer) -> None:
    await opened(process(redis))
    await asyncio.to_thread(server.kill)
    await asyncio.to_thread(server.start)
    assert await stopped(process(redis))


async def test_an_emptied_redis_is_told_again_by_whoever_saw_it(redis: Redis) -> None:
    one, two = process(redis), process(redis)
    await opened(one)
    before = await one.shared.read()
    await redis.flushall()
    assert await stopped(one)
    assert await one.shared.read() == before
    assert await stopped(two)


async def test_a_mismatch_that_redis_cannot_count_opens_and_is_told_later(
    redis: Redis, server: ValkeyServer
) -> None:
    one, two = process(redis), process(redis)
    await asyncio.to_thread(server.stop)
    opening = await one.mismatch("view.open")
    assert opening is not None
    for _ in range(100):
        assert await one.mismatch("view.open") is None
    with pytest.raises(BreakerUnavailable):
        await one.require_closed()
    await asyncio.to_thread(server.start)
    assert await stopped(one)
    assert await stopped(two)
    record = await two.shared.read()
    assert record is not None
    assert (record.opening.opening_id, record.opening.count) == (opening.opening_id, 101)


async def test_a_closed_one_stays_open_for_a_mismatch_that_redis_could_not_count(
    redis: Redis, server: ValkeyServer
) -> None:
    one, two = process(redis), process(redis)
    await opened(one)
    record = await two.shared.read()
    assert record is not None
    await two.shared.close(record.opening)
    await asyncio.to_thread(server.stop)
    await one.mismatch("view.open")  # `one` does not know yet that it was closed
    await asyncio.to_thread(server.start)
    assert await stopped(one)
    assert await stopped(two)


async def test_a_redis_that_hangs_is_waited_for_two_seconds_and_by_a_storm_once(
    redis: Redis, server: ValkeyServer
) -> None:
    one = process(redis)
    await one.require_closed()
    server.pause()
    try:
        async with asyncio.timeout(3.5):
            with pytest.raises(BreakerUnavailable):
                await one.require_closed()
        async with asyncio.timeout(3.5):
            openings = [await one.mismatch("view.open") for _ in range(20)]
    finally:
        server.resume()
    assert [opening is not None for opening in openings] == [True] + [False] * 19


async def test_a_record_that_cannot_be_read_lets_nothing_through(redis: Redis) -> None:
    await redis.hset(STATE, mapping={"state": "closed"})  # type: ignore[misc]
    with pytest.raises(BreakerUnavailable):
        await process(redis).require_closed()


async def test_an_idle_process_learns_by_itself(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vault.breaker.process.LOOK_EVERY_S", 0.02)
    one, two = process(redis), process(redis)
    looking = asyncio.create_task(two.run())
    await opened(one)
    for _ in range(200):
        await asyncio.sleep(0.02)
        if shown(two) == 1:
            break
    else:
        pytest.fail("the other process still believes that lists go on")
    looking.cancel()
    await asyncio.gather(looking, return_exceptions=True)


class SlowlyRead(SharedBreaker):
    """Its answers to `read` are on their way for as long as the test wants."""

    __slots__ = ()
    arrived = asyncio.Event()

    async def read(self) -> Record | None:
        """The record as it was when the question came."""
        found = await super().read()
        await self.arrived.wait()
        return found


async def test_an_answer_that_is_older_than_a_mismatch_does_not_close(redis: Redis) -> None:
    one = process(redis)
    one.shared = SlowlyRead(redis)
    asking = asyncio.create_task(one.require_closed())
    await asyncio.sleep(0.05)
    await opened(one)
    SlowlyRead.arrived.set()
    with pytest.raises(ListingStopped):
        await asking
    assert shown(one) == 1


async def test_only_a_record_that_cannot_be_read_is_cleared(redis: Redis) -> None:
    breaker = process(redis)
    await opened(breaker)
    with pytest.raises(AnotherOpening):
        await breaker.shared.clear()
    assert await stopped(breaker)
    await redis.hdel(STATE, "count")  # type: ignore[misc]
    with pytest.raises(UnreadableRecord):
        await breaker.require_closed()
    await breaker.shared.clear()
    assert await stopped(breaker)  # the process that saw it open has put it back
    record = await breaker.shared.read()
    assert record is not None
    assert record.is_open
