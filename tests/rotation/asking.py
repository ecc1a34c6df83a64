"""Asking for key jobs beside a running world, whose control role takes them up."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

from keys import halves
from keys.database import Database
from vault.app.ground import utc_now
from vault.catalog import key_jobs
from vault.catalog.key_job_states import ENDED, JobState
from vault.catalog.key_jobs import JobId, JobKind, JobRow


async def ask(catalog: Database, kind: JobKind, **narrowed: Any) -> JobId:
    """Ask for a job as the command line does."""
    async with catalog.writing() as connection:
        under = await halves.census(connection)
        job = JobRow(
            job_id=JobId(uuid.uuid4()),
            kind=kind,
            state=JobState.QUEUED,
            tenant=narrowed.pop("tenant", None),
            patient=narrowed.pop("patient", None),
            base_version=max(each.place.key_version for each in under),
            requested_by="test",
            requested_at=utc_now(),
            **narrowed,
        )
        await key_jobs.ask(connection, job)
    return job.job_id


async def ended(catalog: Database, job_id: JobId) -> JobRow:
    """The job, once it is over."""
    async with asyncio.timeout(90):
        while True:
            async with catalog.reading() as connection:
                job = await key_jobs.find(connection, job_id)
            if job.state in ENDED:
                return job
            await asyncio.sleep(0.2)
