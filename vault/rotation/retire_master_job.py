"""The job that takes old versions of the master key out of use, waits, and destroys them.

Invariants:
- nothing is retired while a half stands under it, and the first few that do are named; a half that turns up while it
  waits, from a process that was slow, brings the versions back into use;
- nothing is destroyed before the soak is over, nor after somebody brought it back;
- each step is on the audit log first.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from keys import halves
from keys.database import Database
from keys.errors import NoSuchKey, NotRetirable
from keys.halves import MasterPlace
from keys.master.protocol import Master
from vault.audit.entry import Action, Decision, Event
from vault.audit.log import AuditLog
from vault.catalog import key_jobs
from vault.catalog.key_jobs import JobClaim, JobRow
from vault.rotation.errors import StillNeeded
from vault.rotation.retire_job import approved
from vault.rotation.turns import Turn

NAMED: Final = 5
_LOOK_AGAIN: Final = dt.timedelta(minutes=1)
_RETIRED, _TRIMMED = "retired@", "trimmed"


@dataclass(frozen=True, slots=True)
class RetireMasterTurns:
    """Turns of such a job. `options` has `provider`, `key`, `version` and `soak_s`, seconds.

    Its cursor is `retired@TIME` while it waits, and `trimmed` afterwards.
    """

    catalog: Database
    master: Master
    audit: AuditLog
    job: JobRow
    held: JobClaim
    clock: Callable[[], dt.datetime]

    @property
    def _place(self) -> MasterPlace:
        options = self.job.options
        return MasterPlace(options["provider"], options["key"], options["version"])

    async def count(self) -> int:
        """One: the versions go together."""
        return 1

    async def turn(self, cursor: str | None) -> Turn:
        """Retire; look again, or destroy where it is time; end."""
        place = self._place
        if cursor == _TRIMMED:
            return Turn(handled=0, cursor=None, is_end=True)
        if (place.provider, place.key_name) != (self.master.provider, self.master.key_name):
            return await self._failed("OTHER_KEEPER", f"{place.provider} {place.key_name}")
        try:
            if cursor is None:
                return await self._retire(place)
            return await self._soak(place, dt.datetime.fromisoformat(cursor.removeprefix(_RETIRED)))
        except (NoSuchKey, NotRetirable) as refused:
            return await self._failed(type(refused).__name__, _item(place))

    async def _retire(self, place: MasterPlace) -> Turn:
        if await self._is_needed(place):
            return await self._named(place)
        await self._tell(Action.MASTER_RETIRE, place)
        await self._still_held()
        await self.master.retire(place.key_version)
        # A process that was slow may have stored a half between the census and here.
        if await self._is_needed(place):
            return await self._brought_back(place)
        return Turn(handled=0, cursor=f"{_RETIRED}{self.clock().isoformat()}")

    async def _soak(self, place: MasterPlace, since: dt.datetime) -> Turn:
        state = {each.number: each.is_retired for each in await self.master.versions()}
        if not state.get(place.key_version, True):
            return await self._failed("BROUGHT_BACK", _item(place))
        if await self._is_needed(place):
            return await self._brought_back(place)
        until = since + dt.timedelta(seconds=self.job.options["soak_s"])
        if self.clock() < until:
            return Turn(
                handled=0,
                cursor=f"{_RETIRED}{since.isoformat()}",
                again_at=min(self.clock() + _LOOK_AGAIN, until),
                note=f"out of use, and destroyed at {until:%Y-%m-%d %H:%M} UTC: --undo brings it back",
            )
        await self._tell(Action.MASTER_TRIM, place)
        await self._still_held()
        await self.master.trim(place.key_version)
        async with self.catalog.writing() as connection:
            await key_jobs.report(connection, self.held, now=self.clock(), done=1, cursor=_TRIMMED)
        return Turn(handled=1, cursor=_TRIMMED)

    async def _brought_back(self, place: MasterPlace) -> Turn:
        await self._tell(Action.MASTER_RESTORE, place)
        await self.master.restore((await self.master.versions())[0].number)
        return await self._named(place)

    async def _still_held(self) -> None:
        """The last look before the keeper is asked for something: nobody aborted the job meanwhile."""
        async with self.catalog.writing() as connection:
            await key_jobs.report(connection, self.held, now=self.clock())

    async def _is_needed(self, place: MasterPlace) -> bool:
        async with self.catalog.reading() as connection:
            return bool(await halves.some_up_to(connection, place, limit=1))

    async def _named(self, place: MasterPlace) -> Turn:
        async with self.catalog.reading() as connection:
            named = await halves.some_up_to(connection, place, limit=NAMED)
        return await self._failed("STILL_UNDER_IT", *(str(each) for each in named))

    async def _failed(self, code: str, *items: str) -> Turn:
        async with self.catalog.writing() as connection:
            now = self.clock()
            await key_jobs.report(connection, self.held, now=now)
            for item in items:
                await key_jobs.fail_item(connection, self.job.job_id, item, code=code, now=now)
        return Turn(handled=0, cursor=None, is_end=True)

    async def _tell(self, action: Action, place: MasterPlace) -> None:
        note = approved(f"job {self.job.job_id}: {_item(place)}", self.job)
        await self.audit.write(
            Event(action=action, decision=Decision.ALLOW, actor=self.job.requested_by, note=note)
        )


def options_of(place: MasterPlace, soak: dt.timedelta) -> dict[str, Any]:
    """The options of such a job."""
    return {
        "provider": place.provider,
        "key": place.key_name,
        "version": place.key_version,
        "soak_s": int(soak.total_seconds()),
    }


async def require_unneeded(catalog: Database, place: MasterPlace) -> None:
    """Raises `StillNeeded` while a half stands under this version or one before it, naming the first few."""
    async with catalog.reading() as connection:
        count = await halves.count_up_to(connection, place)
        named = await halves.some_up_to(connection, place, limit=NAMED)
    if count:
        first = ", ".join(str(each) for each in named)
        raise StillNeeded(
            f"{count} patient keys stand under version {place.key_version} or one before it ({first}): "
            "bring them under the current one with `replayvault keys rewrap`"
        )


def _item(place: MasterPlace) -> str:
    return f"{place.provider} {place.key_name} up to v{place.key_version}"
