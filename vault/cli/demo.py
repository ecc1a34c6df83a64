"""`replayvault demo`: the whole path on a temporary folder, and what is left of it without any check."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import click
import uvloop
from rich.console import Console

from transcoder.binaries import find_tools
from vault.app.everything import every_role
from vault.app.hardening import harden_process
from vault.app.serving import build_app, listening
from vault.cli.examples import Exampled
from vault.cli.exits import Exit, sentences
from vault.demo.films import FilmError
from vault.demo.story import Story
from vault.demo.visit import VisitError
from vault.logs import silence_logs
from vault.settings import AllSettings, load


@click.command(
    cls=Exampled,
    examples=(
        "replayvault demo",
        "replayvault demo --file my-recording.webm",
        "replayvault demo --check --port 0",
    ),
)
@click.option(
    "--file", "film", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Your own film."
)
@click.option(
    "--check", is_flag=True, help="Do not wait at the end; exit 1 if anything is not as it should be."
)
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="0 takes any free one."
)
def demo(film: Path | None, port: int, *, check: bool) -> None:
    """Show Replay Vault with two patients, and what A gets of B's when every check is gone.

    Everything runs for real, in a temporary folder that is removed at the end.
    """
    console = Console(highlight=False)
    with sentences():
        harden_process()
        silence_logs()
        wrong = uvloop.run(_run(console, film, 0 if check else port, wait=not check))
    for each in wrong:
        console.print(f"[bold red]not as it should be:[/] {each}")
    if not wrong:
        console.print("[bold green]Everything is as it should be.[/]")
    sys.exit(int(Exit.FAILED if wrong else Exit.OK))


async def _run(console: Console, film: Path | None, port: int, *, wait: bool) -> list[str]:
    with tempfile.TemporaryDirectory(prefix="replayvault-demo-") as folder:
        async with _opened(console, Path(folder), port) as story:
            try:
                source = None if film is None else await asyncio.to_thread(film.read_bytes)
                await _acts(story, source)
                if wait and not story.wrong:
                    _invite(story)
                    await _interrupted()
            except (FilmError, VisitError) as error:
                story.wrong.append(str(error))
            return story.wrong


@contextlib.asynccontextmanager
async def _opened(console: Console, folder: Path, port: int) -> AsyncIterator[Story]:
    settings = load(AllSettings, {}, data_dir=folder)
    async with (
        every_role(settings) as served,
        listening(build_app(served, settings), host="127.0.0.1", port=port) as url,
        aiohttp.ClientSession(url) as http,
    ):
        console.print(f"[bold]Replay Vault[/] runs on {url}, its data in {folder}")
        yield Story(console, settings, served, url, http)


async def _acts(story: Story, source: bytes | None) -> None:
    tell = story.console.rule
    tell("1. A backend stores three consultations of two patients")
    backend = await story.hire_a_backend()
    await story.store_everything(backend, find_tools().ffmpeg, source)
    tell("2. Each patient signs in and plays")
    await story.open_sessions(backend)
    await story.play_ones_own()
    tell("3. A bad release: every authorization check is gone")
    await story.misroute()
    tell("4. Lists stop until an operator has looked")
    await story.lists_stop()
    tell("5. What the audit log says")
    await story.show_the_audit(18)
    tell("6. What the storage provider sees")
    await story.show_an_object()


def _invite(story: Story) -> None:
    say = story.console.print
    story.console.rule("Your turn")
    port_free = story.url.replace("127.0.0.1", "localhost")
    say(f"Open [bold]{port_free}/[/] and sign in with one of these session tokens:")
    for patient, visitor in story.sessions.items():
        say(f"  {patient}: {visitor.token}", soft_wrap=True)
    token = story.sessions["patient-a"].token
    path = f"{story.url}/v1/recordings/{story.recordings['patient-a'][0]}"
    say("or paste:")
    say(f"  curl -H 'Authorization: Bearer {token}' {story.url}/v1/recordings", soft_wrap=True)
    say(f"  curl -H 'Authorization: Bearer {token}' -o replay.mp4 {path}/replay.mp4", soft_wrap=True)
    say(f"  ffplay -headers 'Authorization: Bearer {token}' {path}/master.m3u8", soft_wrap=True)
    say("Ctrl-C ends the demonstration and removes its folder.")


async def _interrupted() -> None:
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.Event().wait()
