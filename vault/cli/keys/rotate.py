"""`replayvault keys rotate`: a new key in the place of an old one."""

from __future__ import annotations

from pathlib import Path

import click

from keys.ids import parse_patient, parse_tenant
from vault.catalog.key_jobs import JobKind
from vault.catalog.rotation import Scope
from vault.cli.examples import ExampledGroup
from vault.cli.exits import sentences
from vault.cli.ground import data_dir_option, operator_settings
from vault.cli.guards import Guard, guarded
from vault.cli.keys.asking import Pace, ask_for, ask_for_master, new_job, paced, plan_of
from vault.cli.output import emit, json_option, pairs


@click.group(
    cls=ExampledGroup,
    examples=("replayvault keys rotate master", "replayvault keys rotate patient --tenant clinic"),
)
def rotate() -> None:
    """Make a new key, and bring what stood under the old one under it. No session and no stream notices."""


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
@paced
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
        job = new_job(JobKind.PATIENT, scope, Pace(rate, hours, wait))
        plan = plan_of(settings, job)
        if guard.dry_run:
            emit({"would_rotate": plan}, as_json=as_json, people=lambda: pairs(*plan.items()))
            return
        guard.ask("rotate", about=f"{plan['patients']} patients get a new key.")
        ask_for(settings, job, wait=wait, as_json=as_json)


@rotate.command(
    "master",
    examples=("replayvault keys rotate master --dry-run", "replayvault keys rotate master --yes --wait"),
)
@paced
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
    with sentences():
        settings = operator_settings(data_dir=data_dir)
        ask_for_master(guard, settings, JobKind.MASTER, Pace(rate, hours, wait), as_json=as_json)
