"""Asking for key jobs, by command line or API: what each kind would do, and the row that asks for it.

Invariants: a kind that stands in `OFFERS` can be asked for, planned and described everywhere; a plan reads the catalog
and nothing else; a job that is asked for is written down once, with the master key's version of that moment.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncConnection

from keys import halves
from keys.ids import RecordingId
from vault.audit.entry import Action, Decision, Event
from vault.catalog import key_jobs, recordings, renewals, retiring, rotation
from vault.catalog.key_job_states import JobState
from vault.catalog.key_jobs import JobError, JobId, JobKind, JobRow
from vault.catalog.renewals import Extent
from vault.catalog.rotation import Scope
from vault.rotation.approval import first_state
from vault.rotation.hours import Hours
from vault.rotation.retire_job import DEFAULT_SOAK, options_of

# What a job would do: words for people, and counts.
Plan = dict[str, int | bool]


@dataclass(frozen=True, slots=True)
class Offer:
    """One kind of job. `is_for_all`: it concerns every tenant, and cannot be narrowed to one.

    `options` are those of a job that is asked for without any.
    """

    plan: Callable[[AsyncConnection, JobRow], Awaitable[Plan]]
    is_for_all: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)


def new_job(
    kind: JobKind,
    scope: Scope,
    *,
    by: str,
    now: dt.datetime,
    rate_per_s: float | None = None,
    hours: str | None = None,
    options: Mapping[str, Any] | None = None,
    two_persons: bool = False,
) -> JobRow:
    """A job that `by` asks for, not written down yet; raises `MalformedHours`."""
    return JobRow(
        job_id=JobId(uuid.uuid4()),
        kind=kind,
        state=first_state(kind, two_persons=two_persons),
        tenant=scope.tenant,
        patient=scope.patient,
        base_version=None,
        requested_by=by,
        requested_at=now,
        options=options or (OFFERS[kind].options if kind in OFFERS else {}),
        rate_per_s=rate_per_s,
        hours=None if hours is None else str(Hours.parse(hours)),
    )


async def of_recording(connection: AsyncConnection, job: JobRow, recording_id: RecordingId) -> JobRow:
    """A job narrowed to one recording, and so to its tenant; raises `UnknownRecording`."""
    row = await recordings.by_id(connection, recording_id)
    return replace(job, tenant=row.tenant, recording_id=recording_id)


async def plan_of(connection: AsyncConnection, job: JobRow) -> Plan:
    """What a job would do."""
    return await OFFERS[job.kind].plan(connection, job)


async def ask(connection: AsyncConnection, job: JobRow) -> None:
    """Write a job down; raises `WrongState` while such a one is under way."""
    under = await halves.census(connection)
    # Whoever finds the newest version that anything stands under to be the current one has to make the next.
    newest = max((each.place.key_version for each in under), default=0)
    await key_jobs.ask(connection, replace(job, base_version=newest))


def event_of(job: JobRow, word: str, *, actor: str, patient: str = "", request: str = "") -> Event:
    """What the audit log says of somebody who asked for a job or changed it; `patient` is a pseudonym."""
    return Event(
        action=Action.KEY_JOB,
        decision=Decision.ALLOW,
        actor=actor,
        patient=patient,
        recording="" if job.recording_id is None else str(job.recording_id),
        request=request,
        note=f"job {job.job_id} {job.kind.value} {word}: {job.tenant or 'every tenant'}",
    )


def document_of(job: JobRow, *, now: dt.datetime) -> dict[str, Any]:
    """A job as plain values, for JSON and for people."""
    return {
        "id": str(job.job_id),
        "kind": job.kind.value,
        "state": job.state.value,
        "tenant": job.tenant,
        "patient": job.patient,
        "recording": None if job.recording_id is None else str(job.recording_id),
        "options": dict(job.options),
        "total": job.total,
        "done": job.done,
        "failed": job.failed,
        "skipped": job.skipped,
        "remaining_s": remaining_s(job, now=now),
        "rate_per_s": job.rate_per_s,
        "hours": job.hours,
        "note": job.note,
        "requested_by": job.requested_by,
        "requested_at": job.requested_at,
        "approved_by": job.approved_by,
        "started_at": job.started_at,
        "ended_at": job.ended_at,
    }


def error_document_of(error: JobError) -> dict[str, Any]:
    """An item that failed, as plain values."""
    return {"item": error.item, "code": error.code, "at": error.at}


def remaining_s(job: JobRow, *, now: dt.datetime) -> int | None:
    """About how long a running job still takes, at the pace it had so far; None where nobody can tell."""
    if job.state is not JobState.RUNNING or job.total is None or job.started_at is None:
        return None
    handled = job.done + job.failed + job.skipped
    if handled == 0:
        return None
    left = max(job.total - handled, 0)
    return round((now - job.started_at).total_seconds() * left / handled)


async def _patient_plan(connection: AsyncConnection, job: JobRow) -> Plan:
    scope = Scope(job.tenant, job.patient)
    patients = await rotation.count_unrotated(connection, scope, requested_at=job.requested_at)
    wraps = await rotation.count_wraps(connection, scope)
    # One call wraps the new half; two unwrap the old and the new one, to move what stands under the old one.
    return {"patients": patients, "recordings": wraps, "calls to the master key": 3 * patients}


async def _master_plan(connection: AsyncConnection, job: JobRow) -> Plan:
    under = await halves.census(connection)
    versions = {f"{e.place.provider} {e.place.key_name} v{e.place.key_version}": e.count for e in under}
    return {
        "new version": job.kind is JobKind.MASTER,
        "patient keys": sum(each.count for each in under),
        **versions,
    }


async def _retire_plan(connection: AsyncConnection, job: JobRow) -> Plan:
    before = job.requested_at - dt.timedelta(seconds=job.options["soak_s"])
    found = await retiring.count_draining(connection, Scope(job.tenant, job.patient), before=before)
    return {"keys": found.due, "not long enough": found.soaking, "that still seal": found.sealing}


async def _renewal_plan(connection: AsyncConnection, job: JobRow) -> Plan:
    extent = Extent(job.tenant, job.patient, job.recording_id)
    found = await renewals.count_due(connection, extent, requested_at=job.requested_at)
    return {
        "recordings": found.recordings,
        "objects": found.objects,
        "that wait until they are processed": found.in_flight,
    }


OFFERS: Final[Mapping[JobKind, Offer]] = {
    JobKind.PATIENT: Offer(_patient_plan),
    JobKind.MASTER: Offer(_master_plan, is_for_all=True),
    JobKind.REWRAP: Offer(_master_plan, is_for_all=True),
    JobKind.RETIRE: Offer(_retire_plan, options=options_of(DEFAULT_SOAK)),
    JobKind.REENCRYPT: Offer(_renewal_plan),
}
