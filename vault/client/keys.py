"""The service as an administrator's tool uses it: how keys stand, what is due, and jobs that rotate.

Invariants: as in `backend`; asking for a job is not repeated by itself, since what was asked for twice may run twice.
"""

from __future__ import annotations

import asyncio
import uuid
from typing import Any, Final

from vault.client.key_documents import JobState, KeyJob, KeyJobs, KeyPlan, KeysCensus, KeysDue, KeysStatus
from vault.client.wire import Ask, Wire

_KEYS: Final = ("v1", "keys")
_JOBS: Final = (*_KEYS, "jobs")
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

    async def plan(self, kind: str, *, tenant: str | None = None, patient: str | None = None) -> KeyPlan:
        """What a job would do; raises `Forbidden` where it concerns every tenant and the token does not."""
        body = _body(kind, tenant=tenant, patient=patient, dry_run=True)
        return await self._wire.document(Ask(method="POST", path=_JOBS, document=body), KeyPlan, safe=True)

    async def ask(
        self,
        kind: str,
        *,
        tenant: str | None = None,
        patient: str | None = None,
        rate_per_s: float | None = None,
        hours: str | None = None,
    ) -> KeyJob:
        """Ask for a job: at most so many items a second, in this part of the day (UTC, `22:00-06:00`).

        Raises `Conflict` while such a one is under way, `Busy` where too many are, and as `plan` does.
        """
        body = _body(kind, tenant=tenant, patient=patient, rate_per_s=rate_per_s, hours=hours)
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

    async def _change(self, job_id: uuid.UUID, verb: str) -> KeyJob:
        ask = Ask(method="POST", path=(*_JOBS, str(job_id), verb))
        return await self._wire.document(ask, KeyJob, safe=False)


def _body(kind: str, **given: Any) -> dict[str, Any]:
    return {"kind": kind, **{name: value for name, value in given.items() if value is not None}}
