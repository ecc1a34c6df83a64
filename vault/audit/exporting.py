"""The log for other systems, one line after the other in flat memory: as it is, as a table, as FHIR AuditEvents.

Invariant: each writer's entries stand together in their order; views in the order of their ends.
"""

from __future__ import annotations

import csv
import enum
import io
import json
from collections.abc import Callable, Iterator
from typing import Final

from vault.audit.entry import Action, Decision, canonical
from vault.audit.fhir import audit_event, refused_event
from vault.audit.spelling import cell
from vault.audit.viewing import Entry, Log, Span, Viewing, joined

COLUMNS: Final = (
    "at",
    "role",
    "release",
    "action",
    "decision",
    "reason",
    "actor",
    "patient",
    "recording",
    "session",
    "request",
    "size_bytes",
    "key_id",
    "note",
    "seq",
    "hash",
)


class Format(enum.Enum):
    """What an export is written as."""

    JSONL = "jsonl"
    CSV = "csv"
    FHIR = "fhir"


def export(log: Log, span: Span, *, form: Format) -> Iterator[str]:
    """The lines, each with its end. Raises OSError; `log.broken` says what could not be read."""
    return _WRITERS[form](log, span)


def _jsonl(log: Log, span: Span) -> Iterator[str]:
    for entry in log.entries():
        if span.holds(str(entry["at"])):
            yield canonical(entry).decode() + "\n"


def _csv(log: Log, span: Span) -> Iterator[str]:
    yield _row(COLUMNS)
    for entry in log.entries():
        if span.holds(str(entry["at"])):
            yield _row(tuple(cell(entry.get(column, "")) for column in COLUMNS))


def _fhir(log: Log, span: Span) -> Iterator[str]:
    for writer in log.writers():
        for found in joined(writer):
            if isinstance(found, Viewing):
                if span.overlaps(str(found.opened["at"]), found.ended_at):
                    yield json.dumps(audit_event(found)) + "\n"
            elif _is_refused_view(found) and span.holds(str(found["at"])):
                yield json.dumps(refused_event(found)) + "\n"


def _is_refused_view(entry: Entry) -> bool:
    return (entry["action"], entry["decision"]) == (Action.VIEW_OPEN.value, Decision.DENY.value)


def _row(cells: tuple[str, ...]) -> str:
    """One line in the form of RFC 4180."""
    line = io.StringIO()
    csv.writer(line).writerow(cells)
    return line.getvalue()


_WRITERS: Final[dict[Format, Callable[[Log, Span], Iterator[str]]]] = {
    Format.JSONL: _jsonl,
    Format.CSV: _csv,
    Format.FHIR: _fhir,
}
