"""`replayvault keys census`: keys by the catalog, and the catalog held against real objects."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from vault.app.databases import opened_catalog
from vault.catalog import census as catalog_census
from vault.cli.examples import Exampled
from vault.cli.exits import Exit, sentences
from vault.cli.ground import data_dir_option, operator_settings
from vault.cli.keys.status import show_status
from vault.cli.output import emit, json_option, pairs, say, table
from vault.objects.location import make_store
from vault.settings import AllSettings
from vault.survey.orphans import Walk
from vault.survey.sample import Sampler
from vault.survey.status import status

_SHOWN: Final = 50


@click.command(
    cls=Exampled,
    examples=("replayvault keys census", "replayvault keys census --sample 2000 --orphans --json"),
)
@click.option(
    "--sample",
    type=click.IntRange(0, 1_000_000),
    default=200,
    show_default=True,
    help="How many random recordings to hold against their objects.",
)
@click.option("--orphans", is_flag=True, help="Compare the whole store with the whole catalog: takes long.")
@json_option
@data_dir_option
def census(*, sample: int, orphans: bool, data_dir: Path | None, as_json: bool) -> None:
    """Count keys, and hold the catalog against real objects, by headers alone: no key is used, nothing is changed.

    Exit code 5 where an object is missing, is unknown to the catalog, or is not what the catalog says.
    """
    with sentences():
        settings = operator_settings(data_dir=data_dir)
        document = asyncio.run(_census(settings, sample, orphans=orphans, shown=not as_json))
        emit(document, as_json=as_json, people=lambda: _show(document))
    parts = (document["sample"], document["orphans"])
    sys.exit(int(Exit.PARTLY_FAILED if any(part and part["wrong"] for part in parts) else Exit.OK))


async def _census(settings: AllSettings, sample: int, *, orphans: bool, shown: bool) -> dict[str, Any]:
    async with (
        opened_catalog(settings) as catalog,
        contextlib.aclosing(make_store(settings.objects)) as store,
    ):
        async with catalog.reading() as connection:
            document = await status(connection)
            objects = await catalog_census.count(connection) if orphans else 0
        with _bar(shown=shown) as bar:
            looking = bar.add_task("sample", total=sample)
            sampler = Sampler(catalog, store, progress=lambda done: bar.update(looking, completed=done))
            document["sample"] = (await sampler.look(sample)).document()
            document["orphans"] = None
            if orphans:
                walking = bar.add_task("objects", total=objects)
                walk = Walk(catalog, store, progress=lambda done: bar.update(walking, completed=done))
                document["orphans"] = (await walk.walk()).document()
    return document


def _bar(*, shown: bool) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=not (shown and sys.stderr.isatty()),
        transient=True,
    )


def _show(document: dict[str, Any]) -> None:
    show_status(document)
    say("")
    _show_findings("of a random sample", document["sample"])
    if document["orphans"] is not None:
        _show_findings("in the store", document["orphans"])


def _show_findings(name: str, found: dict[str, Any]) -> None:
    pairs((f"objects {name}", found["looked_at"]), ("of them wrong", found["wrong"]))
    if found["wrong"]:
        rows = [(each["object"], each["fault"]) for each in found["objects"][:_SHOWN]]
        table(("object", "fault"), rows)
    if found["wrong"] > _SHOWN:
        say(f"and {found['wrong'] - _SHOWN} more: --json names up to 1000")
