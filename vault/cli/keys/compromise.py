"""`replayvault keys compromise`: a key leaked. Write it down, see what answers it, and do that in order."""

from __future__ import annotations

import asyncio
import sys
import uuid
from pathlib import Path
from typing import Final

import click

from keys.ids import RecordingId, parse_patient, parse_tenant
from vault.app.databases import opened_catalog
from vault.app.ground import utc_now
from vault.catalog import compromises
from vault.catalog.compromises import Compromise, CompromiseId, Leak
from vault.catalog.key_job_states import JobState
from vault.catalog.key_jobs import JobRow
from vault.cli.examples import ExampledGroup
from vault.cli.exits import Exit, sentences
from vault.cli.ground import data_dir_option, operator_settings
from vault.cli.guards import Guard, guarded
from vault.cli.job_progress import exit_of_job, watched
from vault.cli.output import emit, json_option, say, table
from vault.cli.person import operator_name
from vault.cli.recorded import recorded_catalog
from vault.cli.words import IDENTIFIER
from vault.rotation.answering import Answering, Standing, standings
from vault.rotation.errors import WronglyNarrowed
from vault.rotation.leaks import document_of, event_of, new_leak, owned, plan_document_of, state_of
from vault.settings import AllSettings

_EXAMPLE = "2f1d0c4e-8a57-4c1b-9b6e-0d6f5b1f7a21"
_ABOUT: Final = "Sessions may end, and objects under the old keys are destroyed."
_ABOUT_TIER: Final = "All sessions end. Every role has to run on a new tier secret by now."


@click.group(
    cls=ExampledGroup,
    examples=(
        "replayvault keys compromise declare patient --tenant clinic --patient p-17 --reason 'stolen laptop'",
        f"replayvault keys compromise run {_EXAMPLE}",
    ),
)
def compromise() -> None:
    """A key leaked: declare it, see the steps that answer it, and run them.

    What was read before stays read, and `audit incident` tells what that was.
    """


@compromise.command(
    "declare",
    examples=(
        "replayvault keys compromise declare patient --tenant clinic --patient p-17 --reason 'stolen laptop'",
        f"replayvault keys compromise declare recording --recording {_EXAMPLE} --reason 'ticket 4711' --yes",
        "replayvault keys compromise declare vault --reason 'disk of the control role was lost' --dry-run",
    ),
)
@click.argument("leak", type=click.Choice([each.value for each in Leak]))
@click.option("--tenant", help="Whose patient.")
@click.option("--patient", help="Whose key, for `patient`.")
@click.option("--recording", metavar="ID", type=IDENTIFIER, help="Whose key, for `recording`.")
@click.option("--token-id", metavar="ID", type=IDENTIFIER, help="Which service token, for `token`.")
@click.option("--version", type=click.IntRange(1), help="Which version of the master key, for `master`.")
@click.option("--reason", required=True, help="What happened, for the record: no names of patients.")
@json_option
@data_dir_option
@guarded
def declare(
    guard: Guard,
    *,
    leak: str,
    tenant: str | None,
    patient: str | None,
    recording: uuid.UUID | None,
    token_id: uuid.UUID | None,
    version: int | None,
    reason: str,
    data_dir: Path | None,
    as_json: bool,
) -> None:
    """Write down what leaked. Nothing is changed by that; `run` does what answers it.

    `master` is a version of the master key by itself, `vault` that with the catalog and the share store.
    """
    kind = Leak(leak)
    if not reason.isprintable() or not 1 <= len(reason) <= 200:  # noqa: PLR2004 - a line of the audit log
        raise click.BadParameter("a reason has 1 to 200 printable characters", param_hint="--reason")
    with sentences():
        try:
            declared = new_leak(
                kind,
                reason=reason,
                by=operator_name(),
                now=utc_now(),
                tenant=None if tenant is None else parse_tenant(tenant),
                patient=None if patient is None else parse_patient(patient),
                recording=None if recording is None else RecordingId(recording),
                token_id=token_id,
                version=version,
            )
        except WronglyNarrowed as error:
            raise click.UsageError(_told_narrowing(kind, error.needs)) from None
        settings = operator_settings(data_dir=data_dir)
        declared = asyncio.run(_found(settings, declared))
        if guard.dry_run:
            emit(
                {"would_declare": document_of(declared)},
                as_json=as_json,
                people=lambda: _show_all([declared]),
            )
            return
        guard.ask(kind.value, about="It is written down for good, here and in the audit log.")
        asyncio.run(_declare(settings, declared))
        emit(
            document_of(declared),
            as_json=as_json,
            people=lambda: say(
                f"declared: see `replayvault keys compromise plan {declared.compromise_id}`, then run it"
            ),
        )


