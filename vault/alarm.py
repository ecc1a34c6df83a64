"""The misroute alarm: a key that does not match is never normal.

Invariant: every mismatch is audited before the caller gets its answer, counted with the release that caused it, and
logged at ERROR; none of the three names a patient or a title.
"""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from vault.audit.entry import Event
from vault.audit.log import AuditLog
from vault.metrics import Metrics

_log = structlog.get_logger("replayvault.alarm")


@dataclass(frozen=True, slots=True)
class Alarm:
    """Where mismatches are told."""

    audit: AuditLog
    metrics: Metrics
    release: str

    async def key_mismatch(self, event: Event) -> None:
        """Tell of one mismatch: whose session met which recording. Raises `AuditUnavailable`."""
        self.metrics.key_mismatch.labels(place=event.action.value, release=self.release).inc()
        _log.error(
            "key mismatch: bytes of another patient were routed to a session, and did not open",
            place=event.action.value,
            release=self.release,
            recording=event.recording,
            session=event.session[:16],
        )
        await self.audit.write(event)

    async def consultation_taken(self, event: Event) -> None:
        """Tell of an upload that names a second patient for a consultation. Raises `AuditUnavailable`."""
        self.metrics.key_mismatch.labels(place=event.action.value, release=self.release).inc()
        _log.error("a second patient was named for a consultation", release=self.release, actor=event.actor)
        await self.audit.write(event)
