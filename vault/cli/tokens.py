"""`replayvault tokens`: the service tokens of tenants' backends, made and ended by whoever may write the catalog.

Invariants: a token's text is made here, shown once and stored nowhere; making and ending one is on the audit log
before it holds.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import uuid
from pathlib import Path
from typing import Any

import click

from keys.ids import parse_tenant
from keys.service_token import HOUSE, HOUSE_SCOPES, ServiceScope, hash_service_token, new_service_token
from vault.app.databases import opened_catalog
from vault.audit.entry import Action, Decision, Event
from vault.catalog import service_tokens
from vault.catalog.errors import UnknownToken
from vault.catalog.service_tokens import ServiceTokenRow
from vault.cli.examples import ExampledGroup
from vault.cli.exits import sentences
from vault.cli.ground import data_dir_option, operator_settings
from vault.cli.guards import Guard, guarded
from vault.cli.output import emit, json_option, say, table
from vault.cli.recorded import recorded_catalog
from vault.cli.saving import hand_out, save_option
from vault.cli.words import DURATION, IDENTIFIER
from vault.settings import AllSettings


@click.group(
    cls=ExampledGroup,
    examples=("replayvault tokens create --tenant clinic --scope ingest --scope sessions > backend.token",),
)
def tokens() -> None:
    """Tokens of tenants' backends. Works on the catalog itself: run it where the control role runs."""


@tokens.command(
    "create",
    examples=(
        "replayvault tokens create --tenant clinic --scope ingest --scope sessions > backend.token",
        "replayvault tokens create --tenant clinic --name uploader --scope ingest --expires 90d --save up.token",
        "replayvault tokens create --house --scope keys --expires 90d --save house.token",
    ),
)
@click.option("--tenant", help="Whose recordings it is for.")
@click.option("--house", is_flag=True, help="For keys and audit of every tenant, and for no recording.")
@click.option(
    "--name", default="backend", show_default=True, help="What it is for, to know it again in `tokens ls`."
)
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    required=True,
    type=click.Choice([each.value for each in ServiceScope]),
    help="What it may do; may be given several times.",
)
@click.option("--expires", type=DURATION, help="When it ends by itself, e.g. 90d; never, unless named.")
@save_option
@json_option
@data_dir_option
def create(
    *,
    tenant: str | None,
    house: bool,
    name: str,
    scopes: tuple[str, ...],
    expires: dt.timedelta | None,
    save: Path | None,
    data_dir: Path | None,
    as_json: bool,
) -> None:
    """Make a token and print it, this once."""
    if not name.isprintable() or not 1 <= len(name) <= 128:  # noqa: PLR2004 - the column's width
        raise click.BadParameter("a name has 1 to 128 printable characters", param_hint="--name")
    if (tenant is None) != house:
        raise click.UsageError("say whose it is: --tenant NAME, or --house")
    if house and not set(scopes) <= {each.value for each in HOUSE_SCOPES}:
        raise click.UsageError("a token of the house has no scopes but keys and audit")
    with sentences():
        text, now = new_service_token(), utc_now()
        row = ServiceTokenRow(
            token_id=uuid.uuid4(),
            tenant=HOUSE if tenant is None else parse_tenant(tenant),
            name=name,
            scopes=frozenset(ServiceScope(each) for each in scopes),
            created_at=now,
            expires_at=None if expires is None else now + expires,
            revoked_at=None,
        )
        asyncio.run(_add(operator_settings(data_dir=data_dir), row, text))
        hand_out(text, save=save, as_json=as_json)
        document = _document(row) | ({} if save is not None else {"token": text})
        emit(document, as_json=as_json, people=lambda: say(f"token {row.token_id} of {row.tenant}"))


