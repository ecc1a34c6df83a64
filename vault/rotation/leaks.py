"""Leaks as command line and API declare and show them: what narrows each, whose it is, and its document.

Invariants: a leak is narrowed by exactly what its kind needs; one of a recording or token is its tenant's, one of
master key, vault or tier secret is everybody's; declaring is on the audit log, and changes nothing else.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncConnection

from keys.ids import PatientRef, RecordingId, TenantId
from vault.audit.entry import Action, Decision, Event
from vault.catalog import recordings, service_tokens
from vault.catalog.compromises import Compromise, CompromiseId, Leak
from vault.catalog.errors import UnknownPatient, UnknownToken
from vault.rotation.answering import Standing
from vault.rotation.answers import PlannedStep
from vault.rotation.errors import WronglyNarrowed

NEEDS: Final[Mapping[Leak, tuple[str, ...]]] = {
    Leak.MASTER: ("version",),
    Leak.VAULT: (),
    Leak.PATIENT: ("tenant", "patient"),
    Leak.RECORDING: ("recording",),
    Leak.TIER: (),
    Leak.TOKEN: ("token_id",),
}
CONCERN_ALL: Final = frozenset({Leak.MASTER, Leak.VAULT, Leak.TIER})


def new_leak(
    leak: Leak,
    *,
    reason: str,
    by: str,
    now: dt.datetime,
    tenant: TenantId | None = None,
    patient: PatientRef | None = None,
    recording: RecordingId | None = None,
    token_id: uuid.UUID | None = None,
    version: int | None = None,
) -> Compromise:
    """A leak that `by` declares, not written down yet; raises `WronglyNarrowed`."""
    given = {
        "tenant": tenant,
        "patient": patient,
        "recording": recording,
        "token_id": token_id,
        "version": version,
    }
    if {name for name, value in given.items() if value is not None} != set(NEEDS[leak]):
        raise WronglyNarrowed(NEEDS[leak])
    return Compromise(
        compromise_id=CompromiseId(uuid.uuid4()),
        leak=leak,
        reason=reason,
        declared_by=by,
        declared_at=now,
        tenant=tenant,
        patient=patient,
        recording_id=recording,
        token_id=token_id,
        master_version=version,
    )


async def owned(connection: AsyncConnection, declared: Compromise) -> Compromise:
    """What was declared, whose it is filled in; raises `UnknownPatient`, `UnknownRecording` or `UnknownToken`."""
    if declared.tenant is not None and declared.patient is not None:
        if await recordings.patient_epoch(connection, declared.tenant, declared.patient) is None:
            raise UnknownPatient("the tenant has no such patient: nothing was ever announced for one")
        return declared
    if declared.recording_id is not None:
        row = await recordings.by_id(connection, declared.recording_id)
        return replace(declared, tenant=row.tenant)
    if declared.token_id is None:
        return declared
    for token in await service_tokens.every(connection):
        if token.token_id == declared.token_id:
            return replace(declared, tenant=token.tenant)
    raise UnknownToken("no such service token: `replayvault tokens ls` shows those there are")


def event_of(declared: Compromise, *, actor: str, request: str = "") -> Event:
    """What the audit log says of somebody who declared a leak."""
    return Event(
        action=Action.COMPROMISE_DECLARE,
        decision=Decision.ALLOW,
        actor=actor,
        recording="" if declared.recording_id is None else str(declared.recording_id),
        request=request,
        note=f"{declared.leak.value} {declared.compromise_id}: {declared.reason}",
    )


def document_of(declared: Compromise) -> dict[str, Any]:
    """A leak as plain values, for JSON and for people."""
    return {
        "id": str(declared.compromise_id),
        "leak": declared.leak.value,
        "tenant": declared.tenant,
        "patient": declared.patient,
        "recording": None if declared.recording_id is None else str(declared.recording_id),
        "token_id": None if declared.token_id is None else str(declared.token_id),
        "version": declared.master_version,
        "reason": declared.reason,
        "declared_by": declared.declared_by,
        "declared_at": declared.declared_at,
        "answered_at": declared.answered_at,
    }


def plan_document_of(declared: Compromise, steps: tuple[Standing, ...]) -> dict[str, Any]:
    """A leak and the steps that answer it, as far as they are."""
    return document_of(declared) | {
        "steps": [
            step_document_of(each.step)
            | {"state": state_of(each), "job": None if each.job is None else str(each.job.job_id)}
            for each in steps
        ]
    }


def step_document_of(step: PlannedStep) -> dict[str, Any]:
    """A step that nobody began."""
    return {
        "step": step.verb.value,
        "state": "by hand" if step.is_by_hand else "to do",
        "against": step.against,
        "command": step.command,
        "job": None,
    }


def state_of(standing: Standing) -> str:
    """How far a step is, in a word or two."""
    if standing.step.is_by_hand:
        return "by hand"
    if standing.is_done:
        return "done"
    return "to do" if standing.job is None else standing.job.state.value
