"""From a holder and a recording's id to an open recording: the one door of playback.

Invariants:
- the key decides: tenant and patient come from the holder, the key from the one wrap that names a key of the holder;
  a row, list or route that is wrong leads to `KEY_MISMATCH`, which is audited and alarmed before any answer;
- nothing is read from the object store before the recording key has opened;
- a recording that is encrypted anew meanwhile is opened again: its reader sees the old or the new, and never a mix; a
  ticket, which carries the old key, opens the old until its time is over, and is over then;
- not yours, not there and wrong key are one error to the caller.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import functools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from keys import recording_wraps
from keys.database import Database
from keys.errors import Damaged, InvalidToken, KeyMismatch, Malformed
from keys.ids import RecordingId
from keys.opening import open_recording_key
from keys.recording_wraps import RecordingWrap
from vault.alarm import Alarm
from vault.audit.entry import Action, Decision, Event, Reason
from vault.catalog import recordings, renewals
from vault.catalog.errors import UnknownRecording
from vault.catalog.renewals import FormerKey
from vault.catalog.rows import RecordingRow, StoredFile
from vault.catalog.states import RecordingState
from vault.objects.access import RecordingAccess
from vault.objects.errors import DamagedObject, MalformedObject, ObjectMissing
from vault.objects.manifest import Manifest
from vault.playback import authorize
from vault.playback.errors import NothingForYou
from vault.playback.manifests import Manifests
from vault.sessions.holder import Holder, TicketHolder


@dataclass(frozen=True, slots=True, eq=False)
class OpenRecording:
    """A recording whose key has opened, for the length of one request; `again` opens it once more."""

    access: RecordingAccess
    manifest: Manifest
    again: Callable[[], Awaitable[OpenRecording]]


def open_access(holder: Holder, row: RecordingRow, wraps: tuple[RecordingWrap, ...]) -> RecordingAccess:
    """What the holder's own key makes of a row; raises `KeyMismatch`, `Damaged` or `Malformed`."""
    if isinstance(holder, TicketHolder):
        if (holder.ticket.recording_id, holder.ticket.key_id) != (row.recording_id, row.key_id):
            raise KeyMismatch("the ticket's key is not this recording's")
        key = holder.ticket.key
    else:
        key = open_recording_key(
            wraps,
            holder.session.keys,
            tenant=holder.tenant,
            patient=holder.patient,
            recording_id=row.recording_id,
            recording_key_id=row.key_id,
        )
    return RecordingAccess(
        tenant=holder.tenant,
        patient=holder.patient,
        recording_id=row.recording_id,
        key_id=row.key_id,
        key=key,
    )


@dataclass(frozen=True, slots=True)
class Opening:
    """Opens recordings for holders."""

    catalog: Database
    manifests: Manifests
    alarm: Alarm
    clock: Callable[[], dt.datetime]

    async def open(self, holder: Holder, recording_id: RecordingId, *, request: str) -> OpenRecording:
        """An open recording.

        Raises `NothingForYou`, `DamagedObject`, `InvalidToken` for a ticket whose key was replaced, or what the
        rooms below raise.
        """
        row, access = await self.find(holder, recording_id, request=request)
        event = denial(holder, Action.VIEW_OPEN, recording_id, request=request)
        if row.manifest is None:
            await self.alarm.audit.write(event(Reason.NOT_FOUND))
            raise NothingForYou("not published")
        try:
            manifest = await self._manifest(holder, row, access, request=request)
        except KeyMismatch:
            await self.alarm.key_mismatch(event(Reason.KEY_MISMATCH))
            raise NothingForYou("the manifest is another recording's") from None
        except (MalformedObject, DamagedObject, ObjectMissing):
            await self.alarm.audit.write(event(Reason.DAMAGED))
            raise DamagedObject("the manifest is damaged") from None
        return OpenRecording(*manifest, functools.partial(self.open, holder, recording_id, request=request))

    async def _manifest(
        self, holder: Holder, row: RecordingRow, access: RecordingAccess, *, request: str
    ) -> tuple[RecordingAccess, Manifest]:
        """The manifest, and what opened it: something newer than `access` where that was replaced meanwhile."""
        while True:
            try:
                return access, await self.manifests.open(access, _pinned(row))
            except ObjectMissing:
                before = row
                row, access = await self.find(holder, row.recording_id, request=request)
                if row.key_id == before.key_id:
                    raise

    async def find(
        self, holder: Holder, recording_id: RecordingId, *, request: str
    ) -> tuple[RecordingRow, RecordingAccess]:
        """A published recording's row, and the access that the holder's own key gives; raises as `open` does."""
        authorize.require_play(holder)
        event = denial(holder, Action.VIEW_OPEN, recording_id, request=request)
        try:
            row, wraps, former = await self._row(holder, recording_id)
            authorize.require_own(holder, row)
        except UnknownRecording:
            await self.alarm.audit.write(event(Reason.NOT_FOUND))
            raise NothingForYou("no such recording") from None
        except NothingForYou:
            await self.alarm.audit.write(event(Reason.NOT_YOURS))
            raise
        if former is not None:
            if former.ends_at <= self.clock():
                await self.alarm.audit.write(event(Reason.REVOKED))
                raise InvalidToken("the ticket's key was replaced")
            row = dataclasses.replace(row, key_id=former.key_id, manifest=former.manifest)
        try:
            return row, open_access(holder, row, wraps)
        except KeyMismatch:
            await self.alarm.key_mismatch(event(Reason.KEY_MISMATCH))
            raise NothingForYou("the key does not match") from None
        except (Damaged, Malformed):
            await self.alarm.audit.write(event(Reason.DAMAGED))
            raise DamagedObject("the recording's wrap is damaged") from None

    async def _row(
        self, holder: Holder, recording_id: RecordingId
    ) -> tuple[RecordingRow, tuple[RecordingWrap, ...], FormerKey | None]:
        """The row, its wraps, and the key that a ticket carries where it is a former one."""
        former = None
        async with self.catalog.snapshot() as connection:
            row = await recordings.by_id(connection, recording_id)
            if row.state is not RecordingState.PUBLISHED:
                raise UnknownRecording("not published")
            wraps = (await recording_wraps.wraps_of(connection, [recording_id]))[recording_id]
            if isinstance(holder, TicketHolder) and holder.ticket.key_id != row.key_id:
                former = await renewals.former_key(connection, recording_id, holder.ticket.key_id)
        return row, wraps, former


def _pinned(row: RecordingRow) -> StoredFile:
    if row.manifest is None:
        raise ObjectMissing("a published recording has a manifest")
    return row.manifest


@dataclass(frozen=True, slots=True)
class denial:  # noqa: N801 - reads as a verb where it is used
    """A denied event of one holder and recording, waiting for its reason."""

    holder: Holder
    action: Action
    recording_id: RecordingId
    request: str = ""

    def __call__(self, reason: Reason) -> Event:
        """The event with its reason."""
        return Event(
            action=self.action,
            decision=Decision.DENY,
            reason=reason,
            actor=self.holder.actor,
            patient=self.holder.pseudonym,
            recording=str(self.recording_id),
            session=self.holder.record_id.hex(),
            request=self.request,
        )
