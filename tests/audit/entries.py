"""Short words for the tests: events, and a chain written in memory."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from pathlib import Path

from hypothesis import strategies as st

from vault.audit.entry import FIRST_PREV, Action, Decision, Event, Reason, seal_line
from vault.audit.reading import read_chain

NOW = dt.datetime(2026, 3, 1, 9, 30, tzinfo=dt.UTC)

texts = st.text(max_size=40)
events = st.builds(
    Event,
    action=st.sampled_from(Action),
    decision=st.sampled_from(Decision),
    reason=st.sampled_from(Reason),
    actor=texts,
    request=texts,
    note=texts,
    size_bytes=st.integers(0, 1 << 60),
)


def event(number: int = 0) -> Event:
    """A view of so many bytes."""
    return Event(action=Action.VIEW_OPEN, decision=Decision.ALLOW, actor="session", size_bytes=number)


def chain(of: Iterable[Event]) -> list[bytes]:
    """The lines of a chain."""
    lines, prev = [], FIRST_PREV
    for seq, each in enumerate(of):
        at = NOW + dt.timedelta(seconds=seq)
        line, prev = seal_line(each, seq=seq, at=at, role="stream", release="test", prev=prev)
        lines.append(line)
    return lines


def sizes_in(path: Path) -> list[int]:
    """The sizes of the views in a file, its chain checked."""
    entries = read_chain(path)
    return [entry["size_bytes"] for entry in entries if entry["action"] == Action.VIEW_OPEN.value]
