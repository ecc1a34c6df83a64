"""How far a key job is: as a few words, as an exit code, and as a bar that stays until it ends."""

from __future__ import annotations

import asyncio
import sys
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from vault.app.databases import opened_catalog
from vault.catalog import key_jobs
from vault.catalog.key_job_states import ENDED, JobState
from vault.catalog.key_jobs import JobId, JobRow
from vault.cli.exits import Exit
from vault.settings import AllSettings

_POLL_S: Final = 0.3
_EXITS: Final = {
    JobState.DONE: Exit.OK,
    JobState.INCOMPLETE: Exit.PARTLY_FAILED,
    JobState.ABORTED: Exit.FAILED,
}


def progress_of(job: JobRow) -> str:
    """`7/12`, and what failed."""
    counted = f"{job.done}/{'?' if job.total is None else job.total}"
    return f"{counted} ({job.failed} failed)" if job.failed else counted


def exit_of_job(job: JobRow) -> Exit:
    """The exit code of whoever waited for it."""
    return _EXITS.get(job.state, Exit.IN_PROGRESS)


async def watched(settings: AllSettings, job_id: JobId, *, shown: bool) -> JobRow:
    """Wait until a job ends, is paused or needs an approval, with a bar on standard error where that is a terminal."""
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=not (shown and sys.stderr.isatty()),
        transient=True,
    )
    async with opened_catalog(settings) as catalog:
        with bar:
            task = bar.add_task("waiting for the control role", total=None)
            while True:
                async with catalog.reading() as connection:
                    job = await key_jobs.find(connection, job_id)
                words = job.note or job.state.value
                bar.update(task, completed=job.done, total=job.total, description=words)
                if job.state in ENDED or job.state in {JobState.PAUSED, JobState.AWAITING}:
                    return job
                await asyncio.sleep(_POLL_S)
