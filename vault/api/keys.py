"""Keys as an administrator's tool sees them: status, census, what is due, and jobs that rotate.

Invariants: a token acts on its own tenant's patients and jobs; what concerns every tenant needs a token of the house;
another tenant's job is answered as one that is not there; each change is on the audit log, with the token that made it,
before it holds.
"""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncConnection

from keys.ids import PatientRef, RecordingId, parse_patient, parse_tenant, parse_uuid
from keys.strongroom import Strongroom
from vault.api import key_models as models
from vault.api.auth import Service
from vault.api.binding import AnyRoute, Call, Route
from vault.api.middleware import request_id
from vault.api.problems import Code, Problem
from vault.api.tenancy import KEYS, OWN_ALONE, own_tenant, require_house, require_own
from vault.audit.entry import Action, Event
from vault.audit.log import AuditLog
from vault.catalog import key_jobs
from vault.catalog.errors import WrongState
from vault.catalog.key_jobs import JobId, JobKind, JobRow
from vault.catalog.rotation import Scope
from vault.objects.store import ObjectStore
from vault.rotation import asking
from vault.rotation.approval import require_second
from vault.rotation.asking import OFFERS, document_of, error_document_of
from vault.rotation.errors import SecondNeeded
from vault.rotation.renewal_job import GRACE
from vault.survey.due import Bounds, Surveyor
from vault.survey.sample import Sampler
from vault.survey.status import status

_ERRORS: Final = 100
# Jobs are done one after the other: a tenant's tool that runs wild shall not fill the line.
MOST_UNDER_WAY: Final = 20
# A request looks at so many pages of patients, and says where that was not all of them.
_BOUNDS: Final = Bounds(named=100, pages=20)

Change = Callable[[AsyncConnection, JobId, dt.datetime], Awaitable[None]]


async def _pause(connection: AsyncConnection, job_id: JobId, now: dt.datetime) -> None:
    del now
    await key_jobs.pause(connection, job_id)


async def _resume(connection: AsyncConnection, job_id: JobId, now: dt.datetime) -> None:
    await key_jobs.resume(connection, job_id, now=now)


async def _retry(connection: AsyncConnection, job_id: JobId, now: dt.datetime) -> None:
    await key_jobs.retry(connection, job_id, now=now)


async def _abort(connection: AsyncConnection, job_id: JobId, now: dt.datetime) -> None:
    await key_jobs.abort(connection, job_id, now=now)


CHANGES: Final[Mapping[str, tuple[Change, str]]] = {
    "pause": (_pause, "Stop a job after its current step"),
    "resume": (_resume, "Go on with a paused job"),
    "retry": (_retry, "Try again what failed in a job that ended incomplete"),
    "abort": (_abort, "End a job where it stands; it cannot be resumed"),
}


