"""Views in the audit log: opened before the first byte, closed with what was sent.

A view is one holder watching one recording. A player asks for hundreds of ranges; the log gets two entries.

Invariants: `open` returns only once the entry is durable, so a byte that leaves is always preceded by its entry; a
view that was not touched for `IDLE_S` is closed with its bytes, as are all at shutdown.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import structlog

from keys.ids import RecordingId
from keys.records import RecordId
from vault.audit.entry import Action, Decision, Event
from vault.audit.errors import AuditUnavailable
from vault.audit.log import AuditLog
from vault.sessions.holder import Holder

IDLE_S: Final = 60.0

_log = structlog.get_logger("replayvault.audit")


@dataclass(slots=True, eq=False)
class View:
    """One holder watching one recording."""

    opened: Event
    written: asyncio.Future[None]
    touched_s: float
    sent_bytes: int = 0
    streams: int = 0


@dataclass(slots=True)
class Views:
    """The views of this process. Start `run` as a task; call `aclose` at the end."""

    audit: AuditLog
    clock_s: Callable[[], float] = time.monotonic
    _views: dict[tuple[RecordId, RecordingId], View] = field(default_factory=dict)

    async def open(self, holder: Holder, recording_id: RecordingId, *, request: str) -> View:
        """The view, its opening entry durable; raises `AuditUnavailable`."""
        name = (holder.record_id, recording_id)
        view = self._views.get(name)
        if view is None:
            view = self._views[name] = self._begin(holder, recording_id, request=request)
        try:
            await asyncio.shield(view.written)
        except AuditUnavailable:
            self._views.pop(name, None)
            raise
        view.touched_s = self.clock_s()
        return view

    def _begin(self, holder: Holder, recording_id: RecordingId, *, request: str) -> View:
        event = Event(
            action=Action.VIEW_OPEN,
            decision=Decision.ALLOW,
            actor=holder.actor,
            patient=holder.pseudonym,
            recording=str(recording_id),
            session=holder.record_id.hex(),
            request=request,
        )
        return View(event, asyncio.ensure_future(self.audit.write(event)), self.clock_s())

    def sent(self, view: View, size_bytes: int) -> None:
        """Count bytes that left."""
        view.sent_bytes += size_bytes
        view.touched_s = self.clock_s()

    async def close_idle(self, *, all_of_them: bool) -> None:
        """Close the views that nobody touches any more."""
        now_s = self.clock_s()
        for name, view in list(self._views.items()):
            if all_of_them or (view.streams == 0 and now_s - view.touched_s > IDLE_S):
                del self._views[name]
                await self._close(view)

    async def run(self) -> None:
        """Close idle views for ever."""
        while True:
            await asyncio.sleep(IDLE_S / 4)
            await self.close_idle(all_of_them=False)

    async def aclose(self) -> None:
        """Close every view."""
        await self.close_idle(all_of_them=True)

    async def _close(self, view: View) -> None:
        with contextlib.suppress(AuditUnavailable):
            await view.written
        event = Event(
            action=Action.VIEW_CLOSE,
            decision=Decision.ALLOW,
            actor=view.opened.actor,
            patient=view.opened.patient,
            recording=view.opened.recording,
            session=view.opened.session,
            request=view.opened.request,
            size_bytes=view.sent_bytes,
        )
        try:
            await self.audit.write(event)
        except AuditUnavailable:
            # Its opening is on record; what is lost is how much of it was sent.
            _log.error("the end of a view could not be written", size_bytes=view.sent_bytes)
