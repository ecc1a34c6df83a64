"""Work beside a role: it ends with the role, and is missed where it ends before."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from vault.app.background import background


async def for_ever(ended: asyncio.Event) -> None:
    try:
        await asyncio.Event().wait()
    finally:
        ended.set()


async def failing() -> None:
    raise ValueError("rvk_a-token-in-a-message")


async def returning() -> None:
    return


async def test_it_ends_with_the_block_and_nobody_is_told() -> None:
    ended = asyncio.Event()
    with capture_logs() as told:
        async with background(for_ever(ended), name="loop"):
            await asyncio.sleep(0)
    assert ended.is_set()
    assert told == []


@pytest.mark.parametrize(("work", "exception"), [(failing, "builtins.ValueError"), (returning, None)])
async def test_it_is_missed_at_once_where_it_ends_by_itself(work: object, exception: str | None) -> None:
    assert callable(work)
    with capture_logs() as told:
        async with background(work(), name="loop"):
            await asyncio.sleep(0.01)
            assert [(each["log_level"], each["work"]) for each in told] == [("critical", "loop")]
    assert told[0].get("exception") == exception
    assert "rvk_" not in repr(told)
