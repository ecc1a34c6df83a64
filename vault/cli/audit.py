"""`replayvault audit`: who did what."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from pathlib import Path
from typing import Any, Final

import click

from vault.audit.errors import AuditUnavailable
from vault.cli.audit_reports import export, incident, who_saw
from vault.cli.audit_verify import public_key, verify
from vault.cli.examples import ExampledGroup
from vault.cli.exits import Exit, sentences
from vault.cli.following import AuditFolder
from vault.cli.ground import data_dir_option, operator_settings
from vault.cli.output import json_option, printable, say

_POLL_S: Final = 0.5
_SHOWN: Final = ("actor", "patient", "recording", "note")


@click.group(cls=ExampledGroup, examples=("replayvault audit tail -n 20", "replayvault audit verify"))
def audit() -> None:
    """The audit log, which each process writes in a file of its own, every line holding the hash of the one before."""


@audit.command(
    "tail", examples=("replayvault audit tail -n 20", "replayvault audit tail --follow --json | jq .action")
)
@click.option(
    "-n", "--lines", type=click.IntRange(0), default=20, show_default=True, help="The last so many."
)
@click.option("-f", "--follow", is_flag=True, help="Go on with what is written from now on.")
@json_option
@data_dir_option
def tail(lines: int, data_dir: Path | None, *, follow: bool, as_json: bool) -> None:
    """Show the last entries, every chain checked from its beginning; exit code 5 where one is broken.

    The check tells what was altered in the middle of a file or cut out of it. That the end of a file was cut off,
    or a whole file removed while nobody watched, it cannot tell: `replayvault audit verify` does.
    """
    with sentences():
        folder = operator_settings(data_dir=data_dir).audit_folder
        if not folder.is_dir():
            raise AuditUnavailable(
                f"there is no audit folder {folder}: say where it is (REPLAYVAULT_AUDIT_DIR)"
            )
        reading, told = AuditFolder(folder), 0
        entries = reading.fresh()
        _show(entries[len(entries) - lines if lines < len(entries) else 0 :], as_json=as_json)
        told = _complain(reading, told)
        with contextlib.suppress(KeyboardInterrupt):
            while follow:
                time.sleep(_POLL_S)
                _show(reading.fresh(), as_json=as_json)
                told = _complain(reading, told)
    sys.exit(int(Exit.PARTLY_FAILED if reading.broken else Exit.OK))


for _command in (verify, who_saw, incident, export, public_key):
    audit.add_command(_command)


def _show(entries: list[dict[str, Any]], *, as_json: bool) -> None:
    for entry in entries:
        click.echo(json.dumps(entry) if as_json else _line(entry))
    sys.stdout.flush()


def _line(entry: dict[str, Any]) -> str:
    verdict = entry["decision"] if not entry["reason"] else f"{entry['decision']} {entry['reason']}"
    details = " ".join(f"{name}={entry[name]}" for name in _SHOWN if entry.get(name))
    size = f" bytes={entry['size_bytes']}" if entry.get("size_bytes") else ""
    return printable(f"{entry['at']}  {entry['role']:<8} {entry['action']:<17} {verdict:<6} {details}{size}")


def _complain(reading: AuditFolder, told: int) -> int:
    for sentence in reading.broken[told:]:
        say(f"replayvault: the audit log is broken: {sentence}; keep the file as it is, it is evidence")
    return len(reading.broken)
