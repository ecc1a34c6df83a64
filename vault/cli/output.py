"""What commands print: a table or lines for people, one JSON document for programs.

Invariants: text that others chose (titles, names) cannot steer the terminal; JSON goes to standard output and
nothing else does with it.
"""

from __future__ import annotations

import datetime as dt
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import click
from pydantic import BaseModel
from rich.console import Console
from rich.table import Table
from rich.text import Text

json_option: Final = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
# No terminal, no folding: whoever reads a pipe wants whole ids.
_WIDE: Final = 400
_SECONDS_A_MINUTE: Final = 60


def emit(document: Any, *, as_json: bool, people: Callable[[], None]) -> None:
    """Print `document` as JSON, or let `people` print it."""
    if as_json:
        click.echo(json.dumps(jsonable(document), ensure_ascii=False))
    else:
        people()


def jsonable(document: Any) -> Any:
    """Plain types of a document: models, lists and dictionaries of them."""
    if isinstance(document, BaseModel):
        return document.model_dump(mode="json")
    if isinstance(document, dict):
        return {str(name): jsonable(value) for name, value in document.items()}
    if isinstance(document, list | tuple):
        return [jsonable(each) for each in document]
    if isinstance(document, dt.datetime):
        return document.isoformat()
    return document if isinstance(document, str | int | float | bool | None) else str(document)


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table without lines, its cells as they are."""
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        shown.add_column(column, overflow="fold")
    for row in rows:
        shown.add_row(*(Text(printable(cell)) for cell in row))
    console().print(shown)


def pairs(*rows: tuple[str, object]) -> None:
    """Names and values, one a line; those without a value are left out."""
    shown = Table(box=None, pad_edge=False, show_header=False)
    shown.add_column(style="bold")
    shown.add_column(overflow="fold")
    for name, value in rows:
        if value is not None:
            shown.add_row(name, Text(printable(value)))
    console().print(shown)


def printable(value: object) -> str:
    """Text without characters that a terminal acts on; moments in the time zone of this machine, to the second."""
    if value is None:
        return ""
    if isinstance(value, dt.datetime):
        return value.astimezone().isoformat(sep=" ", timespec="seconds")
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in str(value))


def length(seconds: float) -> str:
    """A duration as people write it: `12:05`."""
    minutes, rest = divmod(round(seconds), _SECONDS_A_MINUTE)
    return f"{minutes}:{rest:02}"


def console() -> Console:
    """Standard output."""
    return Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else _WIDE)


def say(sentence: str) -> None:
    """A sentence on standard error, so that standard output holds results alone."""
    click.echo(printable(sentence), err=True)