@dataclass(frozen=True, slots=True)
class KeysApi:
    """Handlers of keys and key jobs."""

    strongroom: Strongroom
    surveyor: Surveyor
    store: ObjectStore
    audit: AuditLog
    clock: Callable[[], dt.datetime]
    two_persons: bool

    async def status(self, call: Call[Service, None, None]) -> models.KeysStatus:
        """How many keys there are."""
        async with self.strongroom.catalog.reading() as connection:
            return models.KeysStatus(**await status(connection, tenant=own_tenant(call)))

    async def census(self, call: Call[Service, models.CensusQuery, None]) -> models.CensusView:
        """The same, and a sample of objects."""
        tenant = own_tenant(call)
        async with self.strongroom.catalog.reading() as connection:
            counted = await status(connection, tenant=tenant)
        sample = await Sampler(self.strongroom.catalog, self.store, tenant).look(call.query.sample)
        return models.CensusView(**counted, sample=sample.document())

    async def due(self, call: Call[Service, None, None]) -> models.DueView:
        """What is past its time."""
        found = await self.surveyor.due(now=self.clock(), tenant=own_tenant(call), bounds=_BOUNDS)
        return models.DueView(**found)

    async def ask(self, call: Call[Service, None, models.NewKeyJob]) -> models.JobView | models.JobPlan:
        """Ask for a job, or for what it would do."""
        body = call.body
        job = asking.new_job(
            body.kind,
            _scope(call),
            by=call.principal.actor,
            now=self.clock(),
            rate_per_s=body.rate_per_s,
            hours=body.hours,
            options=None if body.grace_s is None else {GRACE: body.grace_s},
            two_persons=self.two_persons,
        )
        if body.recording is not None:
            job = await self._of_recording(call, job, RecordingId(body.recording))
        if body.dry_run:
            async with self.strongroom.catalog.reading() as connection:
                return models.JobPlan(kind=body.kind, would=await asking.plan_of(connection, job))
        event = await self._event(call, job, "asked for")
        try:
            async with self.strongroom.catalog.writing() as connection:
                await self._require_room(connection, call)
                await asking.ask(connection, job)
                await self.audit.write(event)
        except WrongState:
            raise Problem(Code.CONFLICT, detail="Such a job is under way already.") from None
        return self._view(job)

    async def _of_recording(
        self, call: Call[Service, Any, Any], job: JobRow, recording_id: RecordingId
    ) -> JobRow:
        """The job, narrowed to a recording; another tenant's is not there, and asking for it is on record."""
        async with self.strongroom.catalog.reading() as connection:
            narrowed = await asking.of_recording(connection, job, recording_id)
        await require_own(
            self.audit,
            call,
            narrowed.tenant,
            action=Action.KEY_JOB,
            note=f"{job.kind.value} asked for",
            recording=str(recording_id),
        )
        return narrowed

    async def _require_room(self, connection: AsyncConnection, call: Call[Service, Any, Any]) -> None:
        own = own_tenant(call)
        if own is not None and await key_jobs.count_under_way(connection, own) >= MOST_UNDER_WAY:
            detail = (
                f"{MOST_UNDER_WAY} jobs are under way: wait until one ends, or ask for one on every patient."
            )
            raise Problem(Code.TOO_MANY_REQUESTS, detail=detail, retry_after_s=60)

    async def list(self, call: Call[Service, models.JobsQuery, None]) -> models.JobList:
        """Jobs, the latest first."""
        async with self.strongroom.catalog.reading() as connection:
            jobs = await key_jobs.latest(connection, limit=call.query.limit, tenant=own_tenant(call))
        return models.JobList(jobs=tuple(map(self._view, jobs)))

    async def show(self, call: Call[Service, None, None]) -> models.JobDetail:
        """One job, and what failed in it."""
        async with self.strongroom.catalog.reading() as connection:
            job = await self._find(connection, call, "show")
            errors = await key_jobs.errors_of(connection, job.job_id, limit=_ERRORS)
        return models.JobDetail(
            **document_of(job, now=self.clock()), errors=[error_document_of(each) for each in errors]
        )

    async def change(self, call: Call[Service, None, None], *, verb: str) -> models.JobView:
        """Pause, resume, retry or abort a job."""
        change, _ = CHANGES[verb]
        catalog = self.strongroom.catalog
        async with catalog.reading() as connection:
            job = await self._find(connection, call, verb)
        event = await self._event(call, job, verb)
        try:
            async with catalog.writing() as connection:
                await change(connection, job.job_id, self.clock())
                await self.audit.write(event)
                return self._view(await key_jobs.find(connection, job.job_id))
        except WrongState:
            raise Problem(Code.CONFLICT, detail=f"The job is not in a state to {verb} it in.") from None

    async def approve(self, call: Call[Service, None, None]) -> models.JobView:
        """Let a job begin that waits for a second person: for another token than the one that asked."""
        catalog, by = self.strongroom.catalog, call.principal.actor
        async with catalog.reading() as connection:
            job = await self._find(connection, call, "approve")
        event = await self._event(call, job, "approve")
        try:
            require_second(job.requested_by, by)
            async with catalog.writing() as connection:
                await key_jobs.approve(connection, job.job_id, by=by, now=self.clock())
                await self.audit.write(replace(event, action=Action.KEY_APPROVE))
                return self._view(await key_jobs.find(connection, job.job_id))
        except SecondNeeded:
            raise Problem(Code.CONFLICT, detail="Another token than the one that asked has to.") from None
        except WrongState:
            raise Problem(Code.CONFLICT, detail="The job does not wait for an approval.") from None

    async def _find(self, connection: AsyncConnection, call: Call[Service, None, None], verb: str) -> JobRow:
        """The job in the path; another tenant's is not there, and asking for it is on record."""
        job_id = JobId(call.parsed("job_id", by=parse_uuid))
        job = await key_jobs.find(connection, job_id)
        note = f"job {job_id} {verb}"
        await require_own(self.audit, call, job.tenant, action=Action.KEY_JOB, note=note)
        return job

    async def _event(self, call: Call[Service, Any, Any], job: JobRow, word: str) -> Event:
        pseudonym = ""
        if job.tenant is not None and job.patient is not None:
            pseudonym = await self.strongroom.pseudonym(job.tenant, job.patient)
        return asking.event_of(
            job,
            word,
            actor=call.principal.actor,
            patient=pseudonym,
            request=request_id(call.request),
        )

    def _view(self, job: JobRow) -> models.JobView:
        return models.JobView(**document_of(job, now=self.clock()))

    def routes(self) -> tuple[AnyRoute, ...]:
        """The rows of keys and key jobs."""
        away = (Code.UNAVAILABLE,)
        one = "/v1/keys/jobs/{job_id}"
        changes: tuple[AnyRoute, ...] = tuple(
            Route(
                method="POST",
                path=f"{one}/{verb}",
                handler=functools.partial(self.change, verb=verb),
                access=KEYS,
                summary=summary,
                answers={200: models.JobView},
                problems=(Code.NOT_FOUND, Code.CONFLICT, *away),
            )
            for verb, (_, summary) in CHANGES.items()
        )
        return (
            Route(
                method="GET",
                path="/v1/keys",
                handler=self.status,
                access=KEYS,
                summary="How many keys there are, and how much stands under them",
                answers={200: models.KeysStatus},
                problems=away,
            ),
            Route(
                method="GET",
                path="/v1/keys/census",
                handler=self.census,
                access=KEYS,
                summary="The same, and whether the objects of random recordings are what the catalog says",
                query=models.CensusQuery,
                answers={200: models.CensusView},
                problems=(Code.INVALID_QUERY, *away),
            ),
            Route(
                method="GET",
                path="/v1/keys/due",
                handler=self.due,
                access=KEYS,
                summary="Keys that are past their time, and patients past their retention",
                answers={200: models.DueView},
                problems=away,
            ),
            Route(
                method="POST",
                path="/v1/keys/jobs",
                handler=self.ask,
                access=KEYS,
                summary="Ask for a job on keys, or with dry_run for what it would do",
                body=models.NewKeyJob,
                answers={201: models.JobView, 200: models.JobPlan},
                problems=(Code.NOT_FOUND, Code.CONFLICT, Code.TOO_MANY_REQUESTS, *away),
            ),
            Route(
                method="GET",
                path="/v1/keys/jobs",
                handler=self.list,
                access=KEYS,
                summary="Jobs on keys, the latest first",
                query=models.JobsQuery,
                answers={200: models.JobList},
                problems=(Code.INVALID_QUERY, *away),
            ),
            Route(
                method="GET",
                path=one,
                handler=self.show,
                access=KEYS,
                summary="How far a job is, and what failed in it",
                answers={200: models.JobDetail},
                problems=(Code.NOT_FOUND, *away),
            ),
            Route(
                method="POST",
                path=f"{one}/approve",
                handler=self.approve,
                access=KEYS,
                summary="Let a job begin that another token asked for and that waits for a second person",
                answers={200: models.JobView},
                problems=(Code.NOT_FOUND, Code.CONFLICT, *away),
            ),
            *changes,
        )


