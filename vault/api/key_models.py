"""The documents of the key routes: what an administrator's tool sends and receives."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from keys.erasure import ErasureState
from vault.api.models import Reference
from vault.catalog.compromises import Leak
from vault.catalog.key_job_states import JobState
from vault.catalog.key_jobs import JobKind


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class MasterCount(_Document):
    """Patient keys under one version of one master key."""

    provider: str
    key: str
    version: int
    patient_keys: int
    oldest: dt.datetime = Field(description="When the oldest of these patient keys was made.")


class StateCount(_Document):
    """Patient keys in one state of their life, and recordings wrapped under them."""

    state: str
    keys: int
    recordings: int


class KeysStatus(_Document):
    """How many keys there are, and how much stands under them: the tenant's, or everybody's to a token of the house."""

    master: tuple[MasterCount, ...]
    patient: tuple[StateCount, ...]


class WrongObject(_Document):
    """An object that is not what the catalog says."""

    object: str
    fault: str = Field(description="A stable code, such as MISSING or OTHER_KEY.")


class SampleView(_Document):
    """What was looked at in the object store, by headers alone."""

    looked_at: int
    wrong: int
    objects: tuple[WrongObject, ...]


class CensusView(KeysStatus):
    """The same, and a random sample of published recordings held against their objects."""

    sample: SampleView


class CensusQuery(_Document):
    """How many recordings to look at."""

    sample: Annotated[int, Field(ge=0, le=200)] = 20


class MasterDue(_Document):
    """The current version of the master key."""

    provider: str
    key: str
    version: int
    made_at: dt.datetime | None = Field(description="Null where its keeper does not tell.")
    is_due: bool
    patient_keys_elsewhere: int = Field(
        description="Patient keys under other versions or keepers: rewrap them."
    )


class TierDue(_Document):
    """The secret that seals session records."""

    made_at: dt.datetime | None
    is_due: bool


class AgedKeys(_Document):
    """Keys that are due."""

    count: int
    is_whole: bool = Field(description="False where there are more than were counted.")
    oldest_at: dt.datetime | None


class EndingToken(_Document):
    """A service token that ends by itself soon."""

    id: uuid.UUID
    tenant: str
    name: str
    expires_at: dt.datetime


class ErasureProposed(_Document):
    """A patient whose newest recording is older than their class allows. Nobody is erased by being named here."""

    tenant: str
    patient: str
    class_: str = Field(alias="class")
    newest_at: dt.datetime


class DueView(_Document):
    """What is past its time. Master key and tier secret are shown to a token of the house only."""

    master: MasterDue | None
    tier_secret: TierDue | None
    patient_keys: AgedKeys = Field(description="Active patient keys older than two years.")
    drained: AgedKeys = Field(description="Former patient keys that wrap nothing any more.")
    tokens: tuple[EndingToken, ...]
    erasures_proposed: tuple[ErasureProposed, ...]
    erasures_whole: bool = Field(
        description="False where not everybody was looked at, or more are past than named."
    )


class NewKeyJob(_Document):
    """Asks for a job on keys."""

    kind: JobKind
    tenant: Reference | None = Field(
        default=None, description="For a token of the house: narrow it to a tenant."
    )
    patient: Reference | None = Field(default=None, description="Narrow it to one patient.")
    recording: uuid.UUID | None = Field(
        default=None, description="For `reencrypt`: this recording alone, without a tenant or patient."
    )
    grace_s: Annotated[int, Field(ge=0, le=30 * 86400)] | None = Field(
        default=None, description="For `reencrypt`: how long what is replaced stays; a quarter of an hour."
    )
    rate_per_s: Annotated[float, Field(ge=0.01, le=1_000_000)] | None = None
    hours: Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d$")] | None = Field(
        default=None, description="Only in this part of the day, in UTC: 22:00-06:00."
    )
    dry_run: bool = False


class JobPlan(_Document):
    """What a job would do. Nothing was changed."""

    kind: JobKind
    would: dict[str, int | bool]


class JobView(_Document):
    """Where a job stands."""

    id: uuid.UUID
    kind: JobKind
    state: JobState
    tenant: str | None
    patient: str | None
    recording: uuid.UUID | None
    options: dict[str, Any]
    total: int | None
    done: int
    failed: int
    skipped: int
    remaining_s: int | None = Field(description="At the pace it had so far; null where nobody can tell.")
    rate_per_s: float | None
    hours: str | None
    note: str | None
    requested_by: str
    requested_at: dt.datetime
    approved_by: str | None
    started_at: dt.datetime | None
    ended_at: dt.datetime | None


class JobFault(_Document):
    """An item that failed."""

    item: str
    code: str
    at: dt.datetime


class JobDetail(JobView):
    """A job, and the first hundred items that failed."""

    errors: tuple[JobFault, ...]


class JobList(_Document):
    """Jobs, the latest first."""

    jobs: tuple[JobView, ...]


class JobsQuery(_Document):
    """How many jobs to list."""

    limit: Annotated[int, Field(ge=1, le=1000)] = 50


_Reason = Annotated[str, Field(min_length=3, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]


class NewErasure(_Document):
    """Asks for a patient to be erased. `tenant` is named with a token of the house alone."""

    tenant: Reference | None = None
    patient: Reference
    reason: _Reason = Field(description="Stands in the certificate: why, and no name.")
    hold_s: Annotated[int, Field(ge=0, le=366 * 86400)] = Field(
        default=72 * 3600, description="How long it can be cancelled."
    )


class ErasureView(_Document):
    """Where an erasure stands."""

    id: uuid.UUID
    state: ErasureState
    tenant: str
    patient: str
    reason: str
    requested_by: str
    requested_at: dt.datetime
    approved_by: str | None
    hold_until: dt.datetime | None
    destroyed_at: dt.datetime | None
    backups_expire_at: dt.datetime | None = Field(description="When the certificate can be made.")
    ended_at: dt.datetime | None


class ErasureList(_Document):
    """Erasures, the latest request first."""

    erasures: tuple[ErasureView, ...]


class NewLegalHold(_Document):
    """Keeps a patient from being erased."""

    tenant: Reference | None = None
    patient: Reference
    reason: _Reason


class HeldPatient(_Document):
    """Whose legal hold."""

    tenant: Reference | None = None
    patient: Reference


class LegalHoldView(_Document):
    """A legal hold."""

    tenant: str
    patient: str
    reason: str
    placed_by: str
    placed_at: dt.datetime


class LegalHoldList(_Document):
    """Legal holds, by tenant and patient."""

    holds: tuple[LegalHoldView, ...]


class NewLeak(_Document):
    """Declares that a key leaked. Which of the narrowing members it needs depends on `leak`."""

    leak: Leak
    reason: _Reason = Field(description="What happened, for the record: no names of patients.")
    tenant: Reference | None = Field(
        default=None, description="For `patient`, with a token of the house: whose."
    )
    patient: Reference | None = Field(default=None, description="For `patient`: whose key.")
    recording: uuid.UUID | None = Field(default=None, description="For `recording`: whose key.")
    token_id: uuid.UUID | None = Field(default=None, description="For `token`: which service token.")
    version: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = Field(
        default=None, description="For `master`: which version."
    )
    dry_run: bool = False


class LeakStep(_Document):
    """One step of the answer to a leak."""

    step: str
    state: str = Field(description="`to do`, `by hand`, `done`, or the state of its job.")
    against: str = Field(description="What whoever has the key can do without this step.")
    command: str = Field(description="How an operator does it at the command line.")
    job: uuid.UUID | None


class LeakDraft(_Document):
    """The steps that would answer a leak. Nothing was declared."""

    leak: Leak
    steps: tuple[LeakStep, ...]


class LeakView(_Document):
    """A leak that was declared."""

    id: uuid.UUID
    leak: Leak
    tenant: str | None
    patient: str | None
    recording: uuid.UUID | None
    token_id: uuid.UUID | None
    version: int | None
    reason: str
    declared_by: str
    declared_at: dt.datetime
    answered_at: dt.datetime | None = Field(description="When all was done but what is done by hand.")


class LeakPlan(LeakView):
    """A leak, and the steps that answer it, in their order."""

    steps: tuple[LeakStep, ...]


class LeakList(_Document):
    """Leaks, the latest first."""

    compromises: tuple[LeakView, ...]


class LeaksQuery(_Document):
    """How many leaks to list."""

    limit: Annotated[int, Field(ge=1, le=1000)] = 50


class TierView(_Document):
    """How the rotation of the tier secret stands. Secrets are named by their ids."""

    step: str = Field(description="`none` where no rotation goes on.")
    note: str | None = Field(description="What it waits for.")
    secrets: tuple[str, ...] = Field(description="The sealing one first.")
    replicas: int
    holding: dict[str, int] = Field(description="How many replicas hold each secret.")
    sealing: dict[str, int] = Field(description="How many replicas seal with each secret.")
    left: int = Field(description="Sessions and tickets under the secret that goes.")
    until: dt.datetime | None = Field(description="When the last of them ends at the latest.")


class TierGoing(_Document):
    """Which tier secret goes."""

    secret: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")] = Field(
        description="Its id: naming it makes asking again harmless."
    )
