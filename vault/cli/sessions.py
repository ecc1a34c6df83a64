"""`replayvault sessions`: open, list, refresh and end the sessions of patients."""

from __future__ import annotations

import asyncio
import datetime as dt
from pathlib import Path

import click

from vault.cli.connection import Connection, connected
from vault.cli.examples import ExampledGroup
from vault.cli.exits import sentences
from vault.cli.guards import Guard, guarded
from vault.cli.output import emit, json_option, printable, say, table
from vault.cli.saving import hand_out, save_option
from vault.cli.words import DURATION
from vault.client import OpenedSession, SessionScope, SessionView

_ALL = "all"


@click.group(cls=ExampledGroup, examples=("replayvault sessions open --patient p-17 --save session.token",))
def sessions() -> None:
    """Sessions of patients. All but refresh need a service token with the scope sessions."""


@sessions.command(
    "open",
    examples=(
        "replayvault sessions open --patient p-17 > session.token",
        "replayvault sessions open --patient p-17 --ttl 2h --scope list --scope play --save session.token",
    ),
)
@click.option("--patient", required=True, help="A patient whom you have authenticated.")
@click.option("--ttl", type=DURATION, default="15m", show_default=True, help="How long it lives, e.g. 2h.")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice([each.value for each in SessionScope]),
    help="What it may do; all, unless named.",
)
@save_option
@json_option
@connected
def open_(
    connection: Connection,
    patient: str,
    ttl: dt.timedelta,
    scopes: tuple[str, ...],
    save: Path | None,
    *,
    as_json: bool,
) -> None:
    """Open a session, and print its token, this once."""

    async def opened() -> OpenedSession:
        async with connection.backend() as vault:
            chosen = tuple(SessionScope(each) for each in scopes) or tuple(SessionScope)
            return await vault.open_session(patient, ttl=ttl, scopes=chosen)

    with sentences():
        _hand_out(asyncio.run(opened()), save=save, as_json=as_json)


@sessions.command(
    "refresh",
    examples=("replayvault sessions refresh --token-file session.token --save session.token",),
)
@click.option("--ttl", type=DURATION, default="15m", show_default=True, help="How long the next one lives.")
@save_option
@json_option
@connected
def refresh(connection: Connection, ttl: dt.timedelta, save: Path | None, *, as_json: bool) -> None:
    """Exchange a session token for the next one; the old one ends within a minute. Needs the session token."""

    async def refreshed() -> OpenedSession:
        async with connection.patient() as session:
            return await session.refresh(ttl=ttl)

    with sentences():
        _hand_out(asyncio.run(refreshed()), save=save, as_json=as_json)


@sessions.command("ls", examples=("replayvault sessions ls --patient p-17",))
@click.option("--patient", help="Only this patient's.")
@json_option
@connected
def ls(connection: Connection, patient: str | None, *, as_json: bool) -> None:
    """List live sessions and tickets, without their tokens."""
    with sentences():
        found = asyncio.run(_found(connection, patient))
        emit(found, as_json=as_json, people=lambda: _show(found))


@sessions.command(
    "revoke",
    examples=(
        "replayvault sessions revoke 8f14e45fceea167a5a36dedd4bea2543c9f0f895fb98ab9159f51fd0297e236d",
        "replayvault sessions revoke --patient p-17",
        "replayvault sessions revoke --all --dry-run",
    ),
)
@click.argument("session", required=False)
@click.option("--patient", help="Every session and ticket of this patient.")
@click.option("--all", "everyone", is_flag=True, help="Every session and ticket of the tenant.")
@json_option
@guarded
@connected
def revoke(
    connection: Connection,
    guard: Guard,
    session: str | None,
    patient: str | None,
    *,
    everyone: bool,
    as_json: bool,
) -> None:
    """End SESSION and its tickets, or all of a patient, or all there are. Running streams stop within seconds."""
    if sum((session is not None, patient is not None, everyone)) != 1:
        raise click.UsageError("give one of SESSION, --patient and --all")
    with sentences():
        if guard.dry_run:
            found = [each for each in asyncio.run(_found(connection, patient)) if session in (None, each.id)]
            emit({"would_revoke": found}, as_json=as_json, people=lambda: _show(tuple(found)))
            return
        if everyone:
            guard.ask(_ALL, about="Every patient of this tenant has to sign in again.")
        ended = asyncio.run(_revoke(connection, session, patient))
        emit({"revoked": ended}, as_json=as_json, people=lambda: say(f"{ended} ended"))


async def _found(connection: Connection, patient: str | None) -> tuple[SessionView, ...]:
    async with connection.backend() as vault:
        return await vault.sessions(patient=patient)


async def _revoke(connection: Connection, session: str | None, patient: str | None) -> int:
    async with connection.backend() as vault:
        if session is not None:
            return await vault.revoke(session)
        return await vault.revoke_all(patient=patient)


def _show(found: tuple[SessionView, ...]) -> None:
    rows = [(each.id, each.kind, each.patient, each.issued_at, each.expires_at) for each in found]
    table(("id", "kind", "patient", "issued", "expires"), rows)


def _hand_out(opened: OpenedSession, *, save: Path | None, as_json: bool) -> None:
    text = opened.token.reveal(to="whoever asked for the session")
    hand_out(text, save=save, as_json=as_json)
    document = {"id": opened.id, "expires_at": opened.expires_at, "absolute_at": opened.absolute_at}
    if save is None:
        document["token"] = text
    emit(
        document,
        as_json=as_json,
        people=lambda: say(f"session {opened.id}, until {printable(opened.expires_at)}"),
    )
