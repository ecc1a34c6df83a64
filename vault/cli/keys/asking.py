"""Asking for a job on keys: at what pace, in which part of the day, and whether to stay until it ends."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import click

from keys.ids import parse_patient, parse_tenant
from vault.app.databases import opened_catalog
from vault.app.ground import utc_now
from vault.catalog.key_job_states import JobState
from vault.catalog.key_jobs import JobKind, JobRow
from vault.catalog.rotation import Scope
from vault.cli.exits import Exit
from vault.cli.guards import Guard
from vault.cli.job_progress import exit_of_job, watched
from vault.cli.output import emit, pairs, say
from vault.cli.person import operator_name
from vault.cli.recorded import recorded_catalog
from vault.rotation import asking
from vault.rotation.asking import Plan, document_of
from vault.settings import AllSettings

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast, when, and whether to wait for the end."""

    rate_per_s: float | None
    hours: str | None
    wait: bool


def paced(command: Callable[..., R]) -> Callable[..., R]:
    """Give a command `--rate`, `--hours` and `--wait`."""
    options = (
        click.option(
            "--rate", "rate", type=click.FloatRange(min=0.01), help="At most so many items a second."
        ),
        click.option("--hours", help="Only in this part of the day, in UTC: 22:00-06:00."),
        click.option("--wait", is_flag=True, help="Stay until it is done; exit code 5 where items failed."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def ask_for(settings: AllSettings, job: JobRow, *, wait: bool, as_json: bool) -> None:
    """Write a job down, stay for its end where that is wanted, and leave with its exit code."""
    asyncio.run(_ask(settings, job))
    if wait:
        job = asyncio.run(watched(settings, job.job_id, shown=not as_json))
    emit(
        document_of(job, now=utc_now()),
        as_json=as_json,
        people=lambda: say(_told(job)),
    )
    sys.exit(int(exit_of_job(job) if wait else Exit.OK))


def _told(job: JobRow) -> str:
    verb = "approve" if job.state is JobState.AWAITING else "watch"
    return f"job {job.job_id} is {job.state.value}: replayvault jobs {verb} {job.job_id}"


def parse_scope(tenant: str | None, patient: str | None) -> Scope:
    """Whose keys; raises `MalformedId`, or `click.UsageError` for a patient without a tenant."""
    if patient is not None and tenant is None:
        raise click.UsageError("--patient needs --tenant")
    return Scope(
        None if tenant is None else parse_tenant(tenant),
        None if patient is None else parse_patient(patient),
    )


def new_job(
    settings: AllSettings,
    kind: JobKind,
    scope: Scope,
    pace: Pace,
    *,
    options: Mapping[str, Any] | None = None,
) -> JobRow:
    """A job that an operator asks for now; raises `MalformedHours`."""
    return asking.new_job(
        kind,
        scope,
        by=operator_name(),
        now=utc_now(),
        rate_per_s=pace.rate_per_s,
        hours=pace.hours,
        options=options,
        two_persons=settings.two_persons,
    )


def plan_of(settings: AllSettings, job: JobRow) -> Plan:
    """What a job would do."""

    async def planned() -> Plan:
        async with opened_catalog(settings) as catalog, catalog.reading() as connection:
            return await asking.plan_of(connection, job)

    return asyncio.run(planned())


def ask_for_master(guard: Guard, settings: AllSettings, kind: JobKind, pace: Pace, *, as_json: bool) -> None:
    """Wrap patient keys anew, after a question; or only say how many that would be."""
    job = new_job(settings, kind, Scope(), pace)
    plan = plan_of(settings, job)
    if guard.dry_run:
        emit({"would_rewrap": plan}, as_json=as_json, people=lambda: pairs(*plan.items()))
        return
    guard.ask("rotate", about=f"{plan['patient keys']} patient keys are wrapped anew.")
    ask_for(settings, job, wait=pace.wait, as_json=as_json)


async def _ask(settings: AllSettings, job: JobRow) -> None:
    event = asking.event_of(job, "asked for", actor=job.requested_by)
    async with recorded_catalog(settings) as (catalog, audit), catalog.writing() as connection:
        await asking.ask(connection, job)
        await audit.write(event)
