"""Entries a second into the audit log: alone, and with its checkpoints and anchors."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from vault.app.audited import audited
from vault.app.ground import utc_now
from vault.audit.entry import Action, Decision, Event
from vault.audit.log import AuditLog
from vault.objects.location import make_store
from vault.settings import AllSettings, load

ENTRIES: Final = 20_000
CROWD: Final = 50
# Of the rate without checkpoints; below it, a disk that syncs at its own pace would fail the benchmark.
LEAST: Final = 0.7
_EVENT: Final = Event(action=Action.VIEW_OPEN, decision=Decision.ALLOW, actor="session", session="ab" * 32)


async def measure() -> bool:
    """Run and print; whether the limit held."""
    print(f"audit: {ENTRIES} entries, {CROWD} at a time", flush=True)
    alone, whole = 0.0, 0.0
    for _ in range(3):
        async with _alone() as log:
            alone = max(alone, await _rate(log))
        async with _whole() as log:
            whole = max(whole, await _rate(log))
    print(f"  alone                         {alone:8.0f} entries/s")
    print(f"  with checkpoints and anchors  {whole:8.0f} entries/s (at least {LEAST:.0%})")
    return whole >= LEAST * alone


async def _rate(log: AuditLog) -> float:
    started_s = time.monotonic()
    for _ in range(ENTRIES // CROWD):
        await asyncio.gather(*(log.write(_EVENT) for _ in range(CROWD)))
    return ENTRIES / (time.monotonic() - started_s)


@contextlib.asynccontextmanager
async def _alone() -> AsyncIterator[AuditLog]:
    with tempfile.TemporaryDirectory() as folder:
        log = await AuditLog.open(Path(folder), role="bench", release="bench", clock=utc_now)
        try:
            yield log
        finally:
            await log.aclose()


@contextlib.asynccontextmanager
async def _whole() -> AsyncIterator[AuditLog]:
    with tempfile.TemporaryDirectory() as folder:
        settings = load(AllSettings, {}, data_dir=Path(folder))
        store = make_store(settings.objects)
        async with (
            contextlib.aclosing(store),
            audited(settings, role="bench", store=store, clock=utc_now) as log,
        ):
            yield log
