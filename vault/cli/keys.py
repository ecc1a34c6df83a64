"""`replayvault keys`: which keys there are, what stands under them, and new ones in their place.

Works on the catalog itself, as `replayvault tokens` does; the control role does the work.
"""

from __future__ import annotations

import asyncio
import sys
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from keys import halves
from keys.database import Database
from keys.ids import parse_patient, parse_tenant
from vault.app.ground import utc_now
from vault.catalog import key_jobs, rotation
from vault.catalog.key_job_states import JobState
from vault.catalog.key_jobs import JobId, JobKind, JobRow
from vault.catalog.rotation import Scope
from vault.cli.databases import opened_catalog
from vault.cli.examples import ExampledGroup
from vault.cli.exits import Exit, sentences
from vault.cli.ground import data_dir_option, operator_settings
from vault.cli.guards import Guard, guarded
from vault.cli.job_progress import document_of, exit_of_job, watched
from vault.cli.output import emit, json_option, pairs, say, table
from vault.rotation.hours import Hours
from vault.settings import AllSettings

R = TypeVar("R")


@click.group(
    cls=ExampledGroup,
    examples=("replayvault keys status", "replayvault keys rotate patient --dry-run"),
)
def keys() -> None:
    """Master keys, patient keys and what stands under them.

    Rotating replaces the key that wraps, and leaves recordings as they are: for hygiene, for staff who left, for a
    move to another keeper of the master key. It does not help against whoever copied a key while it was in use.
    """


@keys.command("status", examples=("replayvault keys status", "replayvault keys status --json"))
@json_option
@data_dir_option
def status(data_dir: Path | None, *, as_json: bool) -> None:
    """Count keys: patient keys under each version of each master key, and recordings under patient keys."""
    with sentences():
        document = asyncio.run(_status(operator_settings(data_dir=data_dir)))
        emit(document, as_json=as_json, people=lambda: _show_status(document))


@keys.group(
    "rotate",
    cls=ExampledGroup,
    examples=("replayvault keys rotate master", "replayvault keys rotate patient --tenant clinic"),
)
def rotate() -> None:
    """Make a new key, and bring what stood under the old one under it. No session and no stream notices."""


@dataclass(frozen=True, slots=True)
class _Pace:
    rate_per_s: float | None
    hours: str | None
    wait: bool


def _paced(command: Callable[..., R]) -> Callable[..., R]:
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


@rotate.command(
    "patient",
    examples=(
        "replayvault keys rotate patient --dry-run",
        "replayvault keys rotate patient --tenant clinic --hours 22:00-06:00 --rate 200",
        "replayvault keys rotate patient --tenant clinic --patient p-17 --yes --wait",
    ),
)
@click.option("--tenant", help="Only this tenant's patients.")
@click.option("--patient", help="Only this patient; needs --tenant.")
@_paced
@json_option
@data_dir_option
@guarded
def patient(
    guard: Guard,
    *,
    tenant: str | None,
    patient: str | None,
    rate: float | None,
    hours: str | None,
    wait: bool,
    data_dir: Path | None,
    as_json: bool,
) -> None:
    """Give patients a new key, and wrap their recordings' keys under it.

    It waits, for each patient, until every live session carries the new key: fifteen minutes with the usual sessions.
    """
    if patient is not None and tenant is None:
        raise click.UsageError("--patient needs --tenant")
    with sentences():
        scope = Scope(
            None if tenant is None else parse_tenant(tenant),
            None if patient is None else parse_patient(patient),
        )
        settings = operator_settings(data_dir=data_dir)
        plan = asyncio.run(_patient_plan(settings, scope))
        if guard.dry_run:
            emit({"would_rotate": plan}, as_json=as_json, people=lambda: pairs(*plan.items()))
            return
        guard.ask("rotate", about=f"{plan['patients']} patients get a new key.")
        _start(settings, JobKind.PATIENT, scope, _Pace(rate, _hours(hours), wait), as_json=as_json)


@rotate.command(
    "master",
    examples=("replayvault keys rotate master --dry-run", "replayvault keys rotate master --yes --wait"),
)
@_paced
@json_option
@data_dir_option
@guarded
def master(
    guard: Guard,
    *,
    rate: float | None,
    hours: str | None,
    wait: bool,
    data_dir: Path | None,
    as_json: bool,
) -> None:
    """Make a new version of the master key, and wrap every patient key under it. The old version stays."""
    _rewrap(guard, JobKind.MASTER, data_dir, _Pace(rate, hours, wait), as_json=as_json)


