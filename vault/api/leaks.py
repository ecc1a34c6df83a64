"""Leaks over HTTP: declared by a tenant's own tool or the house, answered step by step, each job by the control role.

Invariants: a leak of master key, vault or tier secret is declared and answered with a token of the house; another
tenant's leak, recording or token is answered as one that is not there; each change is on the audit log, with the token
that made it, before it holds; sessions end after a leak of the tier secret once every replica seals with a new one.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from keys.database import Database
from keys.ids import RecordingId, parse_uuid
from vault.api import key_models as models
from vault.api.auth import Service
from vault.api.binding import AnyRoute, Call, Route
from vault.api.middleware import request_id
from vault.api.problems import Code, Problem
from vault.api.tenancy import KEYS, own_tenant, require_house, require_own, whose
from vault.audit.entry import Action
from vault.audit.log import AuditLog
from vault.catalog import compromises
from vault.catalog.compromises import Compromise, CompromiseId, Leak
from vault.catalog.errors import UnknownPatient, UnknownToken, WrongState
from vault.catalog.key_job_states import JobState
from vault.rotation.answering import Answering, Standing, standings
from vault.rotation.answers import steps_for
from vault.rotation.errors import WronglyNarrowed
from vault.rotation.leaks import (
    CONCERN_ALL,
    document_of,
    event_of,
    new_leak,
    owned,
    plan_document_of,
    step_document_of,
)
from vault.sessions.errors import TierConflict
from vault.sessions.tier_rotation import TierDesk

# Each leak that is being answered has a job in the line.
MOST_UNANSWERED: Final = 20
_STOPPED: Final = {
    JobState.PAUSED: "The job of the current step is paused: resume it.",
    JobState.INCOMPLETE: "Items of the current step's job failed: mend them, and retry the job.",
    JobState.AWAITING: "The job of the current step waits for an approval.",
}


@dataclass(frozen=True, slots=True)
class LeaksApi:
    """Handlers of leaks."""

    catalog: Database
    audit: AuditLog
    tiers: TierDesk
    clock: Callable[[], dt.datetime]

    async def declare(self, call: Call[Service, None, models.NewLeak]) -> models.LeakPlan | models.LeakDraft:
        """Write a leak down, or only show what would answer it."""
        declared = await self._meant(call)
        if call.body.dry_run:
            steps = [step_document_of(each) for each in steps_for(declared)]
            return models.LeakDraft(leak=declared.leak, steps=steps)
        event = event_of(declared, actor=call.principal.actor, request=request_id(call.request))
        async with self.catalog.writing() as connection:
            own = own_tenant(call)
            if own is not None and await compromises.count_unanswered(connection, own) >= MOST_UNANSWERED:
                detail = f"{MOST_UNANSWERED} leaks are unanswered: answer one first, or ask the operator."
                raise Problem(Code.TOO_MANY_REQUESTS, detail=detail, retry_after_s=60)
            await compromises.declare(connection, declared)
            await self.audit.write(event)
        return await self._plan(declared)

    async def _meant(self, call: Call[Service, None, models.NewLeak]) -> Compromise:
        """What a body declares, by the token that came with it; raises `Problem` or `UnknownRecording`."""
        body = call.body
        if body.leak in CONCERN_ALL:
            require_house(call, "This leak concerns every tenant: use a token of the house.")
        tenant, patient = None, None
        if body.leak is Leak.PATIENT and body.patient is not None:
            tenant, patient = whose(call, body.tenant, body.patient)
        elif body.tenant is not None or body.patient is not None:
            raise Problem(Code.INVALID_BODY, detail="Only a leak of `patient` names a tenant or patient.")
        try:
            declared = new_leak(
                body.leak,
                reason=body.reason,
                by=call.principal.actor,
                now=self.clock(),
                tenant=tenant,
                patient=patient,
                recording=None if body.recording is None else RecordingId(body.recording),
                token_id=body.token_id,
                version=body.version,
            )
            async with self.catalog.reading() as connection:
                declared = await owned(connection, declared)
        except WronglyNarrowed as error:
            needs = " and ".join(f"`{name}`" for name in error.needs) or "nothing"
            raise Problem(Code.INVALID_BODY, detail=f"This leak is narrowed by {needs}.") from None
        except (UnknownPatient, UnknownToken):
            raise Problem(Code.NOT_FOUND) from None
        await self._require_own(call, declared, "declare")
        return declared

    async def list(self, call: Call[Service, models.LeaksQuery, None]) -> models.LeakList:
        """Leaks, the latest first."""
        async with self.catalog.reading() as connection:
            found = await compromises.latest(connection, limit=call.query.limit, tenant=own_tenant(call))
        return models.LeakList(compromises=[models.LeakView(**document_of(each)) for each in found])

    async def show(self, call: Call[Service, None, None]) -> models.LeakPlan:
        """One leak, and how far its answer is."""
        return await self._plan(await self._found(call, "show"))

    async def next(self, call: Call[Service, None, None]) -> models.LeakPlan:
        """Begin the next step of the answer; whoever calls again does nothing twice."""
        declared = await self._found(call, "next")
        if declared.leak is Leak.TIER:
            await self._require_other_tier(declared)
        answering = Answering(
            self.catalog, self.audit, self.clock, call.principal.actor, request_id(call.request)
        )
        try:
            standing = await answering.begin_next(declared)
        except WrongState:
            detail = "Another job of this kind and extent is under way: wait until it ends."
            raise Problem(Code.CONFLICT, detail=detail) from None
        except UnknownToken:
            raise Problem(Code.NOT_FOUND) from None
        _require_going(standing)
        return await self._plan(declared)

    async def _require_other_tier(self, declared: Compromise) -> None:
        """Raises `Problem`: sessions that end earlier are replaced by others under the secret that leaked."""
        try:
            await self.tiers.require_sealed_anew(declared.declared_at)
        except TierConflict:
            detail = "Rotate the tier secret first: sessions end once every replica seals with the new one."
            raise Problem(Code.CONFLICT, detail=detail) from None

    async def _found(self, call: Call[Service, None, None], verb: str) -> Compromise:
        """The leak in the path; another tenant's is not there, and asking for it is on record."""
        leak_id = CompromiseId(call.parsed("compromise_id", by=parse_uuid))
        async with self.catalog.reading() as connection:
            declared = await compromises.find(connection, leak_id)
        await self._require_own(call, declared, verb)
        return declared

    async def _require_own(self, call: Call[Service, Any, Any], declared: Compromise, verb: str) -> None:
        recording = "" if declared.recording_id is None else str(declared.recording_id)
        await require_own(
            self.audit,
            call,
            declared.tenant,
            action=Action.COMPROMISE_DECLARE if verb == "declare" else Action.COMPROMISE_STEP,
            note=f"{declared.leak.value} {declared.compromise_id} {verb}",
            recording=recording,
        )

    async def _plan(self, declared: Compromise) -> models.LeakPlan:
        async with self.catalog.reading() as connection:
            fresh = await compromises.find(connection, declared.compromise_id)
        return models.LeakPlan(**plan_document_of(fresh, await standings(self.catalog, fresh)))

    def routes(self) -> tuple[AnyRoute, ...]:
        """The rows of leaks."""
        every, one = "/v1/keys/compromises", "/v1/keys/compromises/{compromise_id}"
        away = (Code.UNAVAILABLE,)
        return (
            Route(
                method="POST",
                path=every,
                handler=self.declare,
                access=KEYS,
                summary="Declare that a key leaked, or with dry_run see what would answer it",
                body=models.NewLeak,
                answers={201: models.LeakPlan, 200: models.LeakDraft},
                problems=(Code.NOT_FOUND, Code.TOO_MANY_REQUESTS, *away),
            ),
            Route(
                method="GET",
                path=every,
                handler=self.list,
                access=KEYS,
                summary="Leaks that were declared, the latest first",
                query=models.LeaksQuery,
                answers={200: models.LeakList},
                problems=(Code.INVALID_QUERY, *away),
            ),
            Route(
                method="GET",
                path=one,
                handler=self.show,
                access=KEYS,
                summary="The steps that answer a leak, and how far they are",
                answers={200: models.LeakPlan},
                problems=(Code.NOT_FOUND, *away),
            ),
            Route(
                method="POST",
                path=f"{one}/next",
                handler=self.next,
                access=KEYS,
                summary="Begin the next step that answers a leak",
                answers={200: models.LeakPlan},
                problems=(Code.NOT_FOUND, Code.CONFLICT, *away),
            ),
        )


def _require_going(standing: Standing | None) -> None:
    """Raises `Problem` where the job of the current step does not go on by itself."""
    if standing is not None and standing.job is not None and standing.job.state in _STOPPED:
        raise Problem(Code.CONFLICT, detail=_STOPPED[standing.job.state])
