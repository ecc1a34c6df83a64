"""`replayvault keys erase`: a patient is forgotten, and a certificate says so.

Decisions are made here; the control role carries them out.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import sys
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from keys.erasures import ErasureId, ErasureRow
from keys.ids import parse_patient, parse_tenant
from keys.notes import load_public_keys
from vault.app.databases import database_name
from vault.app.erasing import deciding, looking, plan, prove_from
from vault.cli.examples import ExampledGroup
from vault.cli.exits import Exit, sentences
from vault.cli.ground import data_dir_option, operator_settings
from vault.cli.guards import Guard, guarded
from vault.cli.output import emit, json_option, pairs, say, table
from vault.cli.person import operator_name
from vault.cli.words import DURATION, IDENTIFIER
from vault.erasure.certificate import verify
from vault.erasure.requests import DEFAULT_HOLD, Register, Requests
from vault.settings import SettingsError

T = TypeVar("T")
_EXAMPLE: Final = "2f1d0c4e-8a57-4c1b-9b6e-0d6f5b1f7a21"
erasure_argument = click.argument("erasure", metavar="ID", type=IDENTIFIER)
_catalog_option = click.option(
    "--catalog", required=True, help="A restored catalog: the URL of a database, or an SQLite file."
)


@click.group(
    cls=ExampledGroup,
    examples=(
        'replayvault keys erase request --tenant clinic --patient p-17 --reason "asked on 3 May"',
        "replayvault keys erase status",
    ),
)
def erase() -> None:
    """Forget a patient: nothing of hers opens any more, not from any backup either.

    A request is held for a while, in which it can be cancelled and nothing new is taken in for the patient. Then the
    half of her key that stands in no backup of the catalog is destroyed, and rows and objects after it. The
    certificate is made once no backup of the share store can hold that half (REPLAYVAULT_SHARE_BACKUP_DAYS).
    """


@erase.command(
    "request",
    examples=(
        'replayvault keys erase request --tenant clinic --patient p-17 --reason "asked on 3 May" --dry-run',
        'replayvault keys erase request --tenant clinic --patient p-17 --reason "asked on 3 May" --hold 7d',
    ),
)
@click.option("--tenant", required=True)
@click.option("--patient", required=True)
@click.option("--reason", required=True, help="Stands in the certificate: why, and no name.")
@click.option(
    "--hold",
    type=DURATION,
    default=DEFAULT_HOLD,
    show_default="3d",
    help="How long it can be cancelled, e.g. 72h.",
)
@json_option
@data_dir_option
@guarded
def request(
    guard: Guard,
    *,
    tenant: str,
    patient: str,
    reason: str,
    hold: dt.timedelta,
    data_dir: Path | None,
    as_json: bool,
) -> None:
    """Ask for a patient to be erased."""
    with sentences():
        settings = operator_settings(data_dir=data_dir)
        whose = parse_tenant(tenant), parse_patient(patient)
        told = asyncio.run(plan(settings, *whose))
        if guard.dry_run:
            emit({"would_erase": told}, as_json=as_json, people=lambda: pairs(*told.items()))
            return
        guard.ask(patient, about=f"{told['recordings']} recordings are destroyed after {hold}.")
        _decided(
            data_dir,
            lambda desk: desk.ask(*whose, reason=reason, hold=hold, actor=operator_name()),
            as_json=as_json,
        )


@erase.command("approve", examples=(f"replayvault keys erase approve {_EXAMPLE}",))
@erasure_argument
@json_option
@data_dir_option
def approve(erasure: uuid.UUID, data_dir: Path | None, *, as_json: bool) -> None:
    """Agree to what another person asked for. Needed where REPLAYVAULT_TWO_PERSONS is set."""
    with sentences():
        _decided(
            data_dir, lambda desk: desk.approve(ErasureId(erasure), actor=operator_name()), as_json=as_json
        )


@erase.command("cancel", examples=(f"replayvault keys erase cancel {_EXAMPLE}",))
@erasure_argument
@json_option
@data_dir_option
def cancel(erasure: uuid.UUID, data_dir: Path | None, *, as_json: bool) -> None:
    """Take a request back while it is held: everything is as it was."""
    with sentences():
        _decided(
            data_dir, lambda desk: desk.cancel(ErasureId(erasure), actor=operator_name()), as_json=as_json
        )


@erase.command(
    "status",
    examples=("replayvault keys erase status", f"replayvault keys erase status {_EXAMPLE} --json"),
)
@click.argument("erasure", metavar="[ID]", type=IDENTIFIER, required=False)
@json_option
@data_dir_option
def status(erasure: uuid.UUID | None, data_dir: Path | None, *, as_json: bool) -> None:
    """Show where erasures stand, the latest first."""
    with sentences():
        if erasure is None:
            rows = _looked_up(data_dir, lambda register: register.latest())
            emit([document_of(row) for row in rows], as_json=as_json, people=lambda: _show_all(rows))
            return
        row = _looked_up(data_dir, lambda register: register.find(ErasureId(erasure)))
        emit(document_of(row), as_json=as_json, people=lambda: pairs(*document_of(row).items()))


@erase.command(
    "prove",
    examples=(f"replayvault keys erase prove {_EXAMPLE} --catalog /restored/catalog.sqlite",),
)
@erasure_argument
@_catalog_option
@json_option
@data_dir_option
def prove(erasure: uuid.UUID, catalog: str, data_dir: Path | None, *, as_json: bool) -> None:
    """Try everything of the patient that a restored catalog holds, and put the outcome into the certificate.

    Every wrap is tried with every half that the keeper of the master key unwraps. Exit code 5 where something opens.
    """
    with sentences():
        path = Path(catalog)
        url = f"sqlite+aiosqlite:///{path.resolve()}" if path.exists() else catalog
        if not path.exists() and "://" not in catalog:
            raise SettingsError(f"there is no catalog at {catalog}")
        settings = operator_settings(data_dir=data_dir)
        found = asyncio.run(prove_from(settings, ErasureId(erasure), url, name=database_name(url)))
        tried = found["tried"]
        emit(found, as_json=as_json, people=lambda: pairs(*tried.items()))
    sys.exit(int(Exit.PARTLY_FAILED if tried["opened"] else Exit.OK))


@erase.command(
    "certificate",
    examples=(f"replayvault keys erase certificate {_EXAMPLE} > erased.json",),
)
@erasure_argument
@json_option
@data_dir_option
def certificate(erasure: uuid.UUID, data_dir: Path | None, *, as_json: bool) -> None:
    """Print the certificate of an erasure, which is JSON either way. Exit code 3 until it is made."""
    with sentences():
        row = _looked_up(data_dir, lambda register: register.find(ErasureId(erasure)))
        if row.certificate is None:
            when = row.backups_expire_at or row.hold_until
            after = "" if when is None else f", not before {when.isoformat(timespec='minutes')}"
            say(f"replayvault: the erasure is {row.state.value}: its certificate is not made yet{after}")
            sys.exit(int(Exit.IN_PROGRESS))
        text = row.certificate
        emit(json.loads(text), as_json=as_json, people=lambda: click.echo(text, nl=False))


@erase.command(
    "verify",
    examples=("replayvault keys erase verify erased.json --public-key audit.pub",),
)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--public-key",
    "public_keys",
    multiple=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="A file of public keys whose signatures count.  [default: audit.pub in the data folder]",
)
@json_option
@data_dir_option
def verify_(file: Path, public_keys: tuple[Path, ...], data_dir: Path | None, *, as_json: bool) -> None:
    """Verify a certificate, with a public key and nothing else: no service, no database. Exit code 5 where it fails."""
    with sentences():
        paths = public_keys or (operator_settings(data_dir=data_dir).audit_public,)
        keys = [key for path in paths for key in load_public_keys(path)]
        held = verify(file.read_bytes(), keys)
        document = {
            "erasure": held.erasure,
            "tenant": held.tenant,
            "patient": held.patient,
            "destroyed_at": held.destroyed_at,
            "certified_at": held.certified_at,
            "attempts_that_failed": held.wraps_tried,
            "audit_log": held.checkpoint.writer,
        }
        emit(document, as_json=as_json, people=lambda: pairs(*document.items()))


def document_of(row: ErasureRow) -> dict[str, Any]:
    """An erasure as JSON."""
    return {
        "id": str(row.erasure_id),
        "state": row.state.value,
        "tenant": row.tenant,
        "patient": row.patient,
        "reason": row.reason,
        "requested_by": row.requested_by,
        "requested_at": row.requested_at,
        "approved_by": row.approved_by,
        "hold_until": row.hold_until,
        "destroyed_at": row.destroyed_at,
        "backups_expire_at": row.backups_expire_at,
        "ended_at": row.ended_at,
    }


def _looked_up(data_dir: Path | None, question: Callable[[Register], Awaitable[T]]) -> T:
    async def found() -> T:
        async with looking(operator_settings(data_dir=data_dir)) as register:
            return await question(register)

    return asyncio.run(found())


def _decided(
    data_dir: Path | None, decision: Callable[[Requests], Awaitable[ErasureRow]], *, as_json: bool
) -> None:
    async def done() -> ErasureRow:
        async with deciding(operator_settings(data_dir=data_dir)) as desk:
            return await decision(desk)

    row = asyncio.run(done())
    emit(
        document_of(row),
        as_json=as_json,
        people=lambda: say(f"erasure {row.erasure_id} is {row.state.value}"),
    )


def _show_all(rows: tuple[ErasureRow, ...]) -> None:
    table(
        ("id", "state", "tenant", "patient", "requested", "hold until", "backups run out"),
        [
            (
                row.erasure_id,
                row.state.value,
                row.tenant,
                row.patient,
                row.requested_at,
                row.hold_until,
                row.backups_expire_at,
            )
            for row in rows
        ],
    )
