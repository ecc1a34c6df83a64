"""The alarm as a role wires it: by the operator's settings, and also while nothing can be audited."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.servers import ValkeyServer
from vault.alarm import Alarm
from vault.app.alarms import ringing
from vault.app.ground import utc_now
from vault.audit.entry import Action, Decision, Event, Reason
from vault.audit.errors import AuditUnavailable
from vault.audit.log import AuditLog
from vault.audit.reading import tail
from vault.breaker.errors import ListingStopped
from vault.metrics import Metrics
from vault.redis_client import connect_redis
from vault.settings import StreamSettings, load

MISMATCH = Event(action=Action.VIEW_OPEN, decision=Decision.DENY, reason=Reason.KEY_MISMATCH, actor="session")


@pytest.fixture
async def alarm(valkey_server: ValkeyServer, tmp_path: Path) -> AsyncIterator[Alarm]:
    """One that opens at the second mismatch."""
    given: dict[str, Any] = {"data_dir": tmp_path, "breaker_threshold": 1, "breaker_window_s": 10}
    settings = load(StreamSettings, {}, **given)
    redis = connect_redis(valkey_server.url)
    await redis.flushall()
    audit = await AuditLog.open(settings.audit_folder, role="stream", release="1.4.2", clock=utc_now)
    async with ringing(settings, audit, Metrics(), redis, clock=utc_now) as ready:
        yield ready
    await audit.aclose()
    await redis.aclose()


async def test_the_threshold_is_the_operator_s(alarm: Alarm) -> None:
    await alarm.key_mismatch(MISMATCH)
    await alarm.breaker.require_closed()
    assert alarm.breaker.limit.window_ms == 10_000
    await alarm.key_mismatch(MISMATCH)
    with pytest.raises(ListingStopped):
        await alarm.breaker.require_closed()
    actions = [entry["action"] for entry in tail(alarm.audit.path.parent, limit=10)]
    assert actions == ["writer.open", "view.open", "view.open", "breaker.open"]


async def test_mismatches_that_cannot_be_audited_count_too(alarm: Alarm) -> None:
    await alarm.audit.aclose()
    for _ in range(2):
        with pytest.raises(AuditUnavailable):
            await alarm.key_mismatch(MISMATCH)
    with pytest.raises(ListingStopped):
        await alarm.breaker.require_closed()


async def test_one_that_redis_cannot_count_is_audited_counted_and_opens(
    alarm: Alarm, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(alarm.breaker.shared.redis, "connection_pool", nowhere(tmp_path))
    await alarm.key_mismatch(MISMATCH)
    assert alarm.metrics.registry.get_sample_value("replayvault_listing_breaker_open") == 1
    labels = {"place": "view.open", "release": alarm.release}
    assert alarm.metrics.registry.get_sample_value("replayvault_key_mismatch_total", labels) == 1
    actions = [entry["action"] for entry in tail(alarm.audit.path.parent, limit=10)]
    assert actions == ["writer.open", "view.open", "breaker.open"]


def nowhere(folder: Path) -> Any:
    return connect_redis(f"unix://{folder}/no.sock").connection_pool
