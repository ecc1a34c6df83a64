"""A patient's list, sealed until it is opened entry by entry.

Invariants:
- an entry that the session's key does not open is dropped, audited and alarmed, whatever the query returned; so a
  list that lost its WHERE clause shows the patient's own recordings and nothing else, in its cursors too;
- what was shown is on record before it is answered;
- while the listing breaker is open no row is read for a list. The page in whose reading it opens is still answered:
  it holds only what opened, and the next one is not.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from keys import recording_wraps
from keys.database import Database
from keys.errors import Damaged, KeyMismatch, Malformed
from keys.ids import RecordingId
from keys.recording_wraps import RecordingWrap
from vault.alarm import Alarm
from vault.audit.entry import Action, Decision, Event, Reason
from vault.catalog import recordings
from vault.catalog.cursors import format_cursor, parse_cursor
from vault.catalog.rows import RecordingRow
from vault.details import Metadata, Summary, open_details
from vault.objects.access import RecordingAccess
from vault.playback import authorize
from vault.playback.errors import NothingForYou
from vault.playback.opening import Opening, denial, open_access
from vault.sessions.holder import Holder


@dataclass(frozen=True, slots=True)
class Entry:
    """One opened entry of a list."""

    recording_id: RecordingId
    metadata: Metadata
    summary: Summary


class _Dropped(enum.Enum):
    """Why an entry is not shown."""

    ANOTHERS = enum.auto()
    DAMAGED = enum.auto()


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a list; `next_cursor` is None on the last one."""

    entries: tuple[Entry, ...]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class Library:
    """Lists recordings for holders."""

    catalog: Database
    opening: Opening
    alarm: Alarm

    async def page(self, holder: Holder, *, limit: int, cursor: str | None, request: str) -> Page:
        """One page, newest first; raises `UnknownCursor`, `ScopeMissing`, `ListingStopped` or `BreakerUnavailable`."""
        authorize.require_list(holder)
        await self.alarm.breaker.require_closed()
        after = None if cursor is None else parse_cursor(cursor)
        async with self.catalog.snapshot() as connection:
            rows = await recordings.shelf(
                connection, holder.tenant, holder.patient, limit=limit + 1, after=after
            )
            wraps = await recording_wraps.wraps_of(connection, [row.recording_id for row in rows])
        opened = [
            await self._entry(holder, row, wraps[row.recording_id], request=request) for row in rows[:limit]
        ]
        entries = tuple(entry for entry in opened if isinstance(entry, Entry))
        await self.alarm.audit.write(_listed(holder, len(entries), request=request))
        # A cursor holds a time and an id: it must not be made from a row that is another's.
        own = [row for row, entry in zip(rows[:limit], opened, strict=True) if entry is not _Dropped.ANOTHERS]
        return Page(entries, format_cursor(own[-1]) if own and len(rows) > limit else None)

    async def one(self, holder: Holder, recording_id: RecordingId, *, request: str) -> Entry:
        """One entry; raises `NothingForYou`, or what `Opening.find` raises."""
        row, access = await self.opening.find(holder, recording_id, request=request)
        event = denial(holder, Action.LIST, recording_id, request=request)
        try:
            entry = _open_entry(row, access)
        except KeyMismatch:
            await self.alarm.key_mismatch(event(Reason.KEY_MISMATCH))
            raise NothingForYou("the details are another recording's") from None
        except (Damaged, Malformed):
            await self.alarm.audit.write(event(Reason.DAMAGED))
            raise NothingForYou("the details do not open") from None
        await self.alarm.audit.write(_listed(holder, 1, recording=str(recording_id), request=request))
        return entry

    async def _entry(
        self, holder: Holder, row: RecordingRow, wraps: tuple[RecordingWrap, ...], *, request: str
    ) -> Entry | _Dropped:
        event = denial(holder, Action.LIST, row.recording_id, request=request)
        try:
            return _open_entry(row, open_access(holder, row, wraps))
        except KeyMismatch:
            await self.alarm.key_mismatch(event(Reason.KEY_MISMATCH))
            return _Dropped.ANOTHERS
        except (Damaged, Malformed):
            await self.alarm.audit.write(event(Reason.DAMAGED))
            return _Dropped.DAMAGED


def _open_entry(row: RecordingRow, access: RecordingAccess) -> Entry:
    metadata = open_details(row.metadata, access, kind=Metadata)
    # A published recording has a summary; without one, empty bytes are Malformed like any others.
    return Entry(row.recording_id, metadata, open_details(row.summary or b"", access, kind=Summary))


def _listed(holder: Holder, count: int, *, recording: str = "", request: str) -> Event:
    return Event(
        action=Action.LIST,
        decision=Decision.ALLOW,
        actor=holder.actor,
        patient=holder.pseudonym,
        recording=recording,
        session=holder.record_id.hex(),
        request=request,
        note=f"{count} entries",
    )
