"""`replayvault audit who-saw`, `incident` and `export`: what the log answers, and what of it is broken."""

from __future__ import annotations

import datetime as dt
import os
import sys
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, TextIO

import click

from vault.audit.exporting import Format
from vault.audit.exporting import export as exported
from vault.audit.incident import Activity, Incident
from vault.audit.incident import incident as incident_in
from vault.audit.viewing import Span
from vault.audit.who_saw import Watcher, WhoSaw
from vault.audit.who_saw import who_saw as watchers_of
from vault.cli.evidence import evidence_options, leave, sources
from vault.cli.examples import Exampled
from vault.cli.exits import sentences
from vault.cli.ground import data_dir_option
from vault.cli.output import emit, json_option, say, table
from vault.cli.words import IDENTIFIER, MOMENT

_until: Final = click.option("--until", type=MOMENT, help="The first moment that does not count any more.")
_SHORT: Final = 16


@click.command(
    "who-saw",
    cls=Exampled,
    examples=("replayvault audit who-saw 6f9619ff-8b86-4d01-b42d-00cf4fc964ff --json",),
)
@click.argument("recording", type=IDENTIFIER)
@evidence_options
@json_option
@data_dir_option
def who_saw(
    recording: uuid.UUID,
    data_dir: Path | None,
    audit_dirs: tuple[Path, ...],
    public_keys: tuple[Path, ...],
    *,
    as_json: bool,
) -> None:
    """Say which sessions watched RECORDING or tried to: views, bytes, first and last time, refusals.

    The log is verified on the way; exit code 5 where it is broken, with what was found all the same.
    """
    with sentences():
        log = sources(data_dir, audit_dirs, public_keys).log()
        answer = watchers_of(log, str(recording))
        document = _who_saw_document(answer) | {"broken": log.broken}
        emit(document, as_json=as_json, people=lambda: _show_watchers(answer))
    leave(log.broken)


