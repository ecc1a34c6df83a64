"""The worker: claims a job, makes the renditions, publishes them in one step, or says why not.

Invariants:
- it opens what control handed over and nothing else; it holds no master key, share or tier secret;
- before the publishing transaction nothing of a run is visible, after it everything is; a run that lost its claim
  publishes nothing and removes what it wrote;
- a failure that may pass is tried again, later each time; one that cannot pass ends the job with a reason.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog

from keys.database import Database
from keys.errors import Damaged, KeyMismatch, KeysError, Malformed
from keys.handover import Handover, open_handover
from keys.ids import RecordingId
from keys.secret import WorkerKey
from transcoder.errors import TranscoderError
from vault.alarm import Alarm
from vault.audit.entry import Action, Decision, Event, Reason
from vault.audit.errors import AuditError
from vault.catalog import drafts, jobs, recordings
from vault.catalog.errors import CatalogError, LostClaim
from vault.catalog.jobs import Claim
from vault.drafting import Drafting
from vault.objects.errors import ObjectsError
from vault.objects.store import ObjectStore
from vault.work.lease import Lease
from vault.work.making import Made, Maker

MAX_ATTEMPTS: Final = 4
# Runs that ended without a word count too: a recording that takes its worker down with it must not do so for ever.
MAX_BEGUN: Final = 10
_FIRST_DELAY: Final = dt.timedelta(seconds=5)

_log = structlog.get_logger("replayvault.work")


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a run ended without a result."""

    code: str
    detail: str
    permanent: bool


@dataclass(frozen=True, slots=True)
class Worker:
    """Transcodes one recording at a time for each call."""

    catalog: Database
    store: ObjectStore
    key: WorkerKey
    maker: Maker
    alarm: Alarm
    clock: Callable[[], dt.datetime]

    async def transcode(self, recording_id: RecordingId) -> None:
        """Do a recording's job if it is free. Raises nothing that another try could mend."""
        claim = await self._claim(recording_id)
        if claim is None:
            return
        structlog.contextvars.bind_contextvars(recording=str(recording_id), run=str(claim.run_id))
        try:
            await self._run(claim)
        except LostClaim:
            _log.warning("the claim went to another run")
            self.alarm.metrics.jobs.labels(outcome="lost").inc()
        except (KeysError, CatalogError, AuditError) as error:
            # The catalog cannot be told: the lease runs out, and the job is anyone's again.
            _log.error("a run ended without a word", error=type(error).__name__)
        finally:
            await asyncio.shield(
                asyncio.ensure_future(
                    Drafting(self.catalog, self.store, self.clock).give_up(recording_id, claim.run_id)
                )
            )

    async def _claim(self, recording_id: RecordingId) -> Claim | None:
        async with self.catalog.writing() as connection:
            claim = await jobs.claim(connection, recording_id, now=self.clock())
            if claim is not None:
                await recordings.start_processing(connection, recording_id)
            return claim

    async def _run(self, claim: Claim) -> None:
        if claim.attempt > MAX_BEGUN:
            await self._end(claim, _WORKERS_DIED)
            return
        try:
            handover = self._open(claim)
            lease = Lease(self.catalog, claim, self.clock)
            making = self.maker.make(handover, announce=lease.announce, on_progress=lease.on_progress)
            made = await lease.hold(making)
            await self._publish(claim, made)
        except TranscoderError as error:
            await self._end(claim, Failure(error.code, error.sentence, error.permanent))
        except KeyMismatch:
            await self.alarm.key_mismatch(self._event(claim, Action.RECORDING_FAIL, Reason.KEY_MISMATCH))
            await self._end(claim, _KEY_MISMATCH)
        except (Damaged, Malformed, ObjectsError) as error:
            _log.warning("the store or the source failed", error=type(error).__name__)
            await self._end(claim, _STORE_FAILED)

    def _open(self, claim: Claim) -> Handover:
        handover = open_handover(claim.handover, self.key)
        if handover.recording_id != claim.recording_id:
            raise KeyMismatch("the job was handed over for another recording")
        return handover

    async def _publish(self, claim: Claim, made: Made) -> None:
        now = self.clock()
        async with self.catalog.writing() as connection:
            await jobs.finish(connection, claim)
            await drafts.keep(connection, made.file_ids)
            await recordings.publish(
                connection, claim.recording_id, manifest=made.manifest, summary=made.summary, now=now
            )
        self.alarm.metrics.jobs.labels(outcome="published").inc()
        _log.info("published", attempt=claim.attempt)
        await self.alarm.audit.write(self._event(claim, Action.RECORDING_PUBLISH, Reason.NONE))

    async def _end(self, claim: Claim, failure: Failure) -> None:
        _log.warning("a run failed", reason=failure.code, attempt=claim.attempt)
        if not failure.permanent and claim.attempt < MAX_ATTEMPTS:
            self.alarm.metrics.jobs.labels(outcome="retried").inc()
            delay = _FIRST_DELAY * 4 ** (claim.attempt - 1)
            async with self.catalog.writing() as connection:
                await jobs.hand_back(connection, claim, free_at=self.clock() + delay)
            return
        self.alarm.metrics.jobs.labels(outcome="failed").inc()
        async with self.catalog.writing() as connection:
            await jobs.finish(connection, claim)
            await recordings.fail(connection, claim.recording_id, code=failure.code, detail=failure.detail)
        await self.alarm.audit.write(
            self._event(claim, Action.RECORDING_FAIL, Reason.NONE, note=failure.code),
        )

    def _event(self, claim: Claim, action: Action, reason: Reason, *, note: str = "") -> Event:
        return Event(
            action=action,
            decision=Decision.ALLOW if reason is Reason.NONE else Decision.DENY,
            reason=reason,
            actor="worker",
            recording=str(claim.recording_id),
            request=str(claim.run_id),
            note=note,
        )


_KEY_MISMATCH: Final = Failure(
    "key-mismatch", "The stored recording does not open with its own key: call an operator.", permanent=True
)
_WORKERS_DIED: Final = Failure(
    "workers-died",
    "Every worker that began this recording ended before it was done: call an operator.",
    permanent=True,
)
_STORE_FAILED: Final = Failure(
    "store-failed", "The object store failed while the recording was processed: try again.", permanent=False
)
