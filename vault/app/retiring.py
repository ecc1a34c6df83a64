"""What an operator's command asks of the keeper of the master key about old versions, and does at once.

Invariants: looking asks for no key to be opened; what is brought back is on the audit log first, and its job ended
before, so that nothing destroys it meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from keys.errors import NoSuchKey, NotRetirable
from keys.halves import MasterPlace
from keys.master.protocol import CURRENT_STAYS, MasterVersion
from vault.app.audited import operator_log
from vault.app.databases import opened_catalog
from vault.app.ground import utc_now
from vault.app.master import open_master
from vault.audit.entry import Action, Decision, Event
from vault.catalog import key_jobs
from vault.catalog.key_jobs import JobId, JobKind
from vault.rotation.approval import require_second
from vault.rotation.retire_master_job import require_unneeded
from vault.settings import ControlSettings


@dataclass(frozen=True, slots=True)
class MasterStanding:
    """A version of the current keeper's key, and all that there are of it."""

    place: MasterPlace
    versions: Sequence[MasterVersion]


async def master_standing(settings: ControlSettings, version: int) -> MasterStanding:
    """How a version stands; raises `NoSuchKey` where there is none, or `NotRetirable` for a keeper without any."""
    master = open_master(settings)
    if not master.can_retire:
        await master.retire(version)  # says why
    versions = await master.versions()
    if version not in {each.number for each in versions}:
        there = ", ".join(str(each.number) for each in versions)
        raise NoSuchKey(f"the master key has no version {version}: it has {there}")
    return MasterStanding(MasterPlace(master.provider, master.key_name, version), versions)


async def require_retirable(settings: ControlSettings, standing: MasterStanding) -> None:
    """Raises `NotRetirable`, or `StillNeeded` while a half stands under it."""
    if standing.place.key_version == standing.versions[-1].number:
        raise NotRetirable(CURRENT_STAYS)
    async with opened_catalog(settings) as catalog:
        await require_unneeded(catalog, standing.place)


async def bring_back(settings: ControlSettings, standing: MasterStanding, *, by: str) -> None:
    """Bring every version back into use that is not destroyed, and end the job that would."""
    place, lowest = standing.place, standing.versions[0].number
    note = f"{place.provider} {place.key_name} from v{lowest}"
    async with opened_catalog(settings) as catalog:
        async with catalog.writing() as connection:
            for job_id in await key_jobs.unended(connection, JobKind.RETIRE_MASTER):
                await key_jobs.abort(connection, job_id, now=utc_now())
        await _tell(settings, Action.MASTER_RESTORE, by, note)
        await open_master(settings).restore(lowest)


async def approve(settings: ControlSettings, job_id: JobId, *, by: str) -> None:
    """Let a job begin that waits for a second person.

    Raises `UnknownJob`, `WrongState`, or `SecondNeeded` where that is the one who asked.
    """
    async with opened_catalog(settings) as catalog:
        async with catalog.reading() as connection:
            job = await key_jobs.find(connection, job_id)
        require_second(job.requested_by, by)
        await _tell(settings, Action.KEY_APPROVE, by, f"job {job_id} {job.kind.value}")
        async with catalog.writing() as connection:
            await key_jobs.approve(connection, job_id, by=by, now=utc_now())


async def _tell(settings: ControlSettings, action: Action, by: str, note: str) -> None:
    async with operator_log(settings, clock=utc_now) as audit:
        await audit.write(Event(action=action, decision=Decision.ALLOW, actor=by, note=note))
