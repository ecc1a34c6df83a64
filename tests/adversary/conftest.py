"""What every row needs: two patients, a press, a record of all that left the house, and the checks that can go."""

from __future__ import annotations

import io
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import structlog

from tests.adversary.evidence import Evidence
from tests.adversary.press import Press, pressing
from tests.adversary.vandal import Objects, Rows
from tests.world import App, Backend, Engine, World
from vault.objects.folder import FolderStore
from vault.objects.s3 import S3Store
from vault.playback import authorize
from vault.sessions import minting
from vault.sessions.holder import SessionHolder, TicketHolder

# For rows that no engine has a part in: how tokens, paths and headers are read.
EMBEDDED_ALONE = pytest.mark.parametrize("engine", [Engine.EMBEDDED], ids=["embedded"], indirect=True)


@dataclass(frozen=True, slots=True)
class Scene:
    """A clinic, patient A with an app, patient B, and everything that is learnt."""

    world: World
    clinic: Backend
    a: App
    b: App
    press: Press
    evidence: Evidence
    objects: Objects
    rows: Rows


@pytest.fixture
def product_log() -> Iterator[io.StringIO]:
    """What the product logs, from its first line on, at every level."""
    lines = io.StringIO()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG),
        logger_factory=structlog.PrintLoggerFactory(lines),
        cache_logger_on_first_use=False,
    )
    yield lines
    structlog.reset_defaults()


@pytest.fixture
async def scene(
    product_log: io.StringIO, caplog: pytest.LogCaptureFixture, world: World
) -> AsyncIterator[Scene]:
    """The scene, with nothing recorded yet. Both patients have a key."""
    caplog.set_level(logging.INFO)
    clinic = await world.backend()
    async with pressing(world) as press:
        for patient in ("patient-a", "patient-b"):
            await clinic.announce(patient, title="Not sent yet")
        yield Scene(
            world=world,
            clinic=clinic,
            a=await clinic.sign_in("patient-a"),
            b=await clinic.sign_in("patient-b"),
            press=press,
            evidence=Evidence(world, product_log, caplog),
            objects=Objects(world.settings.objects),
            rows=Rows(press.catalog),
        )


@pytest.fixture
def without_checks(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Call it, and every authorization check that a session or ticket meets answers yes."""

    def replace() -> None:
        checks = [name for name in vars(authorize) if name.startswith("require_")]
        assert len(checks) >= 4
        for name in checks:
            monkeypatch.setattr(authorize, name, _yes)
        monkeypatch.setattr(minting, "require_own", _yes)
        for holder in (SessionHolder, TicketHolder):
            monkeypatch.setattr(holder, "require", _yes)

    return replace


def _yes(*_: Any) -> None:
    return None


@dataclass(slots=True)
class Reads:
    """How often the product read from the object store."""

    count: int = 0


@pytest.fixture
def store_reads(monkeypatch: pytest.MonkeyPatch) -> Reads:
    """Counts every read of either store."""
    reads = Reads()

    def counted(read: Any) -> Any:
        async def counting(*arguments: Any, **named: Any) -> Any:
            reads.count += 1
            return await read(*arguments, **named)

        return counting

    for store in (FolderStore, S3Store):
        monkeypatch.setattr(store, "read", counted(store.read))
    return reads
