"""A new tier secret under running replicas: no session fails, nothing is hurried, and a killed command goes on."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import datetime as dt
import os
import random
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from keys.database import open_database
from keys.errors import MasterUnusable, NoSuchKey
from keys.records import Kind, Token, open_record, sealed_under
from keys.tier import (
    TierRotation,
    add_tier,
    create_tier_file,
    drop_tier,
    load_tier_file,
    seal_with_newest,
    tier_ids,
    written_at,
)
from tests.adversary.press import pressing
from tests.adversary.replica import StreamServer
from tests.rotation.test_traffic import TTL_S, Viewer
from tests.servers import ValkeyServer
from tests.world import App, Engine, World, embedded_settings, open_world
from vault.app.ground import utc_now
from vault.redis_client import connect_redis
from vault.sessions.errors import TierConflict
from vault.sessions.records import RecordStore
from vault.sessions.replicas import Replicas
from vault.sessions.tier_rotation import TierDesk, TierStanding, TierStep

S = TierStep
# Runs the command, and is gone in the moment in which it has changed a first file.
_MORTAL = """
import os
import keys.tier as tier
from pathlib import Path
def dies(change):
    def changed(*given, **named):
        change(*given, **named)
        os._exit(9)
    return changed
tier.change_private_file = dies(tier.change_private_file)
tier.create_private_file = dies(tier.create_private_file)
tier.TierRotation.end = dies(tier.TierRotation.end)
from vault.cli import main
main()
"""


@pytest.fixture
async def desk(world: World) -> AsyncIterator[TierDesk]:
    """An operator beside a running world."""
    catalog = await asyncio.to_thread(open_database, world.settings.catalog)
    redis = connect_redis(world.settings.redis)
    yield TierDesk(world.settings.tier_file, catalog, redis, None, utc_now)
    await redis.aclose()
    await catalog.aclose()


class FarHost(StreamServer):
    """A replica with a copy of the tier secret file, which somebody has to bring up to date."""

    def bring(self, path: Path) -> None:
        """Copy the file."""
        shutil.copy2(path, self.told["REPLAYVAULT_TIER_SECRET_FILE"])

    async def lists_for(self, *apps: App) -> bool:
        """Whether all of these are served here."""
        answers = [await app.send("GET", f"{self.url}/v1/recordings") for app in apps]
        return {each.status for each in answers} == {200}


async def until(desk: TierDesk, *steps: TierStep, within_s: float = 60.0) -> TierStanding:
    """Go on until one of these is reached."""
    async with asyncio.timeout(within_s):
        while True:
            standing = await desk.advance()
            if standing.step in steps:
                return standing
            await asyncio.sleep(0.3)


async def record_of(desk: TierDesk, app: App) -> tuple[Token, bytes]:
    """A session's token and its record."""
    token = Token.parse(str(app.token), kind=Kind.SESSION)
    record = await RecordStore(desk.redis).find(token.record_id)
    assert record is not None
    return token, record


@contextlib.asynccontextmanager
async def watched(world: World) -> AsyncIterator[list[Viewer]]:
    """Six apps of a patient that list, play, seek and refresh for the length of the block."""
    over = asyncio.Event()
    async with pressing(world) as press:
        clinic = await world.backend("clinic")
        films = tuple([await press.publish(clinic, "ann", title=f"Film {number}") for number in range(2)])
        viewers = [
            Viewer(await clinic.sign_in("ann", ttl_s=TTL_S), films, random.Random(number), pause_s=1.0)  # noqa: S311
            for number in range(6)
        ]
        watching = [asyncio.create_task(viewer.watch(over)) for viewer in viewers]
        try:
            yield viewers
        finally:
            over.set()
            await asyncio.gather(*watching)


