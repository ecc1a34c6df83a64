"""`replayvault doctor`: what is as it should be, what is not, and what to do about it."""

from __future__ import annotations

import asyncio
import dataclasses
import sys
from pathlib import Path
from typing import Final

import click

from vault import settings as house
from vault.cli.examples import Exampled
from vault.cli.exits import sentences
from vault.cli.findings import Finding, Verdict, exit_of, wrong
from vault.cli.ground import data_dir_option
from vault.cli.local_checks import local_findings
from vault.cli.output import emit, json_option, printable
from vault.cli.remote_checks import remote_findings

_ROLES: Final[dict[str, type[house.CommonSettings]]] = {
    "all": house.AllSettings,
    "control": house.ControlSettings,
    "stream": house.StreamSettings,
    "worker": house.WorkerSettings,
}
_STYLES: Final = {
    Verdict.OK: ("ok", "green"),
    Verdict.NOTE: ("note", "yellow"),
    Verdict.WRONG: ("WRONG", "red"),
    Verdict.DOWN: ("DOWN", "red"),
}


@click.command(
    cls=Exampled,
    examples=("replayvault doctor", "replayvault doctor --role stream --json"),
)
@click.option(
    "--role", type=click.Choice(list(_ROLES)), default="all", show_default=True, help="Whose setup."
)
@json_option
@data_dir_option
def doctor(role: str, data_dir: Path | None, *, as_json: bool) -> None:
    """Check the setup of a role: settings, permissions, schema, every dependency, ffmpeg, sandbox and clock.

    Run it where that role runs, as its user and with its environment. Exit code 0 where all is well, 5 where
    something has to be changed, 6 where a dependency does not answer.
    """
    with sentences():
        findings = _findings(_ROLES[role], data_dir)
        document = {
            "role": role,
            "findings": [dataclasses.asdict(each) | {"verdict": each.verdict.value} for each in findings],
        }
        emit(document, as_json=as_json, people=lambda: _show(findings))
    sys.exit(int(exit_of(findings)))


def _findings(kind: type[house.CommonSettings], data_dir: Path | None) -> list[Finding]:
    try:
        settings = house.load(kind, data_dir=data_dir)
    except house.SettingsError as error:
        return [wrong("settings", str(error), "the role would not start")]
    return [*local_findings(settings), *asyncio.run(remote_findings(settings))]


def _show(findings: list[Finding]) -> None:
    width = max(len(finding.name) for finding in findings)
    for finding in findings:
        word, color = _STYLES[finding.verdict]
        click.echo(
            f"{click.style(f'{word:<6}', fg=color)} {finding.name:<{width}}  {printable(finding.says)}"
        )
        if finding.todo and finding.verdict is not Verdict.OK:
            click.echo(f"{'':<6} {'':<{width}}  → {printable(finding.todo)}")
