"""From a claimed job to what does its work."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Final, assert_never

from keys.strongroom import Strongroom
from vault.alarm import Alarm
from vault.catalog.key_jobs import JobClaim, JobKind, JobRow
from vault.objects.store import ObjectStore
from vault.rotation.master_job import MasterTurns
from vault.rotation.patient_job import PatientTurns
from vault.rotation.patients import Drop, PatientRotation
from vault.rotation.renewal_job import RenewalTurns, grace_of
from vault.rotation.renewing import Renewing
from vault.rotation.retire_job import RetireTurns
from vault.rotation.retire_master_job import RetireMasterTurns
from vault.rotation.turns import Turns

NOW: Final = "now"  # an option of a patient job: end sessions instead of waiting for them


def turns_of(
    job: JobRow,
    held: JobClaim,
    *,
    strongroom: Strongroom,
    store: ObjectStore,
    alarm: Alarm,
    clock: Callable[[], dt.datetime],
    drop: Drop,
) -> Turns:
    """The turns of a job. `drop` takes records of ended sessions away, where a job ends any."""
    catalog = strongroom.catalog
    match job.kind:
        case JobKind.PATIENT:
            ending = drop if job.options.get(NOW) else None
            rotation = PatientRotation(catalog, strongroom, alarm, clock, held, job.requested_at, ending)
            return PatientTurns(catalog, rotation, job, held, clock)
        case JobKind.MASTER | JobKind.REWRAP:
            return MasterTurns(catalog, strongroom.master, alarm.audit, job, held, clock)
        case JobKind.RETIRE:
            return RetireTurns(strongroom, alarm.audit, job, held, clock)
        case JobKind.RETIRE_MASTER:
            return RetireMasterTurns(catalog, strongroom.master, alarm.audit, job, held, clock)
        case JobKind.REENCRYPT:
            grace = grace_of(job.options)
            renewing = Renewing(strongroom, store, alarm, clock, held, job.requested_at, grace)
            return RenewalTurns(catalog, renewing, job, held, clock)
        case unknown:
            assert_never(unknown)
