"""`replayvault keys rewrap`: every patient key under the master key's current version."""

from __future__ import annotations

from pathlib import Path

import click

from vault.catalog.key_jobs import JobKind
from vault.cli.examples import Exampled
from vault.cli.exits import sentences
from vault.cli.ground import data_dir_option, operator_settings
from vault.cli.guards import Guard, guarded
from vault.cli.keys.asking import Pace, ask_for_master, paced
from vault.cli.output import json_option


@click.command(
    cls=Exampled, examples=("replayvault keys rewrap --dry-run", "replayvault keys rewrap --yes --wait")
)
@paced
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
    with sentences():
        settings = operator_settings(data_dir=data_dir)
        ask_for_master(guard, settings, JobKind.REWRAP, Pace(rate, hours, wait), as_json=as_json)