@compromise.command("ls", examples=("replayvault keys compromise ls",))
@click.option("-n", "--limit", type=click.IntRange(1, 1000), default=20, show_default=True)
@json_option
@data_dir_option
def ls(limit: int, data_dir: Path | None, *, as_json: bool) -> None:
    """List what was declared, the latest first."""

    async def found() -> list[Compromise]:
        async with (
            opened_catalog(operator_settings(data_dir=data_dir)) as catalog,
            catalog.reading() as connection,
        ):
            return list(await compromises.latest(connection, limit=limit))

    with sentences():
        every = asyncio.run(found())
        emit([document_of(each) for each in every], as_json=as_json, people=lambda: _show_all(every))


@compromise.command("plan", examples=(f"replayvault keys compromise plan {_EXAMPLE}",))
@click.argument("compromise_id", metavar="ID", type=IDENTIFIER)
@json_option
@data_dir_option
def plan(compromise_id: uuid.UUID, data_dir: Path | None, *, as_json: bool) -> None:
    """Show the steps that answer a leak, in order: what each is against, and how far it is."""
    with sentences():
        settings = operator_settings(data_dir=data_dir)
        declared, steps = asyncio.run(_standing(settings, CompromiseId(compromise_id)))
        emit(plan_document_of(declared, steps), as_json=as_json, people=lambda: _show_steps(steps))


@compromise.command(
    "run",
    examples=(
        f"replayvault keys compromise run {_EXAMPLE} --dry-run",
        f"replayvault keys compromise run {_EXAMPLE} --yes --json",
    ),
)
@click.argument("compromise_id", metavar="ID", type=IDENTIFIER)
@json_option
@data_dir_option
@guarded
def run(guard: Guard, compromise_id: uuid.UUID, data_dir: Path | None, *, as_json: bool) -> None:
    """Do the steps in order, and stay until they are done; what is done stays done, and a second run goes on.

    The control role does the jobs. Steps by hand are shown at the end. Exit code 5 where items of a step failed, 3
    where its job is paused.
    """
    with sentences():
        settings = operator_settings(data_dir=data_dir)
        declared, steps = asyncio.run(_standing(settings, CompromiseId(compromise_id)))
        if guard.dry_run:
            document = {"would_run": plan_document_of(declared, steps)}
            emit(document, as_json=as_json, people=lambda: _show_steps(steps))
            return
        guard.ask(declared.leak.value, about=_ABOUT_TIER if declared.leak is Leak.TIER else _ABOUT)
        stopped = asyncio.run(_run(settings, declared, shown=not as_json))
        declared, steps = asyncio.run(_standing(settings, declared.compromise_id))
        emit(plan_document_of(declared, steps), as_json=as_json, people=lambda: _show_steps(steps))
    sys.exit(int(Exit.OK if stopped is None else exit_of_job(stopped)))


def _told_narrowing(leak: Leak, needs: tuple[str, ...]) -> str:
    words = " and ".join(f"--{name.replace('_', '-')}" for name in needs) or "no other option"
    return f"a leak of `{leak.value}` is narrowed by {words}"


async def _found(settings: AllSettings, declared: Compromise) -> Compromise:
    """What was declared, whose it is filled in; raises as `owned` does."""
    async with opened_catalog(settings) as catalog, catalog.reading() as connection:
        return await owned(connection, declared)


async def _declare(settings: AllSettings, declared: Compromise) -> None:
    event = event_of(declared, actor="operator")
    async with recorded_catalog(settings) as (catalog, audit):
        await audit.write(event)
        async with catalog.writing() as connection:
            await compromises.declare(connection, declared)


async def _standing(
    settings: AllSettings, compromise_id: CompromiseId
) -> tuple[Compromise, tuple[Standing, ...]]:
    async with opened_catalog(settings) as catalog:
        async with catalog.reading() as connection:
            declared = await compromises.find(connection, compromise_id)
        return declared, await standings(catalog, declared)


async def _run(settings: AllSettings, declared: Compromise, *, shown: bool) -> JobRow | None:
    """Do steps until all are done; the job that stopped it, where one did."""
    async with recorded_catalog(settings) as (catalog, audit):
        answering = Answering(catalog, audit, utc_now, operator_name())
        while (standing := await answering.begin_next(declared)) is not None:
            if standing.job is None:
                continue
            job = await watched(settings, standing.job.job_id, shown=shown)
            if job.state is not JobState.DONE:
                return job
    return None


def _show_all(every: list[Compromise]) -> None:
    columns = ("id", "leak", "reason", "declared_at", "answered_at")
    rows = [[document_of(each)[name] for name in columns] for each in every]
    table(("id", "leak", "reason", "declared", "answered"), rows)


def _show_steps(steps: tuple[Standing, ...]) -> None:
    rows = [(each.step.verb.value, state_of(each), each.step.against, each.step.command) for each in steps]
    table(("step", "state", "against", "how"), rows)
