"""From a claimed job to what does its work."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import assert_never

from keys.strongroom import Strongroom
from vault.alarm import Alarm
from vault.catalog.key_jobs import JobClaim, JobKind, JobRow
from vault.rotation.master_job import MasterTurns
from vault.rotation.patient_job import PatientTurns
from vault.rotation.patients import PatientRotation
from vault.rotation.retire_job import RetireTurns
from vault.rotation.retire_master_job import RetireMasterTurns
from vault.rotation.turns import Turns


def turns_of(
    job: JobRow,
    held: JobClaim,
    *,
    strongroom: Strongroom,
    alarm: Alarm,
    clock: Callable[[], dt.datetime],
) -> Turns:
    """The turns of a job."""
    catalog = strongroom.catalog
    match job.kind:
        case JobKind.PATIENT:
            rotation = PatientRotation(catalog, strongroom, alarm, clock, held, job.requested_at)
            return PatientTurns(catalog, rotation, job, held, clock)
        case JobKind.MASTER | JobKind.REWRAP:
            return MasterTurns(catalog, strongroom.master, alarm.audit, job, held, clock)
        case JobKind.RETIRE:
            return RetireTurns(strongroom, alarm.audit, job, held, clock)
        case JobKind.RETIRE_MASTER:
            return RetireMasterTurns(catalog, strongroom.master, alarm.audit, job, held, clock)
        case unknown:
            assert_never(unknown)
