"""`replayvault put`: a recording from a file into the vault."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import sys
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from pydantic import ValidationError

from vault.cli.connection import Connection, connected
from vault.cli.examples import Exampled
from vault.cli.exits import Exit, sentences
from vault.cli.output import emit, json_option, say
from vault.cli.progress import Bars
from vault.cli.status import exit_of, tell
from vault.cli.words import MOMENT
from vault.client import Metadata, RecordingStatus
from vault.client.errors import UploadInterrupted


@dataclass(frozen=True, slots=True)
class _Offer:
    """What is to be stored."""

    file: Path
    patient: str
    consultation: str
    metadata: Metadata
    key: str


@click.command(
    cls=Exampled,
    examples=(
        'replayvault put video.webm --patient p-17 --consultation c-1 --title "Follow-up"',
        "replayvault put video.webm --patient p-17 --consultation c-1 --metadata-file about.json --no-wait --json",
        "replayvault put --token-file - --patient p-17 --consultation c-1 --title Knee video.webm < backend.token",
    ),
)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--patient", required=True, help="Your opaque reference of the patient; never a name.")
@click.option("--consultation", required=True, help="Your reference of the consultation.")
@click.option("--title", help="Shown to the patient. Other users of this machine can see arguments.")
@click.option("--clinician", help="Who held the consultation.")
@click.option("--consulted-at", type=MOMENT, help="When it was held, e.g. 2026-03-01T09:30+01:00.")
@click.option(
    "--metadata-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A JSON file with title, clinician, consulted_at and description, in place of the options.",
)
@click.option(
    "--idempotency-key", help="Called again with the same key, put goes on with the same recording."
)
@click.option("--no-wait", is_flag=True, help="Return once it is stored and queued (exit code 3).")
@json_option
@connected
def put(
    connection: Connection,
    *,
    file: Path,
    patient: str,
    consultation: str,
    title: str | None,
    clinician: str | None,
    consulted_at: dt.datetime | None,
    metadata_file: Path | None,
    idempotency_key: str | None,
    no_wait: bool,
    as_json: bool,
) -> None:
    """Store a recording, and wait until it is published.

    The service seals the bytes under the patient's key as they arrive. Needs a service token with the scope ingest.
    """
    with sentences():
        about = {"title": title, "clinician": clinician, "consulted_at": consulted_at}
        given = {name: value for name, value in about.items() if value is not None}
        metadata = _metadata(given, metadata_file)
        offer = _Offer(file, patient, consultation, metadata, idempotency_key or str(uuid.uuid4()))
        with Bars(shown=not as_json, verb="uploading") as bars:
            status = asyncio.run(_put(connection, offer, bars, wait=not no_wait))
        emit(status, as_json=as_json, people=lambda: tell(status))
    sys.exit(int(exit_of(status)))


async def _put(connection: Connection, offer: _Offer, bars: Bars, *, wait: bool) -> RecordingStatus:
    async with connection.backend() as vault:
        try:
            stored = await vault.store(
                offer.file,
                patient=offer.patient,
                consultation=offer.consultation,
                metadata=offer.metadata,
                idempotency_key=offer.key,
                on_progress=bars.bytes,
            )
        except UploadInterrupted as cut:
            say(f"replayvault: {cut}; the same command with --idempotency-key {offer.key} sends it again")
            sys.exit(int(Exit.DEPENDENCY_DOWN))
        status = stored
        if wait:
            async for status in vault.watch(stored.id):
                bars.status(status)
    return status


def _metadata(given: dict[str, Any], file: Path | None) -> Metadata:
    if file is not None and given:
        raise click.UsageError("give either --metadata-file or --title, --clinician and --consulted-at")
    try:
        return Metadata.model_validate(given if file is None else json.loads(file.read_bytes()))
    except ValidationError as wrong:
        fields = ", ".join(".".join(map(str, each["loc"])) or "the whole" for each in wrong.errors())
        raise click.UsageError(f"this is missing or cannot be used: {fields} (a title is required)") from None
    except ValueError:
        raise click.UsageError(f"{file} does not hold JSON") from None