def _scope(call: Call[Service, None, models.NewKeyJob]) -> Scope:
    """What a body may mean by the token that came with it; raises `Problem`."""
    own, body = own_tenant(call), call.body
    asked = None if body.tenant is None else parse_tenant(body.tenant)
    patient: PatientRef | None = None if body.patient is None else parse_patient(body.patient)
    if body.kind not in OFFERS:
        raise Problem(Code.INVALID_BODY, detail="This kind of job is asked for at the command line.")
    is_narrowed = body.recording is not None or body.grace_s is not None
    if is_narrowed and body.kind is not JobKind.REENCRYPT:
        raise Problem(Code.INVALID_BODY, detail="Only `reencrypt` takes a recording or a grace.")
    if body.recording is not None and (asked is not None or patient is not None):
        raise Problem(Code.INVALID_BODY, detail="A recording is named alone: it is of one tenant.")
    if OFFERS[body.kind].is_for_all:
        require_house(call, "This kind of job concerns every tenant: use a token of the house.")
        if asked is not None or patient is not None:
            raise Problem(
                Code.INVALID_BODY, detail="This kind of job cannot be narrowed to a tenant or patient."
            )
    if own is not None and asked not in {None, own}:
        raise Problem(Code.FORBIDDEN, detail=OWN_ALONE)
    tenant = own or asked
    if patient is not None and tenant is None:
        raise Problem(Code.INVALID_BODY, detail="A patient needs a tenant.")
    return Scope(tenant, patient)
