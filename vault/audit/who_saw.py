"""Who saw a recording, or tried to: one line for each session, with what it was sent and what it was refused.

A list shows titles too, and tells how many entries, not which: `details` counts what was shown of this recording alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from vault.audit.entry import Action, Decision
from vault.audit.viewing import Entry, Log, Viewing, is_allowed, joined


@dataclass(slots=True, kw_only=True)
class Watcher:
    """One session or ticket. `unfinished` views have no end: what they were sent is not on record."""

    session: str
    actor: str
    patient: str
    views: int = 0
    unfinished: int = 0
    sent_bytes: int = 0
    details: int = 0
    first: str = ""
    last: str = ""
    denials: dict[str, int] = field(default_factory=dict)

    def touched(self, first: str, last: str) -> None:
        """Widen the time."""
        self.first = min(self.first or first, first)
        self.last = max(self.last, last)


@dataclass(slots=True)
class WhoSaw:
    """The answer. `tickets` are entries that gave somebody access."""

    recording: str
    watchers: dict[str, Watcher] = field(default_factory=dict)
    tickets: list[Entry] = field(default_factory=list)

    def take(self, found: Viewing | Entry) -> None:
        """One view or entry of this recording."""
        entry = found.opened if isinstance(found, Viewing) else found
        if not isinstance(found, Viewing) and is_allowed(entry, Action.TICKET_MINT):
            self.tickets.append(entry)
        elif isinstance(found, Viewing) or _is_about_a_watcher(entry):
            fresh = Watcher(session=entry["session"], actor=entry["actor"], patient=entry["patient"])
            _count(self.watchers.setdefault(entry["session"], fresh), found)


def who_saw(log: Log, recording: str) -> WhoSaw:
    """Everybody, in the order of their first time. Raises OSError; `log.broken` says what could not be read."""
    answer = WhoSaw(recording)
    for writer in log.writers():
        for found in joined(entry for entry in writer if entry["recording"] == recording):
            answer.take(found)
    answer.watchers = dict(sorted(answer.watchers.items(), key=lambda item: item[1].first))
    return answer


def _is_about_a_watcher(entry: Entry) -> bool:
    return entry["decision"] == Decision.DENY.value or is_allowed(entry, Action.LIST)


def _count(watcher: Watcher, found: Viewing | Entry) -> None:
    if isinstance(found, Viewing):
        watcher.views += 1
        watcher.unfinished += found.closed is None
        watcher.sent_bytes += found.sent_bytes
        watcher.touched(str(found.opened["at"]), found.ended_at)
        return
    if found["decision"] == Decision.DENY.value:
        watcher.denials[found["reason"]] = watcher.denials.get(found["reason"], 0) + 1
    else:
        watcher.details += 1
    watcher.touched(str(found["at"]), str(found["at"]))
