"""`replayvault keys status`: how many keys there are, and how much stands under them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import click

from keys.errors import MasterUnusable
from vault.app.databases import opened_catalog
from vault.app.tier_desk import tier_desk
from vault.cli.examples import Exampled
from vault.cli.exits import sentences
from vault.cli.ground import data_dir_option, operator_settings
from vault.cli.output import emit, json_option, pairs, say, table
from vault.sessions.errors import RecordsUnavailable
from vault.sessions.tier_rotation import TierStanding, document_of
from vault.settings import AllSettings
from vault.survey.status import status as survey


@click.command(cls=Exampled, examples=("replayvault keys status", "replayvault keys status --json"))
@json_option
@data_dir_option
def status(data_dir: Path | None, *, as_json: bool) -> None:
    """Count keys: patient keys under each version of each master key, and recordings under patient keys."""
    with sentences():
        document = asyncio.run(_status(operator_settings(data_dir=data_dir)))
        emit(document, as_json=as_json, people=lambda: _show(document))


async def _tiers(settings: AllSettings) -> TierStanding | None:
    try:
        async with tier_desk(settings, writing=False) as desk:
            return await desk.look()
    except (RecordsUnavailable, MasterUnusable):
        return None  # keys are counted without them


async def _status(settings: AllSettings) -> dict[str, Any]:
    async with opened_catalog(settings) as catalog, catalog.reading() as connection:
        counted = await survey(connection)
    tiers = await _tiers(settings)
    return {"tier": {"step": "unknown"} if tiers is None else document_of(tiers), **counted}


def _show(document: dict[str, Any]) -> None:
    show_status(document)
    say("")
    pairs(
        *(
            ("tier secret", value) if name == "step" else (name, value)
            for name, value in document["tier"].items()
        )
    )


def show_status(document: dict[str, Any]) -> None:
    """Print how many keys there are, as two tables."""
    rows = [
        [row[name] for name in ("provider", "key", "version", "patient_keys", "oldest")]
        for row in document["master"]
    ]
    table(("master key", "name", "version", "patient keys", "oldest"), rows)
    say("")
    table(("patient keys", "keys", "recordings"), [list(row.values()) for row in document["patient"]])
