"""Does what answers a leak, step by step: whoever calls again goes on where it stopped, and does nothing twice.

Works on the catalog alone; the control role does the jobs.

Invariants:
- a step is on the audit log before it holds; what is a job is asked for in the transaction that writes the step down;
- of two calls that begin the same step at once, one does, and the other sees what that one began;
- the next step begins once the one before it is done; a job that failed in part stops the answer.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from keys.database import Database
from keys.ids import TenantId
from vault.audit.entry import Action, Decision, Event
from vault.audit.log import AuditLog
from vault.catalog import compromises, key_jobs, recordings, registry, service_tokens
from vault.catalog.compromises import BegunStep, Compromise
from vault.catalog.errors import UnknownToken
from vault.catalog.key_job_states import JobState
from vault.catalog.key_jobs import JobKind, JobRow
from vault.catalog.rotation import Scope
from vault.rotation import asking
from vault.rotation.answers import JOBS, PlannedStep, Verb, steps_for
from vault.rotation.renewal_job import GRACE

_KINDS: Final = {
    Verb.ROTATE_MASTER: JobKind.MASTER,
    Verb.ROTATE_PATIENTS: JobKind.PATIENT,
    Verb.REENCRYPT: JobKind.REENCRYPT,
}


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a step is; `job` is its job where it has one."""

    step: PlannedStep
    begun: BegunStep | None
    job: JobRow | None

    @property
    def is_done(self) -> bool:
        """Whether it is done, as far as this release does it."""
        return self.begun is not None and self.begun.done_at is not None


@dataclass(frozen=True, slots=True)
class Answering:
    """Answers one declared leak."""

    catalog: Database
    audit: AuditLog
    clock: Callable[[], dt.datetime]
    by: str
    request: str = ""

    async def begin_next(self, compromise: Compromise) -> Standing | None:
        """Begin the next step, or look at the one that goes on; None where all are done.

        Steps by hand are passed over. Raises `WrongState` while another job of the same kind and scope goes on,
        `DatabaseUnavailable` or `AuditUnavailable`.
        """
        for standing in await standings(self.catalog, compromise):
            if standing.is_done or standing.step.is_by_hand:
                continue
            if standing.job is not None and standing.job.state is JobState.DONE:
                async with self.catalog.writing() as connection:
                    name = standing.step.verb.value
                    await compromises.end_step(connection, compromise.compromise_id, name, now=self.clock())
                continue
            if standing.job is None or standing.job.state is JobState.ABORTED:
                return await self._begin(compromise, standing)
            return standing
        async with self.catalog.writing() as connection:
            await compromises.answer(connection, compromise.compromise_id, now=self.clock())
        return None

    async def _begin(self, compromise: Compromise, seen: Standing) -> Standing:
        """Begin a step that was `seen` to be due; where another call was first, what that one began."""
        step, leak_id = seen.step, compromise.compromise_id
        async with self.catalog.writing() as connection:
            await compromises.hold(connection, leak_id)
            found = (await compromises.steps_of(connection, leak_id)).get(step.verb.value)
            if found is not None and found != seen.begun:
                job = None if found.job_id is None else await key_jobs.find(connection, found.job_id)
                return Standing(step, found, job)
            job = await self._do(connection, compromise, step.verb)
            job_id = None if job is None else job.job_id
            await compromises.begin_step(
                connection, leak_id, step.verb.value, job_id=job_id, now=self.clock(), is_done=job is None
            )
            await self.audit.write(_event(compromise, step, actor=self.by, request=self.request))
        return Standing(step, BegunStep(step.verb.value, job_id, None), job)

    async def _do(self, connection: AsyncConnection, compromise: Compromise, verb: Verb) -> JobRow | None:
        """Do what is done at once, or ask for the job that does it."""
        if verb in JOBS:
            job = self._job(compromise, _KINDS[verb])
            await asking.ask(connection, job)
            return job
        if verb is Verb.REVOKE_TOKEN and compromise.token_id is not None:
            await self._revoke(connection, compromise.token_id)
        if verb is Verb.END_SESSIONS:
            await self._end_sessions(connection, compromise)
        return None

    def _job(self, compromise: Compromise, kind: JobKind) -> JobRow:
        """What a step asks for. What the old keys sealed goes at once: sessions read on in the new objects."""
        scope = Scope() if kind is JobKind.MASTER else Scope(compromise.tenant, compromise.patient)
        renews = kind is JobKind.REENCRYPT
        options = {GRACE: 0} if renews else None
        job = asking.new_job(kind, scope, by=self.by, now=self.clock(), options=options)
        return replace(job, recording_id=compromise.recording_id if renews else None)

    async def _revoke(self, connection: AsyncConnection, token_id: uuid.UUID) -> None:
        tokens = {row.token_id: row for row in await service_tokens.every(connection)}
        if token_id not in tokens:
            raise UnknownToken("no such service token: `replayvault tokens ls` shows those there are")
        if tokens[token_id].revoked_at is None:
            await service_tokens.revoke(connection, token_id, now=self.clock())

    async def _end_sessions(self, connection: AsyncConnection, compromise: Compromise) -> None:
        """End sessions and tickets: in the registry, and by the epoch, which is all that a reader asks for."""
        named = compromise.tenant
        tenants = [named] if named is not None else await registry.tenants(connection)
        for tenant in tenants:
            await self._end_of(connection, compromise, tenant)

    async def _end_of(self, connection: AsyncConnection, compromise: Compromise, tenant: TenantId) -> None:
        await recordings.raise_epoch(connection, tenant, compromise.patient)
        if compromise.patient is None:
            await registry.revoke_tenant(connection, tenant, now=self.clock())
        else:
            await registry.revoke_patient(connection, tenant, compromise.patient, now=self.clock())


async def standings(catalog: Database, compromise: Compromise) -> tuple[Standing, ...]:
    """Every step of the answer to a leak, in order, and how far it is."""
    async with catalog.reading() as connection:
        begun = await compromises.steps_of(connection, compromise.compromise_id)
        found = []
        for step in steps_for(compromise):
            one = begun.get(step.verb.value)
            job = None if one is None or one.job_id is None else await key_jobs.find(connection, one.job_id)
            found.append(Standing(step, one, job))
    return tuple(found)


def _event(compromise: Compromise, step: PlannedStep, *, actor: str, request: str) -> Event:
    return Event(
        action=Action.COMPROMISE_STEP,
        decision=Decision.ALLOW,
        actor=actor,
        request=request,
        recording="" if compromise.recording_id is None else str(compromise.recording_id),
        note=f"{compromise.leak.value} {compromise.compromise_id}: {step.verb.value}",
    )