async def test_nobody_notices_and_the_old_secret_opens_nothing(world: World, desk: TierDesk) -> None:
    clinic = await world.backend("clinic")
    [old] = await asyncio.to_thread(tier_ids, desk.path)
    far = FarHost(world)
    await asyncio.to_thread(far.start)
    try:
        async with watched(world) as viewers:
            before = await clinic.sign_in("ann", ttl_s=TTL_S)
            dumped = await record_of(desk, before)
            await until(desk, S.OPENING)
            await asyncio.sleep(3)
            standing = await desk.advance()
            assert (standing.step, standing.ids[0], len(standing.replicas)) == (S.OPENING, old, 3)
            between = await clinic.sign_in("ann", ttl_s=TTL_S)
            assert sealed_under((await record_of(desk, between))[1]) == old
            await asyncio.to_thread(far.bring, desk.path)
            new = (await until(desk, S.SEALING)).ids[0]
            await asyncio.to_thread(far.bring, desk.path)
            standing = await until(desk, S.LIVING_OUT)
            after = await clinic.sign_in("ann", ttl_s=600)
            assert sealed_under((await record_of(desk, after))[1]) == new != old
            assert {(await app.get("/v1/recordings")).status for app in (before, between, after)} == {200}
            assert await far.lists_for(before, between, after)
            assert standing.left > 0
            assert standing.until is not None
            await until(desk, S.NONE)
    finally:
        await asyncio.to_thread(far.close)
    assert [viewer.wrong for viewer in viewers] == [[] for _ in viewers]
    assert min(viewer.refreshes for viewer in viewers) > 0
    assert await asyncio.to_thread(tier_ids, desk.path) == (new,)
    with pytest.raises(NoSuchKey):
        open_record(*dumped, await asyncio.to_thread(load_tier_file, desk.path))
    # An old dump is brought back into Redis.
    await RecordStore(desk.redis).put(dumped[0].record_id, dumped[1], ttl_s=60)
    assert (await before.get("/v1/recordings")).status == 401
    assert (await after.get("/v1/recordings")).status == 200


async def test_a_replica_that_lacks_the_new_secret_holds_the_switch_up(desk: TierDesk) -> None:
    replicas = Replicas(desk.redis)
    [old] = await asyncio.to_thread(tier_ids, desk.path)
    await replicas.tell("stream-far", [old])
    await until(desk, S.OPENING)
    await asyncio.sleep(2.5)
    standing = await desk.advance()
    assert (standing.step, standing.ids[0]) == (S.OPENING, old)
    new = standing.ids[1]
    await replicas.tell("stream-far", [old, new])
    assert (await until(desk, S.SEALING)).ids == (new, old)
    await asyncio.sleep(2.5)
    assert (await desk.advance()).step is S.SEALING
    await replicas.leave("stream-far")
    assert (await until(desk, S.NONE)).ids == (new,)


async def test_a_service_that_does_not_run_is_no_proof(desk: TierDesk, tmp_path: Path) -> None:
    alone = tmp_path / "alone.secret"
    await asyncio.to_thread(create_tier_file, alone)
    elsewhere = TierDesk(alone, desk.catalog, desk.redis, None, utc_now)
    assert (await elsewhere.advance()).step is S.OPENING  # those that run hold another file
    for name in await Replicas(desk.redis).living():
        await Replicas(desk.redis).leave(name)
    assert (await elsewhere.advance()).step is S.OPENING


