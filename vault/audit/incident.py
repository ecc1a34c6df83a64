"""What happened in a span of time: the regulator's question within 72 hours.

- sessions: what each one watched, was refused, and how often it listed;
- mismatches: bytes that met a key that does not open them, by release and place;
- affected: each recording that was misrouted, whose it is as far as the log knows, and whose session met it.

Memory grows with the sessions and recordings of the span, never with the log.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from vault.audit.entry import Action, Decision, Reason
from vault.audit.viewing import Entry, Log, Span, Viewing, is_allowed, joined


@dataclass(slots=True, kw_only=True)
class Activity:
    """One session or ticket in the span. `watched` is bytes by recording, `refused` counts by recording and reason."""

    session: str
    actor: str
    patient: str
    watched: Counter[str] = field(default_factory=Counter)
    refused: dict[str, Counter[str]] = field(default_factory=dict)
    views: int = 0
    lists: int = 0
    first: str = ""
    last: str = ""

    def touched(self, first: str, last: str) -> None:
        """Widen the time."""
        self.first = min(self.first or first, first)
        self.last = max(self.last, last)


@dataclass(slots=True, kw_only=True)
class Mismatch:
    """Mismatches of one release at one place."""

    release: str
    place: str
    count: int = 0
    first: str = ""
    last: str = ""
    sessions: set[str] = field(default_factory=set)
    recordings: set[str] = field(default_factory=set)

    def take(self, entry: Entry) -> None:
        """One more."""
        self.count += 1
        self.first = min(self.first or entry["at"], entry["at"])
        self.last = max(self.last, entry["at"])
        self.sessions.add(entry["session"])
        self.recordings.add(entry["recording"])


@dataclass(slots=True, kw_only=True)
class Affected:
    """A recording that was misrouted. `owner` is a pseudonym, or None where no view of the owner is on record."""

    recording: str
    owner: str | None = None
    met_by: set[str] = field(default_factory=set)


@dataclass(slots=True, kw_only=True)
class Incident:
    """The answer."""

    span: Span
    release: str | None = None
    sessions: dict[str, Activity] = field(default_factory=dict)
    mismatches: dict[tuple[str, str], Mismatch] = field(default_factory=dict)
    affected: dict[str, Affected] = field(default_factory=dict)

    @property
    def patients(self) -> list[str]:
        """Pseudonyms of everybody whose recordings or sessions a mismatch touched."""
        owners = {each.owner for each in self.affected.values() if each.owner}
        return sorted(owners.union(*(each.met_by for each in self.affected.values())))

    def take(self, found: Viewing | Entry) -> None:
        """One view or entry of any time."""
        entry = found.opened if isinstance(found, Viewing) else found
        last = found.ended_at if isinstance(found, Viewing) else str(entry["at"])
        is_in_span = self.span.overlaps(str(entry["at"]), last)
        if not is_in_span or self.release not in (None, entry["release"]):
            return
        if isinstance(found, Viewing):
            activity = self._activity(entry, last)
            activity.views += 1
            activity.watched[entry["recording"]] += found.sent_bytes
        elif entry["decision"] == Decision.DENY.value:
            self._refused(entry)
        elif is_allowed(entry, Action.LIST):
            self._activity(entry, last).lists += 1

    def _activity(self, entry: Entry, last: str) -> Activity:
        fresh = Activity(session=entry["session"], actor=entry["actor"], patient=entry["patient"])
        activity = self.sessions.setdefault(entry["session"] or f"({entry['actor']})", fresh)
        activity.touched(str(entry["at"]), last)
        return activity

    def _refused(self, entry: Entry) -> None:
        refused = self._activity(entry, str(entry["at"])).refused
        refused.setdefault(entry["recording"], Counter())[entry["reason"]] += 1
        if entry["reason"] != Reason.KEY_MISMATCH.value:
            return
        name = (str(entry["release"]), str(entry["action"]))
        self.mismatches.setdefault(name, Mismatch(release=name[0], place=name[1])).take(entry)
        affected = self.affected.setdefault(entry["recording"], Affected(recording=entry["recording"]))
        affected.met_by.update({entry["patient"]} - {""})


def incident(log: Log, span: Span, *, release: str | None = None) -> Incident:
    """The answer for a span. Raises OSError; `log.broken` says what could not be read."""
    answer = Incident(span=span, release=release)
    for writer in log.writers():
        for found in joined(writer):
            answer.take(found)
    if answer.affected:
        _name_owners(answer, log)
    return answer


def _name_owners(answer: Incident, log: Log) -> None:
    """Whoever was let in owns it: by a key that fits. A second pass, for which the log need not be kept in memory."""
    for entry in log.entries():
        affected = answer.affected.get(entry["recording"])
        if affected is not None and is_allowed(entry, Action.VIEW_OPEN):
            affected.owner = str(entry["patient"])
