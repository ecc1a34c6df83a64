"""`replayvault breaker`: whether lists are stopped, and the two moves of an operator.

Invariants: both moves need a reason and are on the audit log before they hold; what is closed is what was looked at,
and nothing that was opened since.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import sys
from pathlib import Path
from typing import Any, Final

import click

from vault.app.desk import clear_breaker, close_breaker, open_breaker, read_breaker
from vault.breaker.errors import UnreadableRecord
from vault.breaker.window import OPERATOR, Opening, Record
from vault.cli.examples import ExampledGroup
from vault.cli.exits import Exit, sentences
from vault.cli.ground import data_dir_option, operator_settings
from vault.cli.guards import Guard, guarded
from vault.cli.output import emit, json_option, pairs, say
from vault.logs import silence_logs
from vault.settings import AllSettings

_LONGEST_REASON: Final = 200


def _reason(_context: click.Context, _option: click.Parameter, given: str) -> str:
    if not given.isprintable() or not 1 <= len(given.strip()) <= _LONGEST_REASON:
        raise click.BadParameter(f"a reason has 1 to {_LONGEST_REASON} printable characters")
    return given.strip()


_reason_option: Final = click.option(
    "--reason", required=True, callback=_reason, help="For the audit log, for ever: name no patient."
)


@click.group(cls=ExampledGroup, examples=("replayvault breaker status",))
def breaker() -> None:
    """The listing breaker, which stops every list after too many key mismatches; recordings play on.

    Works on Redis itself: run it where the service runs, as its user and with its environment.
    """


@breaker.command("status", examples=("replayvault breaker status", "replayvault breaker status --json"))
@json_option
@data_dir_option
def status(data_dir: Path | None, *, as_json: bool) -> None:
    """Tell whether lists are stopped. Exit code 0 where they are answered, 4 where they are stopped."""
    with sentences():
        record = asyncio.run(read_breaker(operator_settings(data_dir=data_dir)))
        emit(_document(record), as_json=as_json, people=lambda: _show(record))
    sys.exit(int(Exit.REFUSED if record is not None and record.is_open else Exit.OK))


@breaker.command(
    "close",
    examples=(
        'replayvault breaker close --reason "release 1.4.1 is back" --dry-run',
        'replayvault breaker close --reason "release 1.4.1 is back"',
    ),
)
@_reason_option
@json_option
@data_dir_option
@guarded
def close(guard: Guard, reason: str, data_dir: Path | None, *, as_json: bool) -> None:
    """Let lists be answered again, once it is known why keys did not match.

    A record in Redis that cannot be read is removed; replicas that saw an opening put that back, to be closed next.
    """
    with sentences():
        silence_logs()
        settings = operator_settings(data_dir=data_dir)
        try:
            record = asyncio.run(read_breaker(settings))
        except UnreadableRecord:
            _clear(guard, settings, reason, as_json=as_json)
            return
        if record is None or not record.is_open:
            emit({"closed": None}, as_json=as_json, people=lambda: say("the breaker is closed already"))
            return
        opening = record.opening
        if guard.dry_run:
            emit({"would_close": _document(record)}, as_json=as_json, people=lambda: _show(record))
            return
        guard.ask(opening.opening_id, about=f"Lists are answered again: {_cause(opening)} stopped them.")
        asyncio.run(close_breaker(settings, opening, reason=reason, warn=say))
        emit({"closed": opening.opening_id}, as_json=as_json, people=lambda: say("lists are answered again"))


@breaker.command("open", examples=('replayvault breaker open --reason "a patient saw a strange title"',))
@_reason_option
@json_option
@data_dir_option
def open_(reason: str, data_dir: Path | None, *, as_json: bool) -> None:
    """Stop every list now, by hand. Recordings play on by their ids."""
    with sentences():
        silence_logs()
        settings = operator_settings(data_dir=data_dir)
        opening = asyncio.run(open_breaker(settings, reason=reason, warn=say))
        told = "lists are stopped" if opening is not None else "lists are stopped already"
        document = {"opened": None if opening is None else opening.opening_id}
        emit(document, as_json=as_json, people=lambda: say(told))


def _clear(guard: Guard, settings: AllSettings, reason: str, *, as_json: bool) -> None:
    told = "a record that cannot be read"
    if guard.dry_run:
        emit({"would_clear": told}, as_json=as_json, people=lambda: say(f"would remove {told}"))
        return
    guard.ask("unreadable", about=f"Redis holds {told}; it is removed, and replicas write what they know.")
    asyncio.run(clear_breaker(settings, reason=reason))
    emit({"cleared": told}, as_json=as_json, people=lambda: say(f"removed {told}"))


def _cause(opening: Opening) -> str:
    if opening.place == OPERATOR:
        return "an operator"
    return f"{opening.count} key mismatches of release {opening.release}"


def _document(record: Record | None) -> dict[str, Any]:
    if record is None or not record.is_open:
        return {"state": "closed"}
    opening = record.opening
    return {
        "state": "open",
        "id": opening.opening_id,
        "since": dt.datetime.fromtimestamp(opening.at_ms / 1000, tz=dt.UTC),
        "release": opening.release,
        "place": opening.place,
        "count": opening.count,
    }


def _show(record: Record | None) -> None:
    pairs(*_document(record).items())