@click.command(
    "incident",
    cls=Exampled,
    examples=(
        "replayvault audit incident --since 2026-03-01T00:00Z",
        "replayvault audit incident --since 2026-03-01T00:00Z --until 2026-03-04T00:00Z --release 1.4.2 --json",
    ),
)
@click.option("--since", type=MOMENT, required=True, help="The first moment that counts.")
@_until
@click.option("--release", help="What this release did alone.")
@evidence_options
@json_option
@data_dir_option
def incident(
    *,
    since: dt.datetime,
    until: dt.datetime | None,
    release: str | None,
    data_dir: Path | None,
    audit_dirs: tuple[Path, ...],
    public_keys: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Say which sessions read or tried what, what was misrouted by which release, and whom it touches.

    The log is verified on the way; exit code 5 where it is broken, with what was found all the same.
    """
    with sentences():
        log = sources(data_dir, audit_dirs, public_keys).log()
        answer = incident_in(log, Span(since, until), release=release)
        document = _incident_document(answer) | {"broken": log.broken}
        emit(document, as_json=as_json, people=lambda: _show_incident(answer))
    leave(log.broken)


@click.command(
    "export",
    cls=Exampled,
    examples=(
        "replayvault audit export --format csv -o audit.csv",
        "replayvault audit export --format fhir --since 2026-03-01T00:00Z > audit-events.ndjson",
    ),
)
@click.option("--format", "form", type=click.Choice([each.value for each in Format]), required=True)
@click.option("--since", type=MOMENT, help="The first moment that counts.")
@_until
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="A new file, mode 0600."
)
@evidence_options
@click.option("--json", "as_json", is_flag=True, help="With -o: print as JSON what was written.")
@data_dir_option
def export(
    *,
    form: str,
    since: dt.datetime | None,
    until: dt.datetime | None,
    output: Path | None,
    data_dir: Path | None,
    audit_dirs: tuple[Path, ...],
    public_keys: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Write the log for another system: jsonl (as it is), csv (a table), fhir (R4 AuditEvents, one a view, NDJSON).

    The log is verified on the way; exit code 5 where it is broken, with what was found all the same.
    """
    if as_json and output is None:
        raise click.UsageError("--json says what was written to a file: name it with -o")
    with sentences():
        log = sources(data_dir, audit_dirs, public_keys).log()
        lines = exported(log, Span(since, until), form=Format(form))
        count = _write(lines, output)
        if output is not None:
            document = {"format": form, "lines": count, "output": str(output), "broken": log.broken}
            emit(document, as_json=as_json, people=lambda: say(f"{count} lines stand in {output}"))
    leave(log.broken)


def _write(lines: Iterator[str], output: Path | None) -> int:
    if output is None:
        return _pour(lines, sys.stdout)
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
        return _pour(lines, file)


def _pour(lines: Iterator[str], into: TextIO) -> int:
    count = 0
    for line in lines:
        into.write(line)
        count += 1
    into.flush()
    return count


def _who_saw_document(answer: WhoSaw) -> dict[str, Any]:
    tickets = [
        {name: entry[name] for name in ("at", "actor", "session", "patient", "note")}
        for entry in answer.tickets
    ]
    sessions = [_watcher(watcher) for watcher in answer.watchers.values()]
    return {"recording": answer.recording, "sessions": sessions, "tickets": tickets}


def _watcher(watcher: Watcher) -> dict[str, Any]:
    return {
        "session": watcher.session,
        "actor": watcher.actor,
        "patient": watcher.patient,
        "views": watcher.views,
        "unfinished": watcher.unfinished,
        "bytes": watcher.sent_bytes,
        "details": watcher.details,
        "first": watcher.first,
        "last": watcher.last,
        "denials": watcher.denials,
    }


def _show_watchers(answer: WhoSaw) -> None:
    rows = [
        (
            each.session[:_SHORT],
            each.actor,
            each.patient,
            each.views,
            each.sent_bytes,
            _counts(each.denials),
            each.first,
            each.last,
        )
        for each in answer.watchers.values()
    ]
    table(("SESSION", "ACTOR", "PATIENT", "VIEWS", "BYTES", "REFUSED", "FIRST", "LAST"), rows)


def _incident_document(answer: Incident) -> dict[str, Any]:
    return {
        "since": answer.span.since,
        "until": answer.span.until,
        "release": answer.release,
        "sessions": [_activity(each) for each in answer.sessions.values()],
        "mismatches": [
            {
                "release": each.release,
                "place": each.place,
                "count": each.count,
                "first": each.first,
                "last": each.last,
                "sessions": sorted(each.sessions),
                "recordings": sorted(each.recordings),
            }
            for each in answer.mismatches.values()
        ],
        "affected": [
            {"recording": each.recording, "owner": each.owner, "met_by": sorted(each.met_by)}
            for each in answer.affected.values()
        ],
        "patients": answer.patients,
    }


def _activity(activity: Activity) -> dict[str, Any]:
    return {
        "session": activity.session,
        "actor": activity.actor,
        "patient": activity.patient,
        "views": activity.views,
        "watched": dict(activity.watched),
        "refused": {recording: dict(reasons) for recording, reasons in activity.refused.items()},
        "lists": activity.lists,
        "first": activity.first,
        "last": activity.last,
    }


def _show_incident(answer: Incident) -> None:
    rows = [
        (
            each.session[:_SHORT] or each.actor,
            each.patient,
            each.views,
            sum(each.watched.values()),
            _counts(sum(each.refused.values(), Counter())),
            each.first,
            each.last,
        )
        for each in answer.sessions.values()
    ]
    table(("SESSION", "PATIENT", "VIEWS", "BYTES", "REFUSED", "FIRST", "LAST"), rows)
    for found in answer.mismatches.values():
        click.echo(f"{found.count} mismatches by release {found.release} at {found.place}")
    for touched in answer.affected.values():
        click.echo(f"recording {touched.recording} of {touched.owner or 'an owner who never watched it'}")


def _counts(counts: Mapping[str, int]) -> str:
    return " ".join(f"{name or 'refused'}={count}" for name, count in counts.items())
