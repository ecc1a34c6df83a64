"""`replayvault keys due`: what is past its time, and which command answers it."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from vault.app.databases import opened_catalog
from vault.app.ground import utc_now
from vault.app.master import open_master
from vault.cli.examples import Exampled
from vault.cli.exits import sentences
from vault.cli.ground import data_dir_option, operator_settings
from vault.cli.output import emit, json_option, say, table
from vault.cli.words import DURATION
from vault.settings import AllSettings
from vault.survey.due import Periods, Surveyor


@click.command(
    cls=Exampled,
    examples=("replayvault keys due", "replayvault keys due --master-after 180d --patient-after 365d --json"),
)
@click.option("--master-after", type=DURATION, default="365d", show_default=True, help="For the master key.")
@click.option("--patient-after", type=DURATION, default="730d", show_default=True, help="For patient keys.")
@click.option("--tier-after", type=DURATION, default="365d", show_default=True, help="For the tier secret.")
@click.option(
    "--token-notice", type=DURATION, default="30d", show_default=True, help="Name tokens that end within it."
)
@json_option
@data_dir_option
def due(
    *,
    master_after: dt.timedelta,
    patient_after: dt.timedelta,
    tier_after: dt.timedelta,
    token_notice: dt.timedelta,
    data_dir: Path | None,
    as_json: bool,
) -> None:
    """Tell what is past its time: keys past their cryptoperiod, tokens that end soon, patients past their retention.

    Nothing is changed; patients past their retention are proposed for erasure, never erased.
    """
    periods = Periods(master=master_after, patient=patient_after, tier=tier_after, token_notice=token_notice)
    with sentences():
        document = asyncio.run(_due(operator_settings(data_dir=data_dir), periods))
        emit(document, as_json=as_json, people=lambda: _show(document))


async def _due(settings: AllSettings, periods: Periods) -> dict[str, Any]:
    async with opened_catalog(settings) as catalog:
        master = await asyncio.to_thread(open_master, settings)
        return await Surveyor(catalog, master, settings.tier_file).due(now=utc_now(), periods=periods)


def _show(document: dict[str, Any]) -> None:
    rows = list(_rows(document))
    if not rows:
        say("nothing is due")
        return
    table(("due", "since", "what to do"), rows)


def _rows(document: dict[str, Any]) -> Iterator[tuple[object, object, str]]:
    master, tier = document["master"], document["tier_secret"]
    if master["is_due"]:
        about = f"master key, version {master['version']}"
        yield about, master["made_at"], "replayvault keys rotate master"
    if master["patient_keys_elsewhere"]:
        about = f"{master['patient_keys_elsewhere']} patient keys under former versions or keepers"
        yield about, None, "replayvault keys rewrap"
    if tier["is_due"]:
        yield "tier secret", tier["made_at"], "replayvault keys rotate tier-secret"
    old, drained = document["patient_keys"], document["drained"]
    if old["count"]:
        yield f"{_count(old)} patient keys", old["oldest_at"], "replayvault keys rotate patient"
    if drained["count"]:
        yield (
            f"{_count(drained)} former patient keys",
            drained["oldest_at"],
            "they wrap nothing: to be retired",
        )
    for token in document["tokens"]:
        about = f"token {token['name']} of {token['tenant']} ends at {token['expires_at']:%Y-%m-%d}"
        yield about, None, "replayvault tokens create"
    for each in document["erasures_proposed"]:
        about = f"patient {each['patient']} of {each['tenant']}, class {each['class']}"
        yield about, each["newest_at"], "decide whether to erase; nothing is erased by itself"
    if not document["erasures_whole"]:
        yield "more patients past their retention", None, "deal with these first, then look again"


def _count(found: dict[str, Any]) -> str:
    return str(found["count"]) if found["is_whole"] else f"{found['count']} or more"
