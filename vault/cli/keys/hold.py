"""`replayvault keys hold`: legal holds, which keep patients from being erased."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from keys.erasures import LegalHold
from keys.ids import parse_patient, parse_tenant
from vault.app.erasing import deciding, looking
from vault.cli.examples import ExampledGroup
from vault.cli.exits import sentences
from vault.cli.ground import data_dir_option, operator_settings
from vault.cli.output import emit, json_option, say, table
from vault.cli.person import operator_name
from vault.erasure.requests import Requests

T = TypeVar("T")
_tenant = click.option("--tenant", required=True)
_patient = click.option("--patient", required=True)


@click.group(
    cls=ExampledGroup,
    examples=('replayvault keys hold place --tenant clinic --patient p-17 --reason "court order 12"',),
)
def hold() -> None:
    """Legal holds. Whoever is under one is not erased: a request is refused, and one that is held waits."""


@hold.command(
    "place",
    examples=('replayvault keys hold place --tenant clinic --patient p-17 --reason "court order 12"',),
)
@_tenant
@_patient
@click.option("--reason", required=True, help="Why, for whoever looks at it later.")
@json_option
@data_dir_option
def place(tenant: str, patient: str, reason: str, data_dir: Path | None, *, as_json: bool) -> None:
    """Place a legal hold on a patient."""
    with sentences():
        whose = parse_tenant(tenant), parse_patient(patient)
        made = _at_the_desk(
            data_dir, lambda desk: desk.place_hold(*whose, reason=reason, actor=operator_name())
        )
        emit(_document(made), as_json=as_json, people=lambda: say("the patient is under a legal hold"))


@hold.command("lift", examples=("replayvault keys hold lift --tenant clinic --patient p-17",))
@_tenant
@_patient
@json_option
@data_dir_option
def lift(tenant: str, patient: str, data_dir: Path | None, *, as_json: bool) -> None:
    """Lift a legal hold; an erasure that waited for it goes on."""
    with sentences():
        whose = parse_tenant(tenant), parse_patient(patient)
        _at_the_desk(data_dir, lambda desk: desk.lift_hold(*whose, actor=operator_name()))
        emit({"lifted": True}, as_json=as_json, people=lambda: say("the legal hold is lifted"))


@hold.command("ls", examples=("replayvault keys hold ls",))
@json_option
@data_dir_option
def ls(data_dir: Path | None, *, as_json: bool) -> None:
    """List legal holds."""
    with sentences():
        found = asyncio.run(_held(data_dir))
        emit([_document(each) for each in found], as_json=as_json, people=lambda: _show(found))


def _at_the_desk(data_dir: Path | None, work: Callable[[Requests], Awaitable[T]]) -> T:
    async def done() -> T:
        async with deciding(operator_settings(data_dir=data_dir)) as desk:
            return await work(desk)

    return asyncio.run(done())


async def _held(data_dir: Path | None) -> tuple[LegalHold, ...]:
    async with looking(operator_settings(data_dir=data_dir)) as register:
        return await register.legal_holds()


def _document(made: LegalHold) -> dict[str, Any]:
    return {
        "tenant": made.tenant,
        "patient": made.patient,
        "reason": made.reason,
        "placed_by": made.placed_by,
        "placed_at": made.placed_at,
    }


def _show(found: tuple[LegalHold, ...]) -> None:
    table(
        ("tenant", "patient", "reason", "placed by", "at"),
        [(each.tenant, each.patient, each.reason, each.placed_by, each.placed_at) for each in found],
    )
