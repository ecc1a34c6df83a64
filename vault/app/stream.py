"""The stream role: lists and plays. Loads nothing that could reach a master key or a share store."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

from keys.secret import TierSecret
from vault.api.auth import Gatekeeper
from vault.api.media import Sender
from vault.api.playback import PlaybackApi
from vault.app.ground import Ground, lay_ground, utc_now
from vault.app.serving import Served
from vault.app.tiers import live_tiers
from vault.catalog.migrate import Schema, require_current
from vault.playback.library import Library
from vault.playback.manifests import Manifests
from vault.playback.opening import Opening
from vault.playback.views import Views
from vault.sessions.admission import Admission
from vault.settings import ServeSettings, StreamSettings
from vault.web.pages import page_routes


@contextlib.asynccontextmanager
async def stream_role(settings: StreamSettings) -> AsyncIterator[Served]:
    """The role by itself, for the length of the block."""
    async with lay_ground(settings, role="stream") as ground:
        await require_current(ground.catalog, Schema.CATALOG)
        async with playback(settings, ground) as served:
            yield served


@contextlib.asynccontextmanager
async def playback(settings: ServeSettings, ground: Ground) -> AsyncIterator[Served]:
    """Playback on given ground."""
    async with (
        live_tiers(settings.tier_file, ground.redis, role="stream") as tiers,
        _playing(settings, ground, tiers) as served,
    ):
        yield served


@contextlib.asynccontextmanager
async def _playing(
    settings: ServeSettings, ground: Ground, tiers: Sequence[TierSecret]
) -> AsyncIterator[Served]:
    admission = Admission(
        records=ground.records,
        catalog=ground.catalog,
        tiers=tiers,
        audience=settings.audience,
        clock=utc_now,
    )
    opening = Opening(ground.catalog, Manifests(ground.store), ground.alarm, utc_now)
    views = Views(ground.audit)
    api = PlaybackApi(
        admission=admission,
        library=Library(ground.catalog, opening, ground.alarm),
        opening=opening,
        store=ground.store,
        sender=Sender(ground.metrics, views),
    )
    closing = asyncio.create_task(views.run(), name="views")
    try:
        yield Served(
            routes=(*page_routes(), *api.routes()),
            gatekeeper=Gatekeeper(admission, ground.catalog, utc_now),
            metrics=ground.metrics,
            probes={
                "sessions": ground.records.ping,
                "catalog": ground.catalog.ping,
                "objects": ground.store.probe,
            },
        )
    finally:
        closing.cancel()
        await views.aclose()
