"""`replayvault keys reencrypt`: a new key for recordings, and everything of theirs sealed anew under it."""

from __future__ import annotations

import asyncio
import datetime as dt
import uuid
from pathlib import Path
from typing import Any

import click

from keys.ids import RecordingId, parse_patient, parse_tenant
from vault.app.databases import opened_catalog
from vault.catalog import renewals
from vault.catalog.key_jobs import JobKind, JobRow
from vault.catalog.renewals import Extent
from vault.catalog.rotation import Scope
from vault.cli.examples import Exampled
from vault.cli.exits import sentences
from vault.cli.ground import data_dir_option, operator_settings
from vault.cli.guards import Guard, guarded
from vault.cli.keys.asking import Pace, ask_for, new_job, paced, plan_of
from vault.cli.output import emit, json_option, pairs
from vault.cli.words import DURATION, IDENTIFIER
from vault.objects.location import make_store
from vault.rotation.asking import of_recording
from vault.rotation.renewal_job import DEFAULT_GRACE, GRACE
from vault.settings import AllSettings

_PAGE = 500


@click.command(
    cls=Exampled,
    examples=(
        "replayvault keys reencrypt --recording 2f1d0c4e-8a57-4c1b-9b6e-0d6f5b1f7a21 --dry-run",
        "replayvault keys reencrypt --tenant clinic --patient p-17 --yes --wait",
        "replayvault keys reencrypt --tenant clinic --hours 22:00-06:00 --rate 0.2 --grace 1h",
    ),
)
@click.option("--recording", metavar="ID", type=IDENTIFIER, help="Only this recording.")
@click.option("--tenant", help="Every recording of this tenant.")
@click.option("--patient", help="Every recording of this patient; needs --tenant.")
@click.option(
    "--grace",
    type=DURATION,
    default="15m",
    show_default=True,
    help="How long what is replaced stays, for tickets that are out.",
)
@paced
@json_option
@data_dir_option
@guarded
def reencrypt(
    guard: Guard,
    *,
    recording: uuid.UUID | None,
    tenant: str | None,
    patient: str | None,
    grace: dt.timedelta,
    rate: float | None,
    hours: str | None,
    wait: bool,
    data_dir: Path | None,
    as_json: bool,
) -> None:
    """Give recordings a new key, and encrypt all of their objects anew. What the old keys sealed is destroyed.

    For a key that leaked: whoever has it, or an old catalog with everything that opens it, opens nothing of what is in
    the store afterwards. It reads and writes every byte. Whoever plays a recording meanwhile plays on; a ticket that
    was handed out before ends when --grace is over.
    """
    if (recording is None) == (tenant is None):
        raise click.UsageError("name a recording (--recording) or a tenant (--tenant), and not both")
    if patient is not None and tenant is None:
        raise click.UsageError("--patient needs --tenant")
    with sentences():
        extent = Extent(
            None if tenant is None else parse_tenant(tenant),
            None if patient is None else parse_patient(patient),
            None if recording is None else RecordingId(recording),
        )
        settings = operator_settings(data_dir=data_dir)
        options = {} if grace == DEFAULT_GRACE else {GRACE: int(grace.total_seconds())}
        scope, pace = Scope(extent.tenant, extent.patient), Pace(rate, hours, wait)
        job = new_job(settings, JobKind.REENCRYPT, scope, pace, options=options)
        if extent.recording_id is not None:
            job = asyncio.run(_narrowed(settings, job, extent.recording_id))
        plan: dict[str, Any] = dict(plan_of(settings, job))
        if guard.dry_run:
            plan["bytes"] = asyncio.run(_stored_bytes(settings, extent, job.requested_at))
            emit({"would_reencrypt": plan}, as_json=as_json, people=lambda: pairs(*plan.items()))
            return
        guard.ask("reencrypt", about=f"{plan['recordings']} recordings get a new key; the old objects go.")
        ask_for(settings, job, wait=wait, as_json=as_json)


async def _narrowed(settings: AllSettings, job: JobRow, recording_id: RecordingId) -> JobRow:
    """The job for one recording; raises `UnknownRecording`."""
    async with opened_catalog(settings) as catalog, catalog.reading() as connection:
        return await of_recording(connection, job, recording_id)


async def _stored_bytes(settings: AllSettings, extent: Extent, now: dt.datetime) -> int:
    """How much these recordings have in the store, by its own lists; raises `StoreUnavailable`."""
    store, total, after = make_store(settings.objects), 0, None
    try:
        async with opened_catalog(settings) as catalog:
            while True:
                async with catalog.reading() as connection:
                    page = await renewals.due(connection, extent, requested_at=now, after=after, limit=_PAGE)
                for row in page:
                    total += sum([info.size_bytes async for info in store.list(row.recording_id)])
                if not page:
                    return total
                after = page[-1].recording_id
    finally:
        await store.aclose()