@tokens.command("ls", examples=("replayvault tokens ls --tenant clinic",))
@click.option("--tenant", help="Only this tenant's.")
@json_option
@data_dir_option
def ls(tenant: str | None, data_dir: Path | None, *, as_json: bool) -> None:
    """List tokens, the oldest first, without their text, which nobody has."""

    async def found() -> list[dict[str, Any]]:
        async with (
            opened_catalog(operator_settings(data_dir=data_dir)) as catalog,
            catalog.reading() as connection,
        ):
            rows = await service_tokens.every(connection)
        return [_document(row) for row in rows if tenant in (None, row.tenant)]

    with sentences():
        documents = asyncio.run(found())
        emit(documents, as_json=as_json, people=lambda: _show(documents))


@tokens.command(
    "revoke",
    examples=(
        "replayvault tokens revoke 2f1d0c4e-8a57-4c1b-9b6e-0d6f5b1f7a21 --dry-run",
        "replayvault tokens revoke 2f1d0c4e-8a57-4c1b-9b6e-0d6f5b1f7a21",
    ),
)
@click.argument("token_id", metavar="ID", type=IDENTIFIER)
@json_option
@data_dir_option
@guarded
def revoke(guard: Guard, token_id: uuid.UUID, data_dir: Path | None, *, as_json: bool) -> None:
    """End the token ID at once. The sessions that it opened go on; `sessions revoke` ends those."""
    with sentences():
        settings = operator_settings(data_dir=data_dir)
        row = asyncio.run(_standing(settings, token_id))
        if guard.dry_run:
            emit({"would_revoke": _document(row)}, as_json=as_json, people=lambda: _show([_document(row)]))
            return
        guard.ask(str(token_id), about=f"The backend {row.name} of {row.tenant} can do nothing more with it.")
        asyncio.run(_revoke(settings, row))
        emit({"revoked": token_id}, as_json=as_json, people=lambda: say(f"{token_id} is revoked"))


def utc_now() -> dt.datetime:
    """The clock."""
    return dt.datetime.now(tz=dt.UTC)


async def _add(settings: AllSettings, row: ServiceTokenRow, text: str) -> None:
    async with recorded_catalog(settings) as (catalog, audit):
        await audit.write(_event(Action.TOKEN_CREATE, row))
        async with catalog.writing() as connection:
            await service_tokens.add(connection, row, hash_service_token(text))


async def _standing(settings: AllSettings, token_id: uuid.UUID) -> ServiceTokenRow:
    async with opened_catalog(settings) as catalog, catalog.reading() as connection:
        for row in await service_tokens.every(connection):
            if row.token_id == token_id and row.revoked_at is None:
                return row
    raise UnknownToken("no such service token, or it was revoked before")


async def _revoke(settings: AllSettings, row: ServiceTokenRow) -> None:
    async with recorded_catalog(settings) as (catalog, audit):
        await audit.write(_event(Action.TOKEN_REVOKE, row))
        async with catalog.writing() as connection:
            await service_tokens.revoke(connection, row.token_id, now=utc_now())


def _event(action: Action, row: ServiceTokenRow) -> Event:
    scopes = " ".join(sorted(scope.value for scope in row.scopes))
    note = f"{row.token_id} {row.tenant}: {scopes}"
    return Event(action=action, decision=Decision.ALLOW, actor="operator", note=note)


def _document(row: ServiceTokenRow) -> dict[str, Any]:
    return {
        "id": str(row.token_id),
        "tenant": row.tenant,
        "name": row.name,
        "scopes": sorted(scope.value for scope in row.scopes),
        "created_at": row.created_at,
        "expires_at": row.expires_at,
        "revoked_at": row.revoked_at,
    }


def _show(documents: list[dict[str, Any]]) -> None:
    columns = ("id", "tenant", "name", "scopes", "created_at", "expires_at", "revoked_at")
    rows = [[" ".join(each[c]) if c == "scopes" else each[c] for c in columns] for each in documents]
    table(("id", "tenant", "name", "scopes", "created", "expires", "revoked"), rows)
