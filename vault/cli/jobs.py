"""`replayvault jobs`: long work on keys, which the control role does, and which can be watched, stopped and resumed.

Works on the catalog itself, as `replayvault tokens` does.
"""

from __future__ import annotations

import asyncio
import sys
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import click
from sqlalchemy.ext.asyncio import AsyncConnection

from vault.app.databases import opened_catalog
from vault.app.ground import utc_now
from vault.catalog import key_jobs
from vault.catalog.key_jobs import JobError, JobId, JobRow
from vault.cli.examples import ExampledGroup
from vault.cli.exits import sentences
from vault.cli.ground import data_dir_option, operator_settings
from vault.cli.guards import Guard, guarded
from vault.cli.job_progress import exit_of_job, progress_of, watched
from vault.cli.output import emit, json_option, pairs, say, table
from vault.cli.person import operator_name
from vault.cli.recorded import recorded_catalog
from vault.cli.words import IDENTIFIER
from vault.logs import configure_logs, silence_logs
from vault.rotation.asking import document_of, error_document_of, event_of

_EXAMPLE = "2f1d0c4e-8a57-4c1b-9b6e-0d6f5b1f7a21"
_SHOWN_ERRORS = 100
job_argument = click.argument("job", metavar="ID", type=IDENTIFIER)


@click.group(cls=ExampledGroup, examples=("replayvault jobs ls", f"replayvault jobs watch {_EXAMPLE}"))
def jobs() -> None:
    """Rotations and other long work on keys. Works on the catalog itself: run it where the control role runs."""


@jobs.command("ls", examples=("replayvault jobs ls", "replayvault jobs ls --json | jq '.[0].state'"))
@click.option("-n", "--limit", type=click.IntRange(1, 1000), default=20, show_default=True)
@json_option
@data_dir_option
def ls(limit: int, data_dir: Path | None, *, as_json: bool) -> None:
    """List jobs, the latest first."""
    with sentences():
        found = asyncio.run(_read(data_dir, lambda c: key_jobs.latest(c, limit=limit)))
        emit([_document(job) for job in found], as_json=as_json, people=lambda: _show_all(found))


@jobs.command("show", examples=(f"replayvault jobs show {_EXAMPLE}",))
@job_argument
@json_option
@data_dir_option
def show(job: uuid.UUID, data_dir: Path | None, *, as_json: bool) -> None:
    """Show one job, and the items that failed."""
    with sentences():
        row = asyncio.run(_read(data_dir, lambda c: key_jobs.find(c, JobId(job))))
        errors = asyncio.run(
            _read(data_dir, lambda c: key_jobs.errors_of(c, JobId(job), limit=_SHOWN_ERRORS))
        )
        document = _document(row) | {"errors": [error_document_of(each) for each in errors]}
        emit(document, as_json=as_json, people=lambda: _show(row, errors))


@jobs.command("watch", examples=(f"replayvault jobs watch {_EXAMPLE}",))
@job_argument
@json_option
@data_dir_option
def watch(job: uuid.UUID, data_dir: Path | None, *, as_json: bool) -> None:
    """Stay until the job ends. Exit code 5 where items failed, 3 where it is paused."""
    with sentences():
        ended = asyncio.run(watched(operator_settings(data_dir=data_dir), JobId(job), shown=not as_json))
        emit(_document(ended), as_json=as_json, people=lambda: _show(ended, ()))
    sys.exit(int(exit_of_job(ended)))


@jobs.command("pause", examples=(f"replayvault jobs pause {_EXAMPLE}",))
@job_argument
@json_option
@data_dir_option
def pause(job: uuid.UUID, data_dir: Path | None, *, as_json: bool) -> None:
    """Stop a job after its current step; nothing is lost, and `resume` goes on from there."""
    _changed(data_dir, job, lambda c: key_jobs.pause(c, JobId(job)), "pause", as_json=as_json)


@jobs.command("resume", examples=(f"replayvault jobs resume {_EXAMPLE}",))
@job_argument
@json_option
@data_dir_option
def resume(job: uuid.UUID, data_dir: Path | None, *, as_json: bool) -> None:
    """Go on with a paused job."""
    _changed(
        data_dir, job, lambda c: key_jobs.resume(c, JobId(job), now=utc_now()), "resume", as_json=as_json
    )


