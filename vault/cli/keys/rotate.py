"""`replayvault keys rotate`: a new key in the place of an old one."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

import click

from vault.app.databases import opened_catalog
from vault.app.ground import utc_now
from vault.app.tier_desk import tier_desk
from vault.catalog import registry
from vault.catalog.key_jobs import JobKind
from vault.catalog.rotation import Scope
from vault.cli.examples import ExampledGroup
from vault.cli.exits import Exit, sentences
from vault.cli.ground import data_dir_option, operator_settings
from vault.cli.guards import Guard, GuardRefused, guarded
from vault.cli.keys.asking import Pace, ask_for, ask_for_master, new_job, paced, parse_scope, plan_of
from vault.cli.output import emit, json_option, pairs, say
from vault.logs import silence_logs
from vault.rotation.jobs import NOW
from vault.sessions.tier_rotation import NOTES, TierStanding, TierStep
from vault.sessions.tier_rotation import document_of as tier_document
from vault.settings import AllSettings

_POLL_S = 1.0
_NOT_BY_ROTATING = (
    "a key that leaked still opens what it opened: declare it with `replayvault keys compromise declare patient`, and "
    "`replayvault keys compromise run` rotates, encrypts the recordings anew and destroys the old objects"
)


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
        "replayvault keys rotate patient --tenant clinic --patient p-17 --now",
    ),
)
@click.option("--tenant", help="Only this tenant's patients.")
@click.option("--patient", help="Only this patient; needs --tenant.")
@click.option("--now", is_flag=True, help="End their sessions, and wait for none: apps sign in again.")
@click.option(
    "--reason",
    type=click.Choice(["hygiene", "staff", "compromise"]),
    default="hygiene",
    show_default=True,
    help="Why; a leak is not answered by rotating alone, and is refused here.",
)
@paced
@json_option
@data_dir_option
@guarded
def patient(
    guard: Guard,
    *,
    tenant: str | None,
    patient: str | None,
    now: bool,
    reason: str,
    rate: float | None,
    hours: str | None,
    wait: bool,
    data_dir: Path | None,
    as_json: bool,
) -> None:
    """Give patients a new key, and wrap their recordings' keys under it.

    It waits, for each patient, until every live session carries the new key: fifteen minutes with the usual sessions.
    With --now it ends their sessions and tickets instead, once: every app of theirs signs in again.
    """
    with sentences():
        if reason == "compromise":
            raise GuardRefused(_NOT_BY_ROTATING)
        scope = parse_scope(tenant, patient)
        settings = operator_settings(data_dir=data_dir)
        job = new_job(
            settings, JobKind.PATIENT, scope, Pace(rate, hours, wait), options={NOW: True} if now else None
        )
        plan = plan_of(settings, job)
        if now:
            plan["sessions that end"] = asyncio.run(_alive(settings, scope))
        if guard.dry_run:
            emit({"would_rotate": plan}, as_json=as_json, people=lambda: pairs(*plan.items()))
            return
        about = f"{plan['patients']} patients get a new key."
        if now:
            about += f" {plan['sessions that end']} sessions and tickets of theirs end: apps sign in again."
        guard.ask("rotate", about=about)
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


@rotate.command(
    "tier-secret",
    examples=("replayvault keys rotate tier-secret --dry-run", "replayvault keys rotate tier-secret --wait"),
)
@click.option("--wait", is_flag=True, help="Stay until it is done, or type it again later: it goes on.")
@json_option
@data_dir_option
@guarded
def tier_secret(guard: Guard, *, wait: bool, data_dir: Path | None, as_json: bool) -> None:
    """Put a new tier secret in the place of the old one; sessions of both open meanwhile.

    Three steps, each when it is safe: the new one opens everywhere, seals everywhere, and is alone. Exit code 3 while
    it waits. Replicas read the file again by themselves; a host with a file of its own needs a copy after each step.
    """
    with sentences():
        silence_logs()
        settings = operator_settings(data_dir=data_dir)
        standing = asyncio.run(_looked(settings))
        if guard.dry_run:
            told = {"would_rotate": tier_document(standing)}
            emit(told, as_json=as_json, people=lambda: pairs(*told["would_rotate"].items()))
            return
        guard.ask("rotate", about="Sessions and tickets are sealed under a new secret from now on.")
        standing = asyncio.run(_advanced(settings, wait=wait, tell=_quiet if as_json else say))
        emit(tier_document(standing), as_json=as_json, people=lambda: say(NOTES[standing.step]))
    sys.exit(int(Exit.OK if standing.step is TierStep.NONE else Exit.IN_PROGRESS))


async def _looked(settings: AllSettings) -> TierStanding:
    async with tier_desk(settings, writing=False) as desk:
        return await desk.look()


async def _advanced(settings: AllSettings, *, wait: bool, tell: Callable[[str], None]) -> TierStanding:
    """Go on as far as it goes; with `wait` to the end, telling what it waits for."""
    async with tier_desk(settings, writing=True) as desk:
        standing, told = await desk.advance(), TierStep.NONE
        while wait and standing.step is not TierStep.NONE:
            if standing.step is not told:
                tell(NOTES[standing.step])
                told = standing.step
            await asyncio.sleep(_POLL_S)
            standing = await desk.advance()
        return standing


def _quiet(_: str) -> None:
    """Output is one JSON document."""


async def _alive(settings: AllSettings, scope: Scope) -> int:
    async with opened_catalog(settings) as catalog, catalog.reading() as connection:
        return await registry.count_alive(connection, scope.tenant, scope.patient, now=utc_now())
