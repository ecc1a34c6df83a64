"""The control role: ingest, sessions, tickets. The only role that reaches the master key and the share store."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from keys.database import open_database
from keys.handover import create_worker_files, load_worker_public_key
from keys.master.local import create_master_file
from keys.shares import ShareStore
from keys.strongroom import Strongroom
from keys.tier import create_tier_file
from vault.api.auth import Gatekeeper
from vault.api.erasures import ErasuresApi
from vault.api.keys import KeysApi
from vault.api.leaks import LeaksApi
from vault.api.recordings import RecordingsApi
from vault.api.sessions import SessionsApi
from vault.api.tier_secret import TierApi
from vault.app.background import background
from vault.app.erasing import erasing
from vault.app.ground import Ground, lay_ground, utc_now
from vault.app.master import open_master, read_passphrase, uses_local_master
from vault.app.rotating import make_runner
from vault.app.serving import Served
from vault.app.tiers import live_tiers
from vault.catalog.migrate import Schema, migrate
from vault.erasure.requests import Register, Requests
from vault.ingest import Ingest
from vault.queue import WakeUps, open_queue
from vault.redis_client import connect_redis
from vault.sessions.admission import Admission
from vault.sessions.minting import Mint
from vault.sessions.tier_rotation import TierDesk
from vault.settings import ControlSettings
from vault.survey.due import Surveyor


def prepare_key_files(settings: ControlSettings) -> None:
    """Make the default key files at first start; files that were named by a setting must exist already."""
    if settings.master_key_file is None and uses_local_master(settings):
        passphrase = read_passphrase(settings.master_passphrase_file)
        create_master_file(settings.master_file, passphrase=passphrase)
    if settings.tier_secret_file is None:
        create_tier_file(settings.tier_file)
    if settings.worker_public_key_file is None:
        create_worker_files(settings.data_dir / "worker.key", settings.worker_public_file)


@contextlib.asynccontextmanager
async def control_role(settings: ControlSettings) -> AsyncIterator[Served]:
    """The role by itself, for the length of the block."""
    prepare_key_files(settings)
    async with lay_ground(settings, role="control") as ground, control(settings, ground) as served:
        yield served


@contextlib.asynccontextmanager
async def control(settings: ControlSettings, ground: Ground) -> AsyncIterator[Served]:
    """Control on given ground; brings both schemas up to date first."""
    async with contextlib.AsyncExitStack() as stack:
        shares = open_database(settings.shares)
        stack.push_async_callback(shares.aclose)
        await migrate(ground.catalog, Schema.CATALOG)
        await migrate(shares, Schema.SHARES)
        queue_redis = connect_redis(settings.redis)
        stack.push_async_callback(queue_redis.aclose)
        tiers = await stack.enter_async_context(live_tiers(settings.tier_file, ground.redis, role="control"))
        master = open_master(settings)
        strongroom = Strongroom(ground.catalog, master, ShareStore(shares))
        ingest = Ingest(
            catalog=ground.catalog,
            strongroom=strongroom,
            store=ground.store,
            workers=load_worker_public_key(settings.worker_public_file),
            wake_ups=WakeUps(open_queue(queue_redis)),
            alarm=ground.alarm,
            clock=utc_now,
            limit_bytes=settings.upload_limit_bytes,
        )
        mint = Mint(strongroom, ground.catalog, ground.records, tiers, settings.audience, utc_now)
        surveyor = Surveyor(ground.catalog, master, settings.tier_file)
        admission = Admission(ground.records, ground.catalog, tiers, settings.audience, utc_now)
        await stack.enter_async_context(erasing(settings, ground, strongroom))
        runner = make_runner(strongroom, ground, two_persons=settings.two_persons)
        await stack.enter_async_context(background(runner.run(), name="key-jobs"))
        register = Register(ground.catalog, shares)
        requests = Requests(register, ground.audit, utc_now, settings.two_persons)
        desk = TierDesk(settings.tier_file, ground.catalog, ground.redis, ground.audit, utc_now)
        yield Served(
            routes=(
                *RecordingsApi(ingest, ground.catalog, ground.metrics).routes(),
                *SessionsApi(mint, ground.catalog, ground.alarm, utc_now).routes(),
                *ErasuresApi(requests).routes(),
                *LeaksApi(ground.catalog, ground.audit, desk, utc_now).routes(),
                *TierApi(desk).routes(),
                *KeysApi(
                    strongroom, surveyor, ground.store, ground.audit, utc_now, settings.two_persons
                ).routes(),
            ),
            gatekeeper=Gatekeeper(admission, ground.catalog, utc_now),
            metrics=ground.metrics,
            probes={
                "sessions": ground.records.ping,
                "catalog": ground.catalog.ping,
                "shares": shares.ping,
                "objects": ground.store.probe,
                "master": master.health,
            },
        )
