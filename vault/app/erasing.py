"""What erases patients: a runner beside the control role, and the desk at which people decide about erasures."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from keys.erasures import ErasureId
from keys.errors import UnknownErasure
from keys.ids import PatientRef, TenantId
from keys.strongroom import Strongroom
from vault.app.audited import operator_log, prepare_audit_key
from vault.app.background import background
from vault.app.databases import opened, opened_catalog
from vault.app.ground import Ground, utc_now
from vault.app.master import open_master
from vault.catalog import erasing as catalog_of
from vault.catalog.migrate import Schema
from vault.erasure.certifying import Notary
from vault.erasure.proof import attempt, remember
from vault.erasure.requests import Register, Requests
from vault.erasure.runner import ErasureRunner
from vault.erasure.steps import Eraser
from vault.erasure.tombstones import Graveyard, Replay
from vault.settings import ControlSettings


@contextlib.asynccontextmanager
async def erasing(settings: ControlSettings, ground: Ground, strongroom: Strongroom) -> AsyncIterator[None]:
    """Replay tombstones, then erase in the background for the length of the block.

    Raises `ForeignTombstone`: whoever cannot know who was erased serves nobody.
    """
    graveyard = Graveyard(ground.catalog, strongroom.shares, ground.store)
    await Replay(graveyard, ground.audit, utc_now, settings.share_backup_days).run()
    key = await asyncio.to_thread(prepare_audit_key, settings)
    eraser = Eraser(
        catalog=ground.catalog,
        shares=strongroom.shares,
        master=strongroom.master,
        store=ground.store,
        records=ground.records,
        graveyard=graveyard,
        notary=Notary(ground.audit, key, settings.release),
        clock=utc_now,
        backup_days=settings.share_backup_days,
    )
    runner = ErasureRunner(strongroom.shares, eraser, utc_now)
    async with background(runner.run(), name="erasures"):
        yield


@contextlib.asynccontextmanager
async def looking(settings: ControlSettings) -> AsyncIterator[Register]:
    """Erasures to look at; raises as `opened` does."""
    async with opened_catalog(settings) as catalog, opened(settings.shares, Schema.SHARES) as shares:
        yield Register(catalog, shares)


@contextlib.asynccontextmanager
async def deciding(settings: ControlSettings) -> AsyncIterator[Requests]:
    """Erasures to decide about, on the audit log; raises `AuditUnavailable` as well."""
    async with looking(settings) as register, operator_log(settings, clock=utc_now) as audit:
        yield Requests(register, audit, utc_now, settings.two_persons)


async def plan(settings: ControlSettings, tenant: TenantId, patient: PatientRef) -> dict[str, Any]:
    """What an erasure would destroy; raises `UnknownErasure` for a patient who is not known."""
    async with looking(settings) as register:
        await register.require_known(tenant, patient)
        async with register.catalog.reading() as connection:
            holdings = await catalog_of.holdings(connection, tenant, patient)
    return {
        "keys": len(holdings.generations),
        "recordings": len({wrap.recording_id for wrap, _ in holdings.wraps}),
        "objects": len(holdings.objects),
    }


async def prove_from(
    settings: ControlSettings, erasure_id: ErasureId, url: str, *, name: str
) -> dict[str, Any]:
    """Try what a restored catalog holds of an erased patient, and note the outcome for the certificate.

    Raises `UnknownErasure` where it holds nothing, and `ErasureRefused` or `StillThere` as `vault.erasure.proof` does.
    """
    async with opened(url, Schema.CATALOG) as restored, looking(settings) as register:
        row = await register.find(erasure_id)
        finding = await attempt(restored, open_master(settings), row, source=f"backup {name}", at=utc_now())
        if finding is None:
            raise UnknownErasure("that catalog knows nothing of this patient: nothing to try")
        await remember(register.shares, row, finding)
        return finding
