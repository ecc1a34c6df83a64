"""Playback for sessions and tickets: the list, and every file of a recording.

Invariants: a handler parses, opens by key and answers; the same tree serves sessions and tickets; not yours, not
there and wrong key look alike.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from keys.errors import InvalidToken, KeyMismatch
from keys.ids import RecordingId, parse_recording_id
from vault.api import models
from vault.api.auth import COOKIE, presented
from vault.api.binding import OPEN, SESSION, TICKET, AnyRoute, Call, MediaAnswer, Route
from vault.api.media import Sender
from vault.api.middleware import request_id
from vault.api.problems import Code
from vault.audit.entry import Action, Decision, Event, Reason
from vault.objects.errors import DamagedObject, ObjectMissing
from vault.objects.store import ObjectStore
from vault.playback import authorize
from vault.playback.errors import NothingForYou
from vault.playback.files import Media, resolve
from vault.playback.library import Entry, Library
from vault.playback.opening import Opening, denial
from vault.sessions.admission import Admission, Watch
from vault.sessions.holder import Holder, SessionHolder, TicketHolder

_FILES: Final = MediaAnswer(
    ("video/mp4", "audio/mp4", "image/jpeg", "text/vtt", "application/vnd.apple.mpegurl"),
)
_PROBLEMS: Final = (
    Code.NOT_FOUND,
    Code.FORBIDDEN,
    Code.PRECONDITION_FAILED,
    Code.RANGE_NOT_SATISFIABLE,
    Code.DAMAGED,
    Code.UNAVAILABLE,
)


@dataclass(frozen=True, slots=True)
class PlaybackApi:
    """Handlers of the stream role."""

    admission: Admission
    library: Library
    opening: Opening
    store: ObjectStore
    sender: Sender

    async def list(self, call: Call[SessionHolder, models.PageQuery, None]) -> models.RecordingPage:
        """The patient's recordings."""
        page = await self.library.page(
            call.principal,
            limit=call.query.limit,
            cursor=call.query.cursor,
            request=request_id(call.request),
        )
        return models.RecordingPage(
            recordings=tuple(_view(entry) for entry in page.entries), next=page.next_cursor
        )

    async def show(self, call: Call[SessionHolder, None, None]) -> models.RecordingView:
        """One recording of the patient's."""
        recording_id = call.parsed("recording_id", by=parse_recording_id)
        entry = await self.library.one(call.principal, recording_id, request=request_id(call.request))
        return _view(entry)

    async def file(self, call: Call[SessionHolder, None, None]) -> web.StreamResponse:
        """A file, for a session."""
        return await self._file(call, call.principal, call.parsed("recording_id", by=parse_recording_id))

    async def ticket_file(self, call: Call[TicketHolder, None, None]) -> web.StreamResponse:
        """A file, for a ticket."""
        return await self._file(call, call.principal, call.principal.ticket.recording_id)

    async def sign_in(self, call: Call[None, None, models.SignIn]) -> web.Response:
        """Put a session token into a cookie that scripts cannot read."""
        holder = await self.admission.session(call.body.session)
        response = web.Response(status=204)
        response.set_cookie(
            COOKIE,
            call.body.session,
            max_age=max(holder.ends_at - int(time.time()), 1),
            secure=True,
            httponly=True,
            samesite="Strict",
            path="/",
        )
        return response

    async def sign_out(self, call: Call[None, None, None]) -> web.Response:
        """End the session that is presented, and forget the cookie."""
        text = presented(call.request)
        if text is not None:
            with contextlib.suppress(InvalidToken):
                await self._end(await self.admission.session(text), request=request_id(call.request))
        response = web.Response(status=204)
        response.del_cookie(COOKIE, path="/", secure=True, httponly=True, samesite="Strict")
        return response

    async def _end(self, holder: SessionHolder, *, request: str) -> None:
        event = Event(
            action=Action.SESSION_REVOKE,
            decision=Decision.ALLOW,
            actor=holder.actor,
            patient=holder.pseudonym,
            session=holder.record_id.hex(),
            request=request,
        )
        await self.opening.alarm.audit.write(event)
        await self.admission.sign_out(holder)

    async def _file(
        self,
        call: Call[SessionHolder, None, None] | Call[TicketHolder, None, None],
        holder: Holder,
        of: RecordingId,
    ) -> web.StreamResponse:
        name, request = call.param("file"), request_id(call.request)
        watch = Watch(self.admission, holder, time.monotonic())
        authorize.require_role(holder, name)
        recording = await self.opening.open(holder, of, request=request)
        try:
            found = resolve(recording, name, self.store)
        except KeyMismatch:
            await self.opening.alarm.key_mismatch(
                denial(holder, Action.VIEW_OPEN, of, request)(Reason.KEY_MISMATCH)
            )
            raise NothingForYou("a file of another recording") from None
        view = await self.sender.views.open(holder, of, request=request)
        if isinstance(found, Media):
            try:
                return await self.sender.send(call.request, found, view=view, watch=watch)
            except (DamagedObject, ObjectMissing):
                event = denial(holder, Action.VIEW_OPEN, of, request)
                await self.opening.alarm.audit.write(event(Reason.DAMAGED))
                raise
        body = found.text.encode()
        self.sender.views.sent(view, len(body))
        return web.Response(body=body, content_type=found.content_type)

    def routes(self) -> tuple[AnyRoute, ...]:
        """The stream role's rows."""
        return (
            Route(
                method="GET",
                path="/v1/recordings",
                handler=self.list,
                access=SESSION,
                summary="The patient's recordings, newest first",
                query=models.PageQuery,
                answers={200: models.RecordingPage},
                problems=(Code.INVALID_QUERY, Code.FORBIDDEN, Code.UNAVAILABLE, Code.LISTING_STOPPED),
                head=True,
            ),
            Route(
                method="GET",
                path="/v1/recordings/{recording_id}",
                handler=self.show,
                access=SESSION,
                summary="One recording of the patient's",
                answers={200: models.RecordingView},
                problems=(Code.NOT_FOUND, Code.FORBIDDEN, Code.UNAVAILABLE),
                head=True,
            ),
            Route(
                method="GET",
                path="/v1/recordings/{recording_id}/{file}",
                handler=self.file,
                access=SESSION,
                summary="A playlist, track, movie or picture of a recording",
                answers={200: _FILES, 206: _FILES, 304: None},
                problems=_PROBLEMS,
                head=True,
            ),
            Route(
                method="GET",
                path="/v1/t/{ticket}/{file}",
                handler=self.ticket_file,
                access=TICKET,
                summary="The same files by ticket, for players that can send no header",
                answers={200: _FILES, 206: _FILES, 304: None},
                problems=_PROBLEMS,
                head=True,
            ),
            Route(
                method="POST",
                path="/v1/sign-in",
                handler=self.sign_in,
                access=OPEN,
                summary="Keep a session token in an HttpOnly cookie",
                body=models.SignIn,
                answers={204: None},
                problems=(Code.UNAUTHENTICATED, Code.UNAVAILABLE),
            ),
            Route(
                method="POST",
                path="/v1/sign-out",
                handler=self.sign_out,
                access=OPEN,
                summary="End the session that is presented, and forget its cookie",
                answers={204: None},
                problems=(Code.UNAVAILABLE,),
            ),
        )


def _view(entry: Entry) -> models.RecordingView:
    return models.RecordingView(
        id=entry.recording_id,
        title=entry.metadata.title,
        clinician=entry.metadata.clinician,
        consulted_at=entry.metadata.consulted_at,
        description=entry.metadata.description,
        duration_s=entry.summary.duration_s,
        has_video=entry.summary.has_video,
        has_audio=entry.summary.has_audio,
        published_at=entry.summary.published_at,
        files=entry.summary.files,
    )