@jobs.command("retry", examples=(f"replayvault jobs retry {_EXAMPLE}",))
@job_argument
@json_option
@data_dir_option
def retry(job: uuid.UUID, data_dir: Path | None, *, as_json: bool) -> None:
    """Try again what failed in a job that ended incomplete."""
    _changed(data_dir, job, lambda c: key_jobs.retry(c, JobId(job), now=utc_now()), "retry", as_json=as_json)


@jobs.command("approve", examples=(f"replayvault jobs approve {_EXAMPLE}",))
@job_argument
@json_option
@data_dir_option
def approve(job: uuid.UUID, data_dir: Path | None, *, as_json: bool) -> None:
    """Let a job begin that waits for a second person: not for the one who asked for it."""
    with sentences():
        from vault.app.retiring import approve as approved  # noqa: PLC0415 - writes the audit log

        silence_logs()
        settings = operator_settings(data_dir=data_dir)
        asyncio.run(approved(settings, JobId(job), by=operator_name()))
        row = asyncio.run(_read(data_dir, lambda c: key_jobs.find(c, JobId(job))))
        emit(_document(row), as_json=as_json, people=lambda: say(f"the job is {row.state.value}"))


@jobs.command(
    "abort",
    examples=(f"replayvault jobs abort {_EXAMPLE} --dry-run", f"replayvault jobs abort {_EXAMPLE}"),
)
@job_argument
@json_option
@data_dir_option
@guarded
def abort(guard: Guard, job: uuid.UUID, data_dir: Path | None, *, as_json: bool) -> None:
    """End a job where it stands. What it began for a patient the next rotation finishes; everything opens meanwhile."""
    with sentences():
        row = asyncio.run(_read(data_dir, lambda c: key_jobs.find(c, JobId(job))))
        if guard.dry_run:
            emit({"would_abort": _document(row)}, as_json=as_json, people=lambda: _show(row, ()))
            return
        guard.ask(str(job), about=f"The job did {row.done} of {row.total}. It cannot be resumed afterwards.")
    _changed(data_dir, job, lambda c: key_jobs.abort(c, JobId(job), now=utc_now()), "abort", as_json=as_json)


@jobs.command("run", examples=("replayvault jobs run",))
@json_option
@data_dir_option
def run(data_dir: Path | None, *, as_json: bool) -> None:
    """Do what is queued in this process, with the control role's secrets, until nothing can be done; then leave."""

    async def until_idle() -> int:
        from vault.app.rotating import rotating  # noqa: PLC0415 - only this command needs the master key

        configure_logs()
        done = 0
        async with rotating(operator_settings(data_dir=data_dir)) as runner:
            while await runner.once():
                done += 1
        return done

    with sentences():
        done = asyncio.run(until_idle())
        emit({"taken_up": done}, as_json=as_json, people=lambda: say(f"{done} taken up"))


async def _read(data_dir: Path | None, question: Callable[[AsyncConnection], Awaitable[Any]]) -> Any:
    async with (
        opened_catalog(operator_settings(data_dir=data_dir)) as catalog,
        catalog.reading() as connection,
    ):
        return await question(connection)


def _changed(
    data_dir: Path | None,
    job: uuid.UUID,
    change: Callable[[AsyncConnection], Awaitable[None]],
    word: str,
    *,
    as_json: bool,
) -> None:
    async def changed() -> JobRow:
        async with (
            recorded_catalog(operator_settings(data_dir=data_dir)) as (catalog, audit),
            catalog.writing() as connection,
        ):
            await change(connection)
            row = await key_jobs.find(connection, JobId(job))
            await audit.write(event_of(row, word, actor=operator_name()))
            return row

    with sentences():
        row = asyncio.run(changed())
        emit(_document(row), as_json=as_json, people=lambda: say(f"the job is {row.state.value}"))


def _document(job: JobRow) -> dict[str, Any]:
    return document_of(job, now=utc_now())


def _show_all(found: tuple[JobRow, ...]) -> None:
    rows = [
        (job.job_id, job.kind.value, job.state.value, progress_of(job), job.requested_at, job.note)
        for job in found
    ]
    table(("id", "kind", "state", "done", "requested", "note"), rows)


def _show(job: JobRow, errors: tuple[JobError, ...]) -> None:
    pairs(*((name.replace("_", " "), value) for name, value in _document(job).items()))
    if errors:
        table(("item", "code", "at"), [(each.item, each.code, each.at) for each in errors])
        say(f"mend what is wrong, then: replayvault jobs retry {job.job_id}")
