"""`replayvault recordings`: what is stored, by a backend's token; or what a patient sees, by a session's."""

from __future__ import annotations

import asyncio
import sys
import uuid
from collections.abc import Sequence

import click

from vault.cli.connection import Connection, connected
from vault.cli.examples import ExampledGroup
from vault.cli.exits import sentences
from vault.cli.guards import Guard, guarded
from vault.cli.output import emit, json_option, jsonable, length, pairs, say, table
from vault.cli.progress import Bars
from vault.cli.status import exit_of, tell
from vault.cli.words import IDENTIFIER
from vault.client import RecordingStatus, RecordingView
from vault.client.token import TokenKind

_ID = "2f1d0c4e-8a57-4c1b-9b6e-0d6f5b1f7a21"


@click.group(cls=ExampledGroup, examples=("replayvault recordings ls", f"replayvault recordings watch {_ID}"))
def recordings() -> None:
    """Recordings. ls and show take a service token (states) or a session token (what the patient sees)."""


@recordings.command(
    "ls",
    examples=(
        "replayvault recordings ls -n 20",
        "replayvault recordings ls --token-file session.token --json",
    ),
)
@click.option("-n", "--limit", type=click.IntRange(1), default=50, show_default=True, help="At most so many.")
@json_option
@connected
def ls(connection: Connection, limit: int, *, as_json: bool) -> None:
    """List recordings, newest first."""
    with sentences():
        found = asyncio.run(_found(connection, limit))
        emit(found, as_json=as_json, people=lambda: _show(found))


@recordings.command("show", examples=(f"replayvault recordings show {_ID}",))
@click.argument("recording", type=IDENTIFIER)
@json_option
@connected
def show(connection: Connection, recording: uuid.UUID, *, as_json: bool) -> None:
    """Say where RECORDING stands, or what it is called."""

    async def found() -> RecordingStatus | RecordingView:
        token = connection.token()
        if token.kind is TokenKind.SESSION:
            async with connection.patient_with(token) as session:
                return await session.recording(recording)
        async with connection.backend_with(token) as vault:
            return await vault.status(recording)

    with sentences():
        document = asyncio.run(found())
        emit(document, as_json=as_json, people=lambda: _tell(document))


@recordings.command("watch", examples=(f"replayvault recordings watch {_ID} --json",))
@click.argument("recording", type=IDENTIFIER)
@json_option
@connected
def watch(connection: Connection, recording: uuid.UUID, *, as_json: bool) -> None:
    """Follow RECORDING until it is published (exit code 0) or has failed (1); with --json a line a change."""

    async def watched(bars: Bars) -> RecordingStatus:
        async with connection.backend() as vault:
            async for status in vault.watch(recording):
                bars.status(status)
                emit(status, as_json=as_json, people=lambda: None)
                sys.stdout.flush()
        return status

    with sentences():
        with Bars(shown=not as_json, verb="") as bars:
            status = asyncio.run(watched(bars))
        if not as_json:
            tell(status)
    sys.exit(int(exit_of(status)))


@recordings.command("retry", examples=(f"replayvault recordings retry {_ID}",))
@click.argument("recording", type=IDENTIFIER)
@json_option
@connected
def retry(connection: Connection, recording: uuid.UUID, *, as_json: bool) -> None:
    """Queue a failed RECORDING once more; its sealed source was kept."""

    async def retried() -> RecordingStatus:
        async with connection.backend() as vault:
            return await vault.retry(recording)

    with sentences():
        status = asyncio.run(retried())
        emit(status, as_json=as_json, people=lambda: tell(status))
    sys.exit(int(exit_of(status)))


@recordings.command(
    "delete",
    examples=(f"replayvault recordings delete {_ID} --dry-run", f"replayvault recordings delete {_ID} --yes"),
)
@click.argument("recording", type=IDENTIFIER)
@json_option
@guarded
@connected
def delete(connection: Connection, guard: Guard, recording: uuid.UUID, *, as_json: bool) -> None:
    """Destroy RECORDING: first its keys, then its objects. There is no way back."""
    with sentences():
        token = connection.token()

        async def status() -> RecordingStatus:
            async with connection.backend_with(token) as vault:
                return await vault.status(recording)

        async def deleted() -> None:
            async with connection.backend_with(token) as vault:
                await vault.delete(recording)

        found = asyncio.run(status())
        if guard.dry_run:
            document = {"would_delete": jsonable(found)}
            emit(document, as_json=as_json, people=lambda: tell(found))
            return
        guard.ask(str(recording), about=f"This destroys a {found.state.value} recording, for good.")
        asyncio.run(deleted())
        emit({"deleted": recording}, as_json=as_json, people=lambda: say(f"{recording} is destroyed"))


async def _found(connection: Connection, limit: int) -> list[RecordingStatus | RecordingView]:
    token, found = connection.token(), list[RecordingStatus | RecordingView]()
    page_size = min(limit, 200)
    if token.kind is TokenKind.SESSION:
        async with connection.patient_with(token) as session:
            async for view in session.recordings(page_size=page_size):
                found.append(view)
                if len(found) == limit:
                    break
        return found
    async with connection.backend_with(token) as vault:
        async for status in vault.recordings(page_size=page_size):
            found.append(status)
            if len(found) == limit:
                break
    return found


def _show(found: Sequence[RecordingStatus | RecordingView]) -> None:
    states = [each for each in found if isinstance(each, RecordingStatus)]
    views = [each for each in found if isinstance(each, RecordingView)]
    if views:
        rows = [(v.id, v.title, v.clinician, v.consulted_at, length(v.duration_s)) for v in views]
        table(("id", "title", "clinician", "consulted", "length"), rows)
    else:
        lines = [(s.id, s.state.value, s.patient, s.consultation, s.created_at, s.failure) for s in states]
        table(("id", "state", "patient", "consultation", "created", "failure"), lines)


def _tell(document: RecordingStatus | RecordingView) -> None:
    if isinstance(document, RecordingStatus):
        tell(document)
        return
    pairs(
        ("recording", document.id),
        ("title", document.title),
        ("clinician", document.clinician),
        ("consulted", document.consulted_at),
        ("length", length(document.duration_s)),
        ("description", document.description),
        ("files", " ".join(document.files)),
    )
