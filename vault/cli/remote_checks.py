"""What `doctor` asks others: databases, Redis and its clock, the object store and whether it keeps what stands there.

Invariants: every question is bounded in time; the only thing that is written is one random object, which is removed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from typing import Final, cast

from redis.exceptions import RedisError

from keys.database import open_database
from keys.errors import DatabaseUnavailable
from keys.ids import new_file_id, new_recording_id
from keys.session import CLOCK_SKEW_S
from vault.app.databases import sqlite_file
from vault.breaker.errors import BreakerUnavailable, UnreadableRecord
from vault.breaker.shared import SharedBreaker
from vault.catalog.errors import UnknownSchema
from vault.catalog.migrate import Schema, require_current
from vault.cli.findings import Finding, down, note, ok, wrong
from vault.objects.container import HEADER_BYTES
from vault.objects.errors import (
    ObjectExists,
    ObjectsError,
    StoreMisconfigured,
    StoreRefused,
    StoreUnavailable,
)
from vault.objects.location import FolderLocation, S3Location, make_store, parse_location
from vault.objects.store import ObjectName, ObjectStore
from vault.redis_client import connect_redis
from vault.settings import CommonSettings, ControlSettings, SettingsError, StreamSettings

TIMEOUT_S: Final = 15.0
# More than a healthy time service leaves, less than what ends sessions early.
_NOTABLE_SKEW_S: Final = 2.0
_OVERWRITES: Final = (
    "add conditional_writes=false to REPLAYVAULT_OBJECTS_URL, or use a service that knows If-None-Match"
)


async def remote_findings(settings: CommonSettings) -> list[Finding]:
    """Ask one after the other: loading one driver must not make another look slow."""
    found = await database_findings("catalog", settings.catalog, Schema.CATALOG)
    if isinstance(settings, ControlSettings):
        found += await database_findings("share store", settings.shares, Schema.SHARES)
        from vault.cli.master_checks import master_findings  # noqa: PLC0415 - other roles load no keeper's client

        found += await master_findings(settings)
    found += await redis_findings(settings)
    found += await object_findings(settings.objects, writes=not isinstance(settings, StreamSettings))
    if isinstance(settings, ControlSettings):
        from vault.cli.restore_check import restore_findings  # noqa: PLC0415 - no other role may load a share store

        found += await restore_findings(settings)
    return found


async def database_findings(name: str, url: str, schema: Schema) -> list[Finding]:
    """Whether a database answers, with the schema of this release."""
    try:
        file = sqlite_file(url)
    except SettingsError as error:
        return [wrong(name, str(error), "correct the URL")]
    if file is not None and not file.exists():
        return [note(name, f"{file} is not there yet", "the control role makes it at first start")]
    database = open_database(url)
    try:
        async with asyncio.timeout(TIMEOUT_S):
            await require_current(database, schema)
    except UnknownSchema as error:
        return [wrong(name, str(error), "start the control role of the newest release that you run")]
    except (DatabaseUnavailable, TimeoutError) as error:
        return [
            down(
                name, str(error) or "does not answer in time", "start it, or correct its URL and credentials"
            )
        ]
    finally:
        await database.aclose()
    return [ok(name, "answers, with the schema of this release")]


async def redis_findings(settings: CommonSettings) -> list[Finding]:
    """Whether Redis answers, and whether its clock agrees with ours."""
    name = "Redis"
    absent = note(name, "the embedded Valkey does not run now", "it runs while `replayvault serve` does")
    client = connect_redis(settings.redis)
    try:
        before_s = time.time()
        async with asyncio.timeout(TIMEOUT_S):
            seconds, micros = cast("tuple[int, int]", await client.time())
        now_s = (before_s + time.time()) / 2
        lists = await breaker_finding(SharedBreaker(client))
    except (RedisError, OSError, TimeoutError) as error:
        if settings.embedded_redis:
            return [absent]
        return [
            down(
                name,
                f"does not answer ({type(error).__name__})",
                "start it, or correct REPLAYVAULT_REDIS_URL",
            )
        ]
    finally:
        await client.aclose()
    return [ok(name, "answers"), clock_finding(seconds + micros / 1e6 - now_s), lists]


async def breaker_finding(shared: SharedBreaker) -> Finding:
    """Whether lists are stopped."""
    name = "listing breaker"
    try:
        record = await shared.read()
    except UnreadableRecord:
        return wrong(
            name,
            "what Redis says of it cannot be read; no list is answered",
            "find out who wrote it, then: replayvault breaker close --reason …",
        )
    except BreakerUnavailable as error:
        return down(name, str(error), "see what is wrong with Redis: meanwhile no list is answered")
    if record is None or not record.is_open:
        return ok(name, "is closed: lists are answered")
    opening = record.opening
    return wrong(
        name,
        f"is open: {opening.count} in {opening.place} by release {opening.release}; no list is answered",
        "find out why (replayvault audit tail), then: replayvault breaker close --reason …",
    )


def clock_finding(skew_s: float) -> Finding:
    """What a difference to Redis's clock means: sessions are minted by one host and judged by another."""
    says = f"differs by {abs(skew_s):.1f} s from the clock of Redis"
    if abs(skew_s) > CLOCK_SKEW_S:
        return wrong(
            "clock", says, "sessions begin too early or end too late: run a time service on both hosts"
        )
    if abs(skew_s) > _NOTABLE_SKEW_S:
        return note("clock", says, "run a time service on both hosts")
    return ok("clock", says)


async def object_findings(address: str, *, writes: bool) -> list[Finding]:
    """Whether the object store can be used, and (where this role writes) never overwrites what stands there."""
    name = "object store"
    try:
        location = parse_location(address)
    except StoreMisconfigured as error:
        return [wrong(name, str(error), "correct REPLAYVAULT_OBJECTS_URL")]
    if isinstance(location, FolderLocation) and not await asyncio.to_thread(location.path.exists):
        return [note(name, f"{location.path} is not there yet", "it is made when it is first needed")]
    store = make_store(location)
    try:
        async with asyncio.timeout(TIMEOUT_S):
            await store.probe()
            found = [ok(name, "answers")]
            return [*found, await _overwriting(store, location)] if writes else found
    except (StoreMisconfigured, StoreRefused) as error:
        return [wrong(name, str(error), "check the bucket, the credentials and their rights")]
    except (StoreUnavailable, TimeoutError) as error:
        return [down(name, str(error) or "does not answer in time", "start it, or correct its address")]
    finally:
        with contextlib.suppress(ObjectsError):
            await store.aclose()


async def _overwriting(store: ObjectStore, location: FolderLocation | S3Location) -> Finding:
    name = ObjectName(new_recording_id(), new_file_id())
    try:
        await _write(store, name)
        try:
            await _write(store, name)
        except ObjectExists:
            return _kept(location)
        return wrong("object store writes", "an existing object was overwritten", _OVERWRITES)
    except StoreRefused as error:
        return wrong("object store writes", f"a new object is refused: {error}", _OVERWRITES)
    finally:
        await store.delete((name,))


def _kept(location: FolderLocation | S3Location) -> Finding:
    if isinstance(location, S3Location) and not location.conditional_writes:
        says = "existing objects are looked for before an upload; the service itself would overwrite them"
        return note("object store writes", says, "prefer a service that knows If-None-Match on uploads")
    return ok("object store writes", "what stands is never overwritten")


async def _write(store: ObjectStore, name: ObjectName) -> None:
    upload = await store.create(name)
    try:
        await upload.part(os.urandom(HEADER_BYTES))
        await upload.complete()
    except BaseException:
        await upload.abort()
        raise
