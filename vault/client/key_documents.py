"""The documents of the key routes as a client reads them. Pure; invariants as in `documents`."""

from __future__ import annotations

import datetime as dt
import enum
import uuid

from pydantic import Field

from vault.client.documents import Document


class JobState(enum.Enum):
    """Where a key job stands."""

    AWAITING = "awaiting"
    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    DONE = "done"
    INCOMPLETE = "incomplete"
    ABORTED = "aborted"

    @property
    def has_ended(self) -> bool:
        """Whether nothing more happens by itself."""
        return self in {JobState.DONE, JobState.INCOMPLETE, JobState.ABORTED}


class JobFault(Document):
    """An item that failed; the code is stable."""

    item: str
    code: str
    at: dt.datetime


class KeyJob(Document):
    """A job on keys. `errors` are the first hundred items that failed, where one job was asked for."""

    id: uuid.UUID
    kind: str
    state: JobState
    tenant: str | None = None
    patient: str | None = None
    total: int | None = None
    done: int
    failed: int
    skipped: int
    remaining_s: int | None = None
    note: str | None = None
    requested_by: str
    requested_at: dt.datetime
    started_at: dt.datetime | None = None
    ended_at: dt.datetime | None = None
    errors: tuple[JobFault, ...] = ()


class KeyJobs(Document):
    """Jobs, the latest first."""

    jobs: tuple[KeyJob, ...]


class KeyPlan(Document):
    """What a job would do."""

    kind: str
    would: dict[str, int | bool]


class MasterCount(Document):
    """Patient keys under one version of a master key."""

    provider: str
    key: str
    version: int
    patient_keys: int


class StateCount(Document):
    """Patient keys in one state, and recordings wrapped under them."""

    state: str
    keys: int
    recordings: int


class KeysStatus(Document):
    """How many keys there are, and how much stands under them."""

    master: tuple[MasterCount, ...]
    patient: tuple[StateCount, ...]


class WrongObject(Document):
    """An object that is not what the catalog says."""

    object: str
    fault: str


class ObjectSample(Document):
    """What was looked at in the object store."""

    looked_at: int
    wrong: int
    objects: tuple[WrongObject, ...]


class KeysCensus(KeysStatus):
    """The same, and a sample of objects."""

    sample: ObjectSample


class AgedKeys(Document):
    """Keys that are due; `count` is the least where it is not whole."""

    count: int
    is_whole: bool
    oldest_at: dt.datetime | None = None


class MasterDue(Document):
    """The current version of the master key."""

    version: int
    made_at: dt.datetime | None = None
    is_due: bool
    patient_keys_elsewhere: int


class TierDue(Document):
    """The secret that seals session records."""

    made_at: dt.datetime | None = None
    is_due: bool


class EndingToken(Document):
    """A service token that ends by itself soon."""

    id: uuid.UUID
    tenant: str
    name: str
    expires_at: dt.datetime


class ErasureProposed(Document):
    """A patient past their retention. Nobody is erased by being named."""

    tenant: str
    patient: str
    retention_class: str = Field(alias="class")
    newest_at: dt.datetime


class KeysDue(Document):
    """What is past its time; master key and tier secret are told to a token of the house only."""

    master: MasterDue | None = None
    tier_secret: TierDue | None = None
    patient_keys: AgedKeys
    drained: AgedKeys
    tokens: tuple[EndingToken, ...]
    erasures_proposed: tuple[ErasureProposed, ...]
    erasures_whole: bool


class LeakStep(Document):
    """One step of the answer to a leak; `command` is for whoever does it by hand."""

    step: str
    state: str
    against: str
    command: str
    job: uuid.UUID | None = None


class LeakDraft(Document):
    """The steps that would answer a leak."""

    leak: str
    steps: tuple[LeakStep, ...]


class Leak(Document):
    """A leak that was declared."""

    id: uuid.UUID
    leak: str
    tenant: str | None = None
    patient: str | None = None
    recording: uuid.UUID | None = None
    token_id: uuid.UUID | None = None
    version: int | None = None
    reason: str
    declared_by: str
    declared_at: dt.datetime
    answered_at: dt.datetime | None = None


class LeakPlan(Leak):
    """A leak, and the steps that answer it, in their order."""

    steps: tuple[LeakStep, ...]


class Leaks(Document):
    """Leaks, the latest first."""

    compromises: tuple[Leak, ...]


class TierStanding(Document):
    """How the rotation of the tier secret stands; secrets by their ids, the sealing one first."""

    step: str
    note: str | None = None
    secrets: tuple[str, ...]
    replicas: int
    left: int
    until: dt.datetime | None = None
