"""The misroute alarm: a key that does not match is never normal.

Invariants:
- every mismatch is audited before the caller gets its answer, counted with the release that caused it, logged at
  ERROR, and told to the operator's webhook where there is one; none of them names a patient or a title;
- every mismatch counts toward the listing breaker, also when it could not be audited;
- what opens the breaker is on the audit log, with the release that did it.
"""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from vault.audit.entry import Action, Decision, Event
from vault.audit.log import AuditLog
from vault.breaker.process import Breaker
from vault.breaker.window import Opening
from vault.metrics import Metrics
from vault.webhook.delivery import Webhook
from vault.webhook.message import Kind

_log = structlog.get_logger("replayvault.alarm")


@dataclass(frozen=True, slots=True)
class Alarm:
    """Where mismatches are told."""

    audit: AuditLog
    metrics: Metrics
    release: str
    breaker: Breaker
    webhook: Webhook | None

    async def key_mismatch(self, event: Event) -> None:
        """Tell of one mismatch: whose session met which recording. Raises `AuditUnavailable`."""
        place = event.action.value
        self.metrics.key_mismatch.labels(place=place, release=self.release).inc()
        _log.error(
            "key mismatch: bytes of another patient were routed to a session, and did not open",
            place=place,
            release=self.release,
            recording=event.recording,
            session=event.session[:16],
        )
        self._count(Kind.KEY_MISMATCH, event)
        try:
            await self.audit.write(event)
        finally:
            opening = await self.breaker.mismatch(place)
            if opening is not None:
                await self._opened(opening)

    async def consultation_taken(self, event: Event) -> None:
        """Tell of an upload that names a second patient for a consultation. Raises `AuditUnavailable`."""
        self.metrics.consultation_taken.inc()
        _log.error("a second patient was named for a consultation", release=self.release, actor=event.actor)
        self._count(Kind.CONSULTATION_TAKEN, event)
        await self.audit.write(event)

    def _count(self, kind: Kind, event: Event) -> None:
        if self.webhook is not None:
            self.webhook.count(kind, place=event.action.value, recording=event.recording)

    async def _opened(self, opening: Opening) -> None:
        _log.error(
            "the listing breaker is open: lists are stopped until an operator closes it",
            place=opening.place,
            release=opening.release,
            count=opening.count,
            opening=opening.opening_id,
        )
        if self.webhook is not None:
            self.webhook.tell(
                Kind.BREAKER_OPENED,
                place=opening.place,
                count=opening.count,
                release=opening.release,
                opening=opening.opening_id,
            )
        await self.audit.write(breaker_event(Action.BREAKER_OPEN, opening, actor="system"))


def breaker_event(action: Action, opening: Opening, *, actor: str, reason: str = "") -> Event:
    """What the audit log says of a breaker that opens or closes; `reason` is an operator's sentence."""
    facts = f"{opening.opening_id}: {opening.count} in {opening.place} by release {opening.release}"
    note = f"{facts}: {reason}" if reason else facts
    return Event(action=action, decision=Decision.ALLOW, actor=actor, note=note)
