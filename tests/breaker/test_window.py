"""The window and the decision as a model would have them, and that Redis keeps what it needs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.servers import ValkeyServer
from vault.breaker.shared import RECENT, STATE, SharedBreaker
from vault.breaker.window import Held, Limit, Opening, Record, counted, settle, too_many
from vault.redis_client import connect_redis

limits = st.builds(Limit, threshold=st.integers(1, 6), window_ms=st.integers(10_000, 60_000))
# Steps between mismatches: storms, pauses as long as a window, and a clock that is set back a little.
histories = st.lists(st.integers(-500, 25_000), min_size=1, max_size=24)


def moments(steps: list[int], *, start_ms: int = 1_764_000_000_000) -> Iterator[int]:
    for step in steps:
        start_ms += step
        yield start_ms


@given(limit=limits, steps=histories)
def test_what_counts_is_what_lies_in_the_window(limit: Limit, steps: list[int]) -> None:
    seen: list[int] = []
    for now in moments(steps):
        seen.append(now)
        assert counted(seen, now_ms=now, limit=limit) == len(
            [at for at in seen if now - at < limit.window_ms]
        )


@given(limit=limits)
def test_the_threshold_opens_nothing_and_one_more_does_until_a_window_later(limit: Limit) -> None:
    seen = [1000] * limit.threshold
    assert not too_many(counted(seen, now_ms=1000, limit=limit), limit)
    seen.append(1000 + limit.window_ms - 1)
    assert too_many(counted(seen, now_ms=seen[-1], limit=limit), limit)
    assert counted(seen, now_ms=1000 + limit.window_ms, limit=limit) == 1


@given(limit=limits, steps=histories)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_redis_keeps_all_that_the_decision_needs_and_no_more(
    valkey_server: ValkeyServer, limit: Limit, steps: list[int]
) -> None:
    asyncio.run(replay(valkey_server.url, limit, list(moments([abs(step) for step in steps]))))


async def replay(url: str, limit: Limit, history: list[int]) -> None:
    redis = connect_redis(url)
    await redis.delete(RECENT, STATE)
    breaker, opened = SharedBreaker(redis), False
    for number, now in enumerate(history, start=1):
        opening = await breaker.mismatch(limit, release="1.0", place="view.open", now_ms=now)
        opens = too_many(counted(history[:number], now_ms=now, limit=limit), limit)
        assert (opening is not None) is (opens and not opened)
        opened = opened or opens
        assert await redis.zcard(RECENT) <= limit.threshold + 1
    record = await breaker.read()
    assert (record is not None and record.is_open) is opened
    await redis.delete(RECENT, STATE)
    await redis.aclose()


X = Opening("aa", 1000, "1.4.2", "view.open", 6)
OLDER = Opening("bb", 900, "1.4.1", "view.open", 6)
LATER = Opening("cc", 2000, "1.4.3", "recording.list", 6)
TOLD, UNTOLD = Held(X, told=True), Held(X, told=False)


@pytest.mark.parametrize(
    ("held", "record", "believed"),
    [
        (None, None, None),
        (None, Record(X, is_open=False), None),
        (None, Record(X, is_open=True), TOLD),
        (TOLD, Record(X, is_open=True), TOLD),
        (TOLD, Record(LATER, is_open=True), Held(LATER, told=True)),
        (TOLD, Record(X, is_open=False), None),
        (TOLD, Record(LATER, is_open=False), None),
        (TOLD, None, UNTOLD),
        (TOLD, Record(OLDER, is_open=False), UNTOLD),
        (UNTOLD, None, UNTOLD),
        (UNTOLD, Record(OLDER, is_open=False), UNTOLD),
        (UNTOLD, Record(LATER, is_open=False), UNTOLD),
        (UNTOLD, Record(LATER, is_open=True), Held(LATER, told=True)),
    ],
    ids=[
        "never opened",
        "closed before this process began",
        "another replica opened it",
        "still open",
        "opened anew by another",
        "closed",
        "closed, opened and closed again",
        "Redis was emptied",
        "Redis was restored from an old copy",
        "Redis does not know yet",
        "only an older one is known",
        "a later one was closed, this one was never told",
        "another one stands",
    ],
)
def test_what_a_process_believes(held: Held | None, record: Record | None, believed: Held | None) -> None:
    assert settle(held, record) == believed
