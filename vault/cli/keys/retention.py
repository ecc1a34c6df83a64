"""`replayvault keys retention`: how long a tenant keeps recordings. Who is past it is named by `keys due`.

Invariants: nothing is erased here; each change is on the audit log before it holds, without a patient's reference.
"""

from __future__ import annotations

import asyncio
import dataclasses
import re
from pathlib import Path
from typing import Any, Final

import click

from keys.database import open_database
from keys.ids import PatientRef, TenantId, parse_patient, parse_tenant
from keys.patient import pseudonym
from keys.shares import ShareStore
from vault.app.databases import opened_catalog, sqlite_file
from vault.audit.entry import Action, Decision, Event
from vault.catalog import retention as catalog_retention
from vault.catalog.retention import RetentionClass
from vault.cli.examples import ExampledGroup
from vault.cli.exits import sentences
from vault.cli.ground import data_dir_option, operator_settings
from vault.cli.output import emit, json_option, say, table
from vault.cli.recorded import recorded_catalog
from vault.settings import AllSettings

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
_LONGEST_DAYS: Final = 36_500


def _class_name(_context: click.Context, _option: click.Parameter, given: str | None) -> str | None:
    if given is not None and not _NAME.fullmatch(given):
        raise click.BadParameter("a class has 1 to 64 characters of A-Z a-z 0-9 . _ -")
    return given


_tenant_option: Final = click.option("--tenant", required=True, help="Whose class it is.")


@click.group(cls=ExampledGroup, examples=("replayvault keys retention ls",))
def retention() -> None:
    """How long recordings are kept after a patient's newest one. `keys due` names who is past it; nobody is erased."""


@retention.command(
    "set",
    examples=(
        "replayvault keys retention set adults --tenant clinic --days 3650 --default",
        "replayvault keys retention set children --tenant clinic --days 9130",
    ),
)
@click.argument("name", metavar="CLASS", callback=_class_name)
@_tenant_option
@click.option("--days", required=True, type=click.IntRange(1, _LONGEST_DAYS), help="How long to keep.")
@click.option("--default", "is_default", is_flag=True, help="For whoever is put into no class.")
@json_option
@data_dir_option
def set_(
    *, name: str, tenant: str, days: int, is_default: bool, data_dir: Path | None, as_json: bool
) -> None:
    """Make the class CLASS, or change it."""
    with sentences():
        wanted = RetentionClass(parse_tenant(tenant), name, days, is_default)
        asyncio.run(_set(operator_settings(data_dir=data_dir), wanted))
        emit(_document(wanted), as_json=as_json, people=lambda: say(f"{name} keeps for {days} days"))


@retention.command("ls", examples=("replayvault keys retention ls --tenant clinic",))
@click.option("--tenant", help="Only this tenant's.")
@json_option
@data_dir_option
def ls(tenant: str | None, data_dir: Path | None, *, as_json: bool) -> None:
    """List classes."""

    async def found() -> tuple[RetentionClass, ...]:
        async with (
            opened_catalog(operator_settings(data_dir=data_dir)) as catalog,
            catalog.reading() as connection,
        ):
            return await catalog_retention.classes(
                connection, tenant=None if tenant is None else parse_tenant(tenant)
            )

    with sentences():
        rows = [_document(each) for each in asyncio.run(found())]
        columns = ("tenant", "class", "days", "default")
        emit(rows, as_json=as_json, people=lambda: table(columns, [list(each.values()) for each in rows]))


@retention.command(
    "assign",
    examples=(
        "replayvault keys retention assign p-17 --tenant clinic --class children",
        "replayvault keys retention assign p-17 --tenant clinic --default",
    ),
)
@click.argument("patient")
@_tenant_option
@click.option("--class", "name", callback=_class_name, help="Into this class.")
@click.option("--default", "is_default", is_flag=True, help="Back into the tenant's default.")
@json_option
@data_dir_option
def assign(
    *,
    patient: str,
    tenant: str,
    name: str | None,
    is_default: bool,
    data_dir: Path | None,
    as_json: bool,
) -> None:
    """Put a patient into a class."""
    if (name is None) != is_default:
        raise click.UsageError("say into which: --class NAME, or --default")
    with sentences():
        whose = parse_tenant(tenant), parse_patient(patient)
        asyncio.run(_assign(operator_settings(data_dir=data_dir), *whose, name))
        document = {"tenant": tenant, "patient": patient, "class": name}
        emit(document, as_json=as_json, people=lambda: say(f"{patient} is in {name or 'the default class'}"))


async def _set(settings: AllSettings, wanted: RetentionClass) -> None:
    is_default = ", the default" if wanted.is_default else ""
    note = f"{wanted.tenant} {wanted.name}: {wanted.keep_days} days{is_default}"
    event = Event(action=Action.RETENTION_SET, decision=Decision.ALLOW, actor="operator", note=note)
    async with recorded_catalog(settings) as (catalog, audit), catalog.writing() as connection:
        await catalog_retention.set_class(connection, wanted)
        await audit.write(event)


async def _assign(settings: AllSettings, tenant: TenantId, patient: PatientRef, name: str | None) -> None:
    event = Event(
        action=Action.RETENTION_ASSIGN,
        decision=Decision.ALLOW,
        actor="operator",
        patient=await _pseudonym(settings, tenant, patient),
        note=f"{tenant}: {name or 'the default'}",
    )
    async with recorded_catalog(settings) as (catalog, audit), catalog.writing() as connection:
        await catalog_retention.assign(connection, tenant, patient, name)
        await audit.write(event)


async def _pseudonym(settings: AllSettings, tenant: TenantId, patient: PatientRef) -> str:
    file = sqlite_file(settings.shares)
    if file is not None and not file.exists():
        return ""
    shares = open_database(settings.shares)
    try:
        share = await ShareStore(shares).find(tenant, patient)
    finally:
        await shares.aclose()
    return "" if share is None else pseudonym(share, tenant=tenant, patient=patient)


def _document(each: RetentionClass) -> dict[str, Any]:
    found = dataclasses.asdict(each)
    return {
        "tenant": found["tenant"],
        "class": found["name"],
        "days": found["keep_days"],
        "default": found["is_default"],
    }
