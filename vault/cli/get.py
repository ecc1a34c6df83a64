"""`replayvault get`: a file of a recording, as a patient may have it."""

from __future__ import annotations

import asyncio
import sys
import uuid
from pathlib import Path

import click

from vault.cli.connection import STDIN, Connection, connected
from vault.cli.examples import Exampled
from vault.cli.exits import sentences
from vault.cli.output import emit, json_option, say
from vault.cli.progress import Bars
from vault.cli.words import IDENTIFIER
from vault.client import FileSink, Sink, WriterSink


@click.command(
    cls=Exampled,
    examples=(
        "replayvault get 2f1d0c4e-8a57-4c1b-9b6e-0d6f5b1f7a21 --token-file session.token",
        "replayvault get 2f1d0c4e-8a57-4c1b-9b6e-0d6f5b1f7a21 poster.jpg -o knee.jpg --token-file session.token",
        "replayvault get 2f1d0c4e-8a57-4c1b-9b6e-0d6f5b1f7a21 audio.mp4 -o - --token-file session.token | ffplay -",
    ),
)
@click.argument("recording", type=IDENTIFIER)
@click.argument("file", default="replay.mp4")
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path, allow_dash=True),
    help="Where to write it; - is standard output.  [default: the file's own name]",
)
@click.option("--force", is_flag=True, help="Replace a file that stands there.")
@json_option
@connected
def get(
    connection: Connection,
    recording: uuid.UUID,
    file: str,
    output: Path | None,
    *,
    force: bool,
    as_json: bool,
) -> None:
    """Download FILE of RECORDING (replay.mp4 unless named); goes on where an earlier call was cut.

    Needs the session token of the patient whose recording it is. What is written is not encrypted any more.
    """
    target = output or Path(file).name
    if str(target) == STDIN and as_json:
        raise click.UsageError("standard output takes the file or JSON, not both")
    with sentences():
        to_stdout = str(target) == STDIN
        sink = WriterSink(sys.stdout.buffer) if to_stdout else FileSink(Path(target), replace=force)
        with Bars(shown=not as_json, verb=f"downloading {file}") as bars:
            size_bytes = asyncio.run(_get(connection, recording, file, sink, bars))
        if not to_stdout:
            document = {"recording": recording, "file": file, "output": target, "size_bytes": size_bytes}
            emit(document, as_json=as_json, people=lambda: say(f"{target}: {size_bytes} bytes"))


async def _get(connection: Connection, recording: uuid.UUID, file: str, sink: Sink, bars: Bars) -> int:
    async with connection.patient() as session:
        return await session.download(recording, file, sink, on_progress=bars.bytes)
