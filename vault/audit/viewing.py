"""Entries put together for reports: views with their end, read file by file in flat memory.

Invariant: a chain that breaks gives nothing behind the break, and its name is in `broken`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vault.audit.entry import Action, Decision
from vault.audit.errors import ChainBroken
from vault.audit.reading import read_chain

Entry = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Span:
    """From `since` on and before `until`; None is open."""

    since: dt.datetime | None = None
    until: dt.datetime | None = None

    def holds(self, at: str) -> bool:
        """Whether a moment lies in it."""
        return self.overlaps(at, at)

    def overlaps(self, first: str, last: str) -> bool:
        """Whether something that went on from `first` to `last` was going on in it."""
        began, ended = dt.datetime.fromisoformat(first), dt.datetime.fromisoformat(last)
        return (self.since is None or ended >= self.since) and (self.until is None or began < self.until)


@dataclass(frozen=True, slots=True)
class Viewing:
    """A view that was opened, and its end; one without an end was cut off with its process, or goes on."""

    opened: Entry
    closed: Entry | None
    ended_at: str

    @property
    def sent_bytes(self) -> int:
        """What was sent, as far as it was written down."""
        return 0 if self.closed is None else int(self.closed["size_bytes"])


@dataclass(slots=True)
class Log:
    """The files of some folders. `broken` grows while they are read."""

    folders: tuple[Path, ...]
    broken: list[str] = field(default_factory=list)

    def writers(self) -> Iterator[Iterator[Entry]]:
        """The entries of one writer after the other."""
        for path in sorted(path for folder in self.folders for path in folder.glob("*.jsonl")):
            yield self._entries(path)

    def entries(self) -> Iterator[Entry]:
        """Every entry, writer by writer."""
        for writer in self.writers():
            yield from writer

    def _entries(self, path: Path) -> Iterator[Entry]:
        try:
            yield from read_chain(path)
        except ChainBroken as broken:
            self.broken.append(str(broken))


def joined(entries: Iterable[Entry]) -> Iterator[Viewing | Entry]:
    """One writer's entries, with the two of each view put together, where the second one stands."""
    open_views: dict[tuple[str, str, str], Entry] = {}
    at = ""
    for entry in entries:
        at = str(entry["at"])
        name = (entry["session"], entry["recording"], entry["request"])
        if is_allowed(entry, Action.VIEW_OPEN):
            open_views[name] = entry
        elif entry["action"] == Action.VIEW_CLOSE.value and name in open_views:
            yield Viewing(open_views.pop(name), entry, at)
        else:
            yield entry
    for opened in open_views.values():
        yield Viewing(opened, None, at)


def is_allowed(entry: Entry, action: Action) -> bool:
    """Whether this was asked for and happened."""
    return bool(entry["action"] == action.value and entry["decision"] == Decision.ALLOW.value)
