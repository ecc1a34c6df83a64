"""From a role's routes to a listening server: errors, health, metrics and the OpenAPI document included."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from keys import errors as keys_errors
from vault.api.auth import Gatekeeper
from vault.api.binding import OPEN, AnyRoute, Call, MediaAnswer, Route, json_response
from vault.api.cors import allow_origins
from vault.api.dispatch import install
from vault.api.middleware import guard
from vault.api.models import Health
from vault.api.openapi import openapi_route
from vault.api.problems import Code, Translation, Translator
from vault.api.server import Runner
from vault.audit.errors import AuditUnavailable
from vault.breaker.errors import BreakerUnavailable, ListingStopped
from vault.catalog import errors as catalog_errors
from vault.metrics import Metrics
from vault.objects import errors as objects_errors
from vault.playback.errors import NoSuchFile, NothingForYou
from vault.sessions import errors as sessions_errors
from vault.settings import ServeSettings

PROBE_TIMEOUT_S: Final = 2.0
HSTS_MAX_AGE_S: Final = 365 * 24 * 3600
_METRICS_TYPE: Final = "text/plain"

PROBLEMS: Final[Mapping[type[Exception], Translation]] = {
    keys_errors.InvalidToken: Code.UNAUTHENTICATED,
    catalog_errors.UnknownToken: Code.UNAUTHENTICATED,
    sessions_errors.SessionEnded: Code.UNAUTHENTICATED,
    sessions_errors.ScopeMissing: Code.FORBIDDEN,
    sessions_errors.NotYours: Code.NOT_FOUND,
    keys_errors.MalformedId: Code.INVALID_BODY,
    keys_errors.NoSuchKey: Code.NOT_FOUND,
    keys_errors.KeyMismatch: Code.NOT_FOUND,
    catalog_errors.UnknownRecording: Code.NOT_FOUND,
    catalog_errors.UnknownJob: Code.NOT_FOUND,
    catalog_errors.UnknownCompromise: Code.NOT_FOUND,
    catalog_errors.UnknownCursor: Code.INVALID_QUERY,
    NothingForYou: Code.NOT_FOUND,
    NoSuchFile: Code.NOT_FOUND,
    keys_errors.PatientErased: Code.PATIENT_ERASED,
    keys_errors.ErasurePending: Code.ERASURE_PENDING,
    keys_errors.OnLegalHold: Code.LEGAL_HOLD,
    catalog_errors.ConsultationTaken: Code.CONSULTATION_TAKEN,
    catalog_errors.SourceStored: Code.CONFLICT,
    catalog_errors.WrongState: Code.NOT_READY,
    catalog_errors.IdempotencyReused: Code.CONFLICT,
    catalog_errors.LostClaim: Code.UNAVAILABLE,
    objects_errors.TooLarge: Code.BODY_TOO_LARGE,
    objects_errors.DamagedObject: Code.DAMAGED,
    objects_errors.MalformedObject: Code.DAMAGED,
    objects_errors.ObjectMissing: Code.DAMAGED,
    objects_errors.StoreUnavailable: Code.UNAVAILABLE,
    keys_errors.Damaged: Code.DAMAGED,
    keys_errors.DatabaseUnavailable: Code.UNAVAILABLE,
    keys_errors.MasterUnavailable: Code.UNAVAILABLE,
    sessions_errors.RecordsUnavailable: Code.UNAVAILABLE,
    AuditUnavailable: Code.UNAVAILABLE,
    ListingStopped: Code.LISTING_STOPPED,
    BreakerUnavailable: Code.UNAVAILABLE,
}


@dataclass(frozen=True, slots=True)
class Served:
    """What a role has to say: its rows, who may call them, and what must answer for it to be ready."""

    routes: tuple[AnyRoute, ...]
    gatekeeper: Gatekeeper
    metrics: Metrics
    probes: Mapping[str, Callable[[], Awaitable[None]]]


def join(first: Served, second: Served) -> Served:
    """Two roles behind one port."""
    return Served(
        routes=(*first.routes, *second.routes),
        gatekeeper=first.gatekeeper,
        metrics=first.metrics,
        probes={**first.probes, **second.probes},
    )


def build_app(served: Served, settings: ServeSettings) -> web.Application:
    """The application of a role."""
    app = web.Application()
    hsts_max_age_s = HSTS_MAX_AGE_S if settings.https else None
    guard(app, translator=Translator(PROBLEMS), hsts_max_age_s=hsts_max_age_s)
    if settings.cors_origins:
        allow_origins(app, settings.cors_origins)
    rows = (*served.routes, *_system_routes(served))
    document = openapi_route(rows, version=settings.release)
    install(app, routes=(*rows, document), authenticator=served.gatekeeper)
    return app


@contextlib.asynccontextmanager
async def listening(app: web.Application, *, host: str, port: int) -> AsyncIterator[str]:
    """Serve for the length of the block; yields the address, with the port that the system chose for 0."""
    runner = Runner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        bound = runner.addresses[0][1]
        yield f"http://{host}:{bound}"
    finally:
        await runner.cleanup()


def _system_routes(served: Served) -> tuple[AnyRoute, ...]:
    async def alive(_: Call[None, None, None]) -> Health:
        return Health(status="ok", parts={})

    async def ready(_: Call[None, None, None]) -> web.StreamResponse:
        parts = dict(await asyncio.gather(*(_probe(name, ask) for name, ask in served.probes.items())))
        well = all(state == "ok" for state in parts.values())
        health = Health(status="ok" if well else "degraded", parts=parts)
        return json_response(health, status=200 if well else 503)

    async def metrics(_: Call[None, None, None]) -> web.StreamResponse:
        return web.Response(body=served.metrics.render(), content_type=_METRICS_TYPE, charset="utf-8")

    return (
        Route(
            method="GET",
            path="/healthz",
            handler=alive,
            access=OPEN,
            summary="Whether the process lives",
            answers={200: Health},
        ),
        Route(
            method="GET",
            path="/readyz",
            handler=ready,
            access=OPEN,
            summary="Whether everything that this role needs answers",
            answers={200: Health, 503: Health},
        ),
        Route(
            method="GET",
            path="/metrics",
            handler=metrics,
            access=OPEN,
            summary="Prometheus metrics",
            answers={200: MediaAnswer((_METRICS_TYPE,))},
        ),
    )


async def _probe(name: str, ask: Callable[[], Awaitable[None]]) -> tuple[str, str]:
    try:
        async with asyncio.timeout(PROBE_TIMEOUT_S):
            await ask()
    except Exception:  # noqa: BLE001 - whatever it is, this part is not well; the reason is in its own log
        return name, "down"
    return name, "ok"
