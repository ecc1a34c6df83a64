"""`replayvault keys retire`: old keys are destroyed, once nothing stands under them any more."""

from __future__ import annotations

import asyncio
import datetime as dt
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from vault.app.databases import opened_catalog
from vault.app.ground import utc_now
from vault.catalog import retiring
from vault.catalog.key_jobs import JobKind
from vault.catalog.rotation import Scope
from vault.cli.examples import ExampledGroup
from vault.cli.exits import sentences
from vault.cli.ground import data_dir_option, operator_settings
from vault.cli.guards import Guard, guarded
from vault.cli.keys.asking import Pace, ask_for, new_job, paced, parse_scope
from vault.cli.output import emit, json_option, pairs, say
from vault.cli.person import operator_name
from vault.cli.words import DURATION
from vault.logs import silence_logs
from vault.rotation import retire_job, retire_master_job
from vault.settings import AllSettings

if TYPE_CHECKING:
    from vault.app.retiring import MasterStanding


def _soak(_context: click.Context, _option: click.Parameter, given: dt.timedelta) -> dt.timedelta:
    if given < retire_job.LEAST_SOAK:
        raise click.BadParameter(
            "wait for an hour at least: what began with the key in hand has to end first"
        )
    return given


_soak_option: Final = click.option(
    "--soak",
    type=DURATION,
    default="7d",
    show_default=True,
    callback=_soak,
    help="How long nobody needed it before it is destroyed; 1h at least.",
)


@click.group(
    cls=ExampledGroup,
    examples=("replayvault keys retire patient --dry-run", "replayvault keys retire master --version 1"),
)
def retire() -> None:
    """Destroy old keys once nothing stands under them. What is still needed is named and left."""


@retire.command(
    "patient",
    examples=(
        "replayvault keys retire patient --dry-run",
        "replayvault keys retire patient --tenant clinic --soak 30d",
    ),
)
@click.option("--tenant", help="Only this tenant's patients.")
@click.option("--patient", help="Only this patient; needs --tenant.")
@_soak_option
@paced
@json_option
@data_dir_option
@guarded
def patient(
    guard: Guard,
    *,
    tenant: str | None,
    patient: str | None,
    soak: dt.timedelta,
    rate: float | None,
    hours: str | None,
    wait: bool,
    data_dir: Path | None,
    as_json: bool,
) -> None:
    """Destroy patient keys that a rotation replaced and that were handed out to nobody for so long.

    A key that still seals a recording, or that a live session may carry, is named and left: exit code 5 with --wait.
    """
    with sentences():
        scope = parse_scope(tenant, patient)
        settings = operator_settings(data_dir=data_dir)
        job = new_job(
            settings, JobKind.RETIRE, scope, Pace(rate, hours, wait), options=retire_job.options_of(soak)
        )
        plan = asyncio.run(_patient_plan(settings, scope, soak))
        if guard.dry_run:
            emit({"would_retire": plan}, as_json=as_json, people=lambda: pairs(*plan.items()))
            return
        guard.ask("retire", about=f"{plan['patient keys']} patient keys are destroyed for good.")
        ask_for(settings, job, wait=wait, as_json=as_json)


@retire.command(
    "master",
    examples=(
        "replayvault keys retire master --version 1 --dry-run",
        "replayvault keys retire master --version 1 --soak 30d",
        "replayvault keys retire master --version 1 --undo",
    ),
)
@click.option(
    "--version",
    "version",
    type=click.IntRange(min=1),
    required=True,
    help="This version and those before it.",
)
@click.option("--undo", is_flag=True, help="Bring back what is not destroyed yet.")
@_soak_option
@json_option
@data_dir_option
@guarded
def master(
    guard: Guard,
    *,
    version: int,
    undo: bool,
    soak: dt.timedelta,
    data_dir: Path | None,
    as_json: bool,
) -> None:
    """Take old versions of the master key out of use, and destroy them when the soak is over.

    Refused while a patient key stands under one of them. Backups of the catalog from before the last rotation need the
    old version: soak for as long as you keep those.
    """
    with sentences():
        silence_logs()
        settings = operator_settings(data_dir=data_dir)
        from vault.app import retiring as desk  # noqa: PLC0415 - only this command needs the master key

        standing = asyncio.run(desk.master_standing(settings, version))
        if undo:
            _undo(guard, settings, standing, as_json=as_json)
            return
        asyncio.run(desk.require_retirable(settings, standing))
        plan = {**_plan(standing), "destroyed after": f"{soak.total_seconds() / 86400:g} days"}
        if guard.dry_run:
            emit({"would_retire": plan}, as_json=as_json, people=lambda: pairs(*plan.items()))
            return
        guard.ask(
            "retire", about=f"Versions up to {version} open nothing from now on; --undo brings them back."
        )
        options = retire_master_job.options_of(standing.place, soak)
        job = new_job(settings, JobKind.RETIRE_MASTER, Scope(), Pace(None, None, wait=False), options=options)
        ask_for(settings, job, wait=False, as_json=as_json)


def _undo(guard: Guard, settings: AllSettings, standing: MasterStanding, *, as_json: bool) -> None:
    from vault.app import retiring as desk  # noqa: PLC0415 - as above

    back = [each.number for each in standing.versions if each.is_retired]
    if guard.dry_run:
        emit({"would_restore": back}, as_json=as_json, people=lambda: say(f"versions {back} come back"))
        sys.exit(0)
    guard.ask("undo", about=f"Versions {back} open again what stands under them, and are not destroyed.")
    asyncio.run(desk.bring_back(settings, standing, by=operator_name()))
    emit({"restored": back}, as_json=as_json, people=lambda: say(f"versions {back} are back in use"))


def _plan(standing: MasterStanding) -> dict[str, Any]:
    place = standing.place
    going = [each.number for each in standing.versions if each.number <= place.key_version]
    return {"master key": f"{place.provider} {place.key_name}", "versions": going, "patient keys": 0}


async def _patient_plan(settings: AllSettings, scope: Scope, soak: dt.timedelta) -> dict[str, Any]:
    async with opened_catalog(settings) as catalog, catalog.reading() as connection:
        found = await retiring.count_draining(connection, scope, before=utc_now() - soak)
    return {
        "patient keys": found.due - found.sealing,
        "not for long enough": found.soaking,
        "still sealing recordings": found.sealing,
    }
