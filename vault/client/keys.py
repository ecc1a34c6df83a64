"""The service as an administrator's tool uses it: how keys stand, what is due, and jobs that rotate.

Invariants: as in `backend`; asking for a job is not repeated by itself, since what was asked for twice may run twice.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping
from typing import Any, Final

from vault.client.key_documents import (
    JobState,
    KeyJob,
    KeyJobs,
    KeyPlan,
    KeysCensus,
    KeysDue,
    KeysStatus,
    Leak,
    LeakDraft,
    LeakPlan,
    Leaks,
    TierStanding,
)
from vault.client.wire import Ask, Wire

_KEYS: Final = ("v1", "keys")
_JOBS: Final = (*_KEYS, "jobs")
_LEAKS: Final = (*_KEYS, "compromises")
_TIER: Final = (*_KEYS, "tier-secret")
_POLL_S: Final = 1.0


class Keys:
    """Keys of the token's tenant, or of every tenant with a token of the house. Needs the scope `keys`.

    Every method raises `Refused` (by leaf), `Unreachable` or `UnexpectedAnswer`.
    """

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    async def status(self) -> KeysStatus:
        """How many keys there are, and how much stands under them."""
        return await self._wire.document(Ask(method="GET", path=_KEYS), KeysStatus, safe=True)

    async def census(self, *, sample: int = 20) -> KeysCensus:
        """The same, and so many random recordings held against their objects."""
        ask = Ask(method="GET", path=(*_KEYS, "census"), query={"sample": str(sample)})
        return await self._wire.document(ask, KeysCensus, safe=True)

    async def due(self) -> KeysDue:
        """What is past its time."""
        return await self._wire.document(Ask(method="GET", path=(*_KEYS, "due")), KeysDue, safe=True)

    async def plan(
        self,
        kind: str,
        *,
        tenant: str | None = None,
        patient: str | None = None,
        recording: uuid.UUID | None = None,
    ) -> KeyPlan:
        """What a job would do; raises `Forbidden` where it concerns every tenant and the token does not.

        A recording narrows `reencrypt`, alone; raises `NotFound` where it is not the token's.
        """
        body = _body(kind, tenant=tenant, patient=patient, recording=_text(recording), dry_run=True)
        return await self._wire.document(Ask(method="POST", path=_JOBS, document=body), KeyPlan, safe=True)

    async def ask(
        self,
        kind: str,
        *,
        tenant: str | None = None,
        patient: str | None = None,
        recording: uuid.UUID | None = None,
        grace_s: int | None = None,
        rate_per_s: float | None = None,
        hours: str | None = None,
    ) -> KeyJob:
        """Ask for a job: at most so many items a second, in this part of the day (UTC, `22:00-06:00`).

        With `reencrypt`, what is replaced stays for `grace_s`.

        Raises `Conflict` while such a one is under way, `Busy` where too many are, and as `plan` does.
        """
        body = _body(
            kind,
            tenant=tenant,
            patient=patient,
            recording=_text(recording),
            grace_s=grace_s,
            rate_per_s=rate_per_s,
            hours=hours,
        )
        return await self._wire.document(Ask(method="POST", path=_JOBS, document=body), KeyJob, safe=False)

    async def jobs(self, *, limit: int = 50) -> tuple[KeyJob, ...]:
        """Jobs, the latest first."""
        ask = Ask(method="GET", path=_JOBS, query={"limit": str(limit)})
        return (await self._wire.document(ask, KeyJobs, safe=True)).jobs

    async def job(self, job_id: uuid.UUID) -> KeyJob:
        """How far a job is, and what failed in it; raises `NotFound`."""
        return await self._wire.document(Ask(method="GET", path=(*_JOBS, str(job_id))), KeyJob, safe=True)

    async def ended(self, job_id: uuid.UUID) -> KeyJob:
        """Wait until a job ends, is paused, or waits for an approval; raises `NotFound`."""
        while True:
            job = await self.job(job_id)
            if job.state.has_ended or job.state in {JobState.PAUSED, JobState.AWAITING}:
                return job
            await asyncio.sleep(_POLL_S)

    async def approve(self, job_id: uuid.UUID) -> KeyJob:
        """Let a job begin that another token asked for; raises `NotFound` or `Conflict`."""
        return await self._change(job_id, "approve")

    async def pause(self, job_id: uuid.UUID) -> KeyJob:
        """Stop a job after its current step; raises `NotFound` or `Conflict`."""
        return await self._change(job_id, "pause")

    async def resume(self, job_id: uuid.UUID) -> KeyJob:
        """Go on with a paused job; raises `NotFound` or `Conflict`."""
        return await self._change(job_id, "resume")

    async def retry(self, job_id: uuid.UUID) -> KeyJob:
        """Try again what failed in a job that ended incomplete; raises `NotFound` or `Conflict`."""
        return await self._change(job_id, "retry")

    async def abort(self, job_id: uuid.UUID) -> KeyJob:
        """End a job where it stands, for good; raises `NotFound` or `Conflict`."""
        return await self._change(job_id, "abort")

    async def draft_leak(self, leak: str, *, reason: str, **narrowed: str | int | uuid.UUID) -> LeakDraft:
        """What would answer a leak; narrowed and raising as `declare_leak`."""
        ask = Ask(method="POST", path=_LEAKS, document=_leak(leak, reason, narrowed) | {"dry_run": True})
        return await self._wire.document(ask, LeakDraft, safe=True)

    async def declare_leak(self, leak: str, *, reason: str, **narrowed: str | int | uuid.UUID) -> LeakPlan:
        """Declare that a key leaked: `patient=`, `recording=`, `token_id=` or `version=` narrows it, by its kind.

        Raises `Forbidden` where it concerns every tenant and the token does not, `NotFound`, or `InvalidRequest`.
        """
        ask = Ask(method="POST", path=_LEAKS, document=_leak(leak, reason, narrowed))
        return await self._wire.document(ask, LeakPlan, safe=False)

    async def leaks(self, *, limit: int = 50) -> tuple[Leak, ...]:
        """Leaks that were declared, the latest first."""
        ask = Ask(method="GET", path=_LEAKS, query={"limit": str(limit)})
        return (await self._wire.document(ask, Leaks, safe=True)).compromises

    async def leak(self, leak_id: uuid.UUID) -> LeakPlan:
        """The steps that answer a leak, and how far they are; raises `NotFound`."""
        return await self._wire.document(Ask(method="GET", path=(*_LEAKS, str(leak_id))), LeakPlan, safe=True)

    async def next_step(self, leak_id: uuid.UUID) -> LeakPlan:
        """Begin the next step of an answer; raises `NotFound`, or `Conflict` where a step's job does not go on."""
        ask = Ask(method="POST", path=(*_LEAKS, str(leak_id), "next"))
        return await self._wire.document(ask, LeakPlan, safe=True)

    async def answered(self, leak_id: uuid.UUID) -> LeakPlan:
        """Do every step that is not done by hand, and wait for each; raises as `next_step` does."""
        while (plan := await self.next_step(leak_id)).answered_at is None:
            if any(each.state in {"queued", "running"} for each in plan.steps):
                await asyncio.sleep(_POLL_S)
        return plan

    async def tier_secret(self) -> TierStanding:
        """How the rotation of the tier secret stands; raises `Forbidden` but for a token of the house."""
        return await self._wire.document(Ask(method="GET", path=_TIER), TierStanding, safe=True)

    async def rotate_tier_secret(self, secret: str) -> TierStanding:
        """Let the tier secret with this id go, as far as is safe now; ask again until the step is `none`.

        Raises `Forbidden`, or `Conflict` while another one goes or the file cannot be changed.
        """
        ask = Ask(method="POST", path=(*_TIER, "rotate"), document={"secret": secret})
        return await self._wire.document(ask, TierStanding, safe=True)

    async def _change(self, job_id: uuid.UUID, verb: str) -> KeyJob:
        ask = Ask(method="POST", path=(*_JOBS, str(job_id), verb))
        return await self._wire.document(ask, KeyJob, safe=False)


def _body(kind: str, **given: Any) -> dict[str, Any]:
    return {"kind": kind, **{name: value for name, value in given.items() if value is not None}}


def _text(found: uuid.UUID | None) -> str | None:
    return None if found is None else str(found)


def _leak(leak: str, reason: str, narrowed: Mapping[str, str | int | uuid.UUID]) -> dict[str, Any]:
    given = {name: value if isinstance(value, int) else str(value) for name, value in narrowed.items()}
    return {"leak": leak, "reason": reason, **given}
