"""What rotates keys: a runner beside the control role, or by itself for as long as an operator's command runs."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence

import structlog

from keys.database import open_database
from keys.records import RecordId
from keys.shares import ShareStore
from keys.strongroom import Strongroom
from vault.app.ground import Ground, lay_ground, utc_now
from vault.app.master import open_master
from vault.catalog.key_jobs import JobClaim, JobRow
from vault.catalog.migrate import Schema, require_current
from vault.rotation.jobs import turns_of
from vault.rotation.runner import Runner
from vault.rotation.turns import Turns
from vault.sessions.errors import RecordsUnavailable
from vault.settings import ControlSettings

_log = structlog.get_logger("replayvault.rotation")


def make_runner(strongroom: Strongroom, ground: Ground, *, two_persons: bool) -> Runner:
    """A runner on a strongroom; with `two_persons` it destroys nothing that one person alone asked for."""

    async def drop(ended: Sequence[RecordId]) -> None:
        try:
            await ground.records.drop(ended)
        except RecordsUnavailable as error:
            _log.warning("ended sessions stay in Redis until they run out", reason=str(error))

    def turns(job: JobRow, held: JobClaim) -> Turns:
        return turns_of(
            job,
            held,
            strongroom=strongroom,
            store=ground.store,
            alarm=ground.alarm,
            clock=utc_now,
            drop=drop,
        )

    return Runner(strongroom.catalog, ground.audit, utc_now, turns, two_persons)


@contextlib.asynccontextmanager
async def rotating(settings: ControlSettings) -> AsyncIterator[Runner]:
    """A runner by itself, with the control role's secrets; raises as `lay_ground` and `require_current` do."""
    shares = open_database(settings.shares)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(shares.aclose)
        ground = await stack.enter_async_context(lay_ground(settings, role="keys"))
        await require_current(ground.catalog, Schema.CATALOG)
        await require_current(shares, Schema.SHARES)
        strongroom = Strongroom(ground.catalog, open_master(settings), ShareStore(shares))
        yield make_runner(strongroom, ground, two_persons=settings.two_persons)