async def test_a_command_that_is_killed_after_each_change_goes_on(tmp_path: Path) -> None:
    async with open_world(Engine.EMBEDDED, embedded_settings(tmp_path / "data")) as world:
        path = world.settings.tier_file
        [old] = await asyncio.to_thread(tier_ids, path)
        environment = {**os.environ, "REPLAYVAULT_DATA_DIR": str(world.settings.data_dir)}
        command = ["replayvault", "keys", "rotate", "tier-secret", "--yes", "--wait", "--json"]
        ends: list[int] = []
        while len(ends) < 6:
            done = await asyncio.to_thread(
                subprocess.run,
                [sys.executable, "-c", _MORTAL, *command[1:]],
                env=environment,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            ends.append(done.returncode)
            assert done.returncode == 9, done.stderr
        [new] = await asyncio.to_thread(tier_ids, path)
        assert new != old
        assert await asyncio.to_thread(TierRotation.read, path) is None
        steps = [each["note"].split(":")[0] for each in world.audit() if each["action"] == "tier.rotate"]
        assert steps == ["add", "switch", "drop", "end"]


def test_a_file_is_as_old_as_its_youngest_secret(tmp_path: Path) -> None:
    path = tmp_path / "tier.secret"
    create_tier_file(path)
    [old] = tier_ids(path)
    age(path)
    made = written_at(path)
    add_tier(path, after=old)
    added = written_at(path)
    assert made is not None
    assert added is not None
    assert added - made > dt.timedelta(minutes=30)
    age(path)
    added = written_at(path)
    add_tier(path, after=old)  # there are two already
    seal_with_newest(path, old=old)
    drop_tier(path, old=old)
    assert old not in tier_ids(path)
    assert written_at(path) == added


def age(path: Path) -> None:
    """Make a file an hour older."""
    hour_ago_s = path.stat().st_mtime - 3600
    os.utime(path, (hour_ago_s, hour_ago_s))


@dataclasses.dataclass(frozen=True, slots=True)
class Told:
    """What became of a file since its secret leaked, and what the replicas hold, by what the file holds then."""

    name: str
    since_the_leak: Callable[[Path, str], object]
    replicas: Callable[[tuple[str, ...]], dict[str, tuple[str, ...]]]
    is_sealed_anew: bool = False


def replaced(path: Path, old: str) -> None:
    begun(path, old)
    seal_with_newest(path, old=old)
    drop_tier(path, old=old)
    TierRotation(old).end(path)


def begun(path: Path, old: str) -> None:
    TierRotation.begin(path)
    add_tier(path, after=old)


def ended(path: Path, old: str) -> None:
    """A rotation that was begun before the leak: whoever saw the file then has both secrets."""
    begun(path, old)
    age(path)
    seal_with_newest(path, old=old)
    drop_tier(path, old=old)
    TierRotation(old).end(path)


TOLD = (
    Told("all seal with a younger one", replaced, lambda held: {"a": held, "b": held}, is_sealed_anew=True),
    Told("nothing was done", lambda *_: None, lambda held: {"a": held}),
    Told("one seals with another", replaced, lambda held: {"a": held, "b": ("f" * 16, *held)}),
    Told("nobody tells", replaced, lambda _: {}),
    Told("begun, and the old one seals", begun, lambda held: {"a": held}),
    Told("ended, and begun before", ended, lambda held: {"a": held}),
)


@pytest.mark.parametrize("told", TOLD, ids=lambda told: told.name)
async def test_what_counts_as_sealed_anew(valkey_server: ValkeyServer, tmp_path: Path, told: Told) -> None:
    await asyncio.to_thread(valkey_server.flush)
    path = tmp_path / "tier.secret"
    await asyncio.to_thread(create_tier_file, path)
    await asyncio.to_thread(age, path)
    [old] = await asyncio.to_thread(tier_ids, path)
    leaked_at = utc_now() - dt.timedelta(minutes=1)
    await asyncio.to_thread(told.since_the_leak, path, old)
    catalog = await asyncio.to_thread(open_database, f"sqlite+aiosqlite:///{tmp_path}/not-asked.sqlite")
    redis = connect_redis(valkey_server.tcp_url)
    try:
        for name, held in told.replicas(await asyncio.to_thread(tier_ids, path)).items():
            await Replicas(redis).tell(name, held)
        with contextlib.nullcontext() if told.is_sealed_anew else pytest.raises(TierConflict):
            await TierDesk(path, catalog, redis, None, utc_now).require_sealed_anew(leaked_at)
    finally:
        await redis.aclose()
        await catalog.aclose()


def test_a_file_with_two_secrets_of_unknown_order_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "tier.secret"
    create_tier_file(path)
    create_tier_file(tmp_path / "more")
    with path.open("ab") as file:
        file.write((tmp_path / "more").read_bytes())
    with pytest.raises(MasterUnusable, match="no rotation was begun here"):
        TierRotation.begin(path)
