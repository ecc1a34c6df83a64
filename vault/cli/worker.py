"""`replayvault worker`: transcode what is queued."""

from __future__ import annotations

from pathlib import Path

import click

from vault.app.worker import worker_role
from vault.cli.examples import Exampled
from vault.cli.exits import sentences
from vault.cli.running import run_until_stopped
from vault.settings import WorkerSettings, load


@click.command(
    cls=Exampled,
    examples=("REPLAYVAULT_WORKER_KEY_FILE=/run/secrets/worker.key replayvault worker --jobs 2",),
)
@click.option("--jobs", "worker_jobs", type=click.IntRange(1, 64), help="Recordings at a time.  [default: 1]")
@click.option(
    "--data-dir", type=click.Path(file_okay=False, path_type=Path), help="Where everything is kept."
)
def worker(worker_jobs: int | None, data_dir: Path | None) -> None:
    """Transcode what is queued, until stopped.

    A worker holds the workers' private key and opens only recordings that were queued for it.
    """
    with sentences():
        given = load(WorkerSettings, worker_jobs=worker_jobs, data_dir=data_dir)
        run_until_stopped(lambda: worker_role(given))