@keys.command(
    "rewrap", examples=("replayvault keys rewrap --dry-run", "replayvault keys rewrap --yes --wait")
)
@_paced
@json_option
@data_dir_option
@guarded
def rewrap(
    guard: Guard,
    *,
    rate: float | None,
    hours: str | None,
    wait: bool,
    data_dir: Path | None,
    as_json: bool,
) -> None:
    """Wrap every patient key under the master key's current version, without making a new one.

    Also how they move from a former keeper of the master key to the current one.
    """
    _rewrap(guard, JobKind.REWRAP, data_dir, _Pace(rate, hours, wait), as_json=as_json)


def _rewrap(guard: Guard, kind: JobKind, data_dir: Path | None, pace: _Pace, *, as_json: bool) -> None:
    with sentences():
        settings = operator_settings(data_dir=data_dir)
        plan = asyncio.run(_master_plan(settings, kind))
        if guard.dry_run:
            emit({"would_rewrap": plan}, as_json=as_json, people=lambda: pairs(*plan.items()))
            return
        guard.ask("rotate", about=f"{plan['patient keys']} patient keys are wrapped anew.")
        _start(
            settings, kind, Scope(), _Pace(pace.rate_per_s, _hours(pace.hours), pace.wait), as_json=as_json
        )


def _hours(text: str | None) -> str | None:
    return None if text is None else str(Hours.parse(text))


def _start(settings: AllSettings, kind: JobKind, scope: Scope, pace: _Pace, *, as_json: bool) -> None:
    job = asyncio.run(_ask(settings, kind, scope, pace))
    if pace.wait:
        job = asyncio.run(watched(settings, job.job_id, shown=not as_json))
    emit(
        document_of(job),
        as_json=as_json,
        people=lambda: say(f"job {job.job_id} is {job.state.value}: replayvault jobs watch {job.job_id}"),
    )
    sys.exit(int(exit_of_job(job) if pace.wait else Exit.OK))


async def _ask(settings: AllSettings, kind: JobKind, scope: Scope, pace: _Pace) -> JobRow:
    async with opened_catalog(settings) as catalog:
        job = JobRow(
            job_id=JobId(uuid.uuid4()),
            kind=kind,
            state=JobState.QUEUED,
            tenant=scope.tenant,
            patient=scope.patient,
            base_version=await _newest_version(catalog),
            requested_by="operator",
            requested_at=utc_now(),
            rate_per_s=pace.rate_per_s,
            hours=pace.hours,
        )
        async with catalog.writing() as connection:
            await key_jobs.ask(connection, job)
        return job


async def _newest_version(catalog: Database) -> int:
    """The newest version that anything stands under: whoever finds that one current has to make the next."""
    async with catalog.reading() as connection:
        return max((each.place.key_version for each in await halves.census(connection)), default=0)


async def _patient_plan(settings: AllSettings, scope: Scope) -> dict[str, Any]:
    async with opened_catalog(settings) as catalog, catalog.reading() as connection:
        patients = await rotation.count_unrotated(connection, scope, requested_at=utc_now())
        wraps = await rotation.count_wraps(connection, scope)
    # One call wraps the new half; two unwrap the old and the new one, to move what stands under the old one.
    return {"patients": patients, "recordings": wraps, "calls to the master key": 3 * patients}


async def _master_plan(settings: AllSettings, kind: JobKind) -> dict[str, Any]:
    async with opened_catalog(settings) as catalog, catalog.reading() as connection:
        under = await halves.census(connection)
    versions = {f"{e.place.provider} {e.place.key_name} v{e.place.key_version}": e.count for e in under}
    return {
        "new version": kind is JobKind.MASTER,
        "patient keys": sum(each.count for each in under),
        **versions,
    }


async def _status(settings: AllSettings) -> dict[str, Any]:
    async with opened_catalog(settings) as catalog, catalog.reading() as connection:
        under = await halves.census(connection)
        states = await rotation.census(connection)
    return {
        "master": [
            {
                "provider": each.place.provider,
                "key": each.place.key_name,
                "version": each.place.key_version,
                "patient_keys": each.count,
                "oldest": each.oldest_at,
            }
            for each in under
        ],
        "patient": [
            {"state": each.state, "keys": each.keys, "recordings": each.recordings} for each in states
        ],
    }


def _show_status(document: dict[str, Any]) -> None:
    rows = [
        [row[name] for name in ("provider", "key", "version", "patient_keys", "oldest")]
        for row in document["master"]
    ]
    table(("master key", "name", "version", "patient keys", "oldest"), rows)
    say("")
    table(("patient keys", "keys", "recordings"), [list(row.values()) for row in document["patient"]])
