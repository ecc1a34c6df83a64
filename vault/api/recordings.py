"""Recordings as a tenant's backend sees them: announced, sent, watched, tried again, destroyed.

Invariants: a handler parses, makes one domain call and answers; the tenant comes from the token, never from the
request; nothing here opens a recording.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web

from keys.database import Database
from keys.ids import RecordingId, parse_consultation, parse_patient, parse_recording_id
from keys.service_token import ServiceScope
from vault.api import models
from vault.api.auth import Service
from vault.api.binding import AnyRoute, Call, MediaAnswer, MediaBody, Route, json_response, service
from vault.api.form import MEDIA_TYPE as FORM_TYPE
from vault.api.form import film_pieces, read_recording
from vault.api.middleware import request_id
from vault.api.problems import Code, Problem
from vault.catalog import jobs, recordings
from vault.catalog.cursors import format_cursor, parse_cursor
from vault.catalog.rows import RecordingRow
from vault.catalog.states import RecordingState
from vault.ingest import Announcement, Caller, Ingest
from vault.metrics import Metrics

INGEST: Final = service(ServiceScope.INGEST.value)

_MEDIA: Final = MediaBody(("video/*", "audio/*", "application/octet-stream"))
_EVENTS: Final = MediaAnswer(("text/event-stream",))
_MAX_IDEMPOTENCY_CHARS: Final = 255
_SILENCE_LIMIT_S: Final = 60.0
_EVENT_POLL_S: Final = 0.5
_EVENT_KEEPALIVE_S: Final = 15.0
_EVENT_LIMIT_S: Final = 3600.0


@dataclass(frozen=True, slots=True)
class RecordingsApi:
    """Handlers of a backend's recordings."""

    ingest: Ingest
    catalog: Database
    metrics: Metrics

    async def create(self, call: Call[Service, None, models.NewRecording | None]) -> web.Response:
        """Announce a recording; with a form, take its source at once."""
        caller, key = _caller(call), _idempotency_key(call.request)
        if call.body is not None:
            row = await self.ingest.announce(caller, _announcement(call.body, key))
            return json_response(_status(row, progress=None), status=201)
        body, film = await read_recording(call.request)
        row = await self.ingest.announce(caller, _announcement(body, key))
        row = await self._take(caller, row.recording_id, film_pieces(film))
        return json_response(_status(row, progress=None), status=202)

    async def store(self, call: Call[Service, None, None]) -> models.RecordingStatus:
        """Take the source as it arrives."""
        recording_id = call.parsed("recording_id", by=parse_recording_id)
        row = await self._take(_caller(call), recording_id, call.request.content.iter_any())
        return _status(row, progress=None)

    async def _take(
        self, caller: Caller, recording_id: RecordingId, pieces: AsyncIterator[bytes]
    ) -> RecordingRow:
        row = await self.ingest.store_source(caller, recording_id, _arriving(pieces))
        self.metrics.ingested_bytes.inc(0 if row.source is None else row.source.size_bytes)
        return row

    async def show(self, call: Call[Service, None, None]) -> models.RecordingStatus:
        """Where a recording stands."""
        return await self._status_of(call.principal, call.parsed("recording_id", by=parse_recording_id))

    async def list(self, call: Call[Service, models.PageQuery, None]) -> models.StatusPage:
        """A tenant's recordings."""
        after = None if call.query.cursor is None else parse_cursor(call.query.cursor)
        limit = call.query.limit
        async with self.catalog.reading() as connection:
            rows = await recordings.of_tenant(
                connection, call.principal.token.tenant, limit=limit + 1, after=after
            )
        shown = rows[:limit]
        following = format_cursor(shown[-1]) if len(rows) > limit else None
        return models.StatusPage(
            recordings=tuple(_status(row, progress=None) for row in shown), next=following
        )

    async def events(self, call: Call[Service, None, None]) -> web.StreamResponse:
        """The status as server-sent events, one for each change, until it is final."""
        recording_id = call.parsed("recording_id", by=parse_recording_id)
        status = await self._status_of(call.principal, recording_id)
        response = web.StreamResponse(headers={"X-Accel-Buffering": "no"})
        response.content_type = "text/event-stream"
        await response.prepare(call.request)
        until_s = time.monotonic() + _EVENT_LIMIT_S
        said, said_s = "", 0.0
        while time.monotonic() < until_s:
            text = status.model_dump_json()
            if text != said:
                await response.write(f"event: status\ndata: {text}\n\n".encode())
                said, said_s = text, time.monotonic()
            elif time.monotonic() - said_s > _EVENT_KEEPALIVE_S:
                await response.write(b": still here\n\n")
                said_s = time.monotonic()
            if status.state in {"published", "failed"}:
                break
            await asyncio.sleep(_EVENT_POLL_S)
            status = await self._status_of(call.principal, recording_id)
        return response

    async def retry(self, call: Call[Service, None, None]) -> models.RecordingStatus:
        """Queue a failed recording once more."""
        recording_id = call.parsed("recording_id", by=parse_recording_id)
        return _status(await self.ingest.retry(_caller(call), recording_id), progress=None)

    async def delete(self, call: Call[Service, None, None]) -> None:
        """Destroy a recording."""
        await self.ingest.delete(_caller(call), call.parsed("recording_id", by=parse_recording_id))

    async def _status_of(self, principal: Service, recording_id: RecordingId) -> models.RecordingStatus:
        row = await self.ingest.find(principal.token.tenant, recording_id)
        async with self.catalog.reading() as connection:
            return _status(row, progress=await jobs.progress_of(connection, recording_id))

    def routes(self) -> tuple[AnyRoute, ...]:
        """The rows of a backend's recordings."""
        recording = "/v1/recordings/{recording_id}"
        status = {200: models.RecordingStatus}
        missing = (Code.NOT_FOUND,)
        away = (Code.UNAVAILABLE,)
        return (
            Route(
                method="POST",
                path="/v1/recordings",
                handler=self.create,
                access=INGEST,
                summary="Announce a recording and send its bytes to source_url next, or send both as a form",
                body=models.NewRecording,
                form=MediaBody((FORM_TYPE,)),
                answers={201: models.RecordingStatus, 202: models.RecordingStatus},
                problems=(
                    Code.CONSULTATION_TAKEN,
                    Code.CONFLICT,
                    Code.PATIENT_ERASED,
                    Code.ERASURE_PENDING,
                    *away,
                ),
            ),
            Route(
                method="PUT",
                path=recording + "/source",
                handler=self.store,
                access=INGEST,
                summary="Send a recording's bytes; they are sealed as they arrive",
                body=_MEDIA,
                answers={202: models.RecordingStatus},
                problems=(
                    *missing,
                    Code.CONFLICT,
                    Code.PATIENT_ERASED,
                    Code.ERASURE_PENDING,
                    Code.BODY_TOO_LARGE,
                    Code.REQUEST_TIMEOUT,
                    *away,
                ),
            ),
            Route(
                method="GET",
                path="/v1/recordings",
                handler=self.list,
                access=INGEST,
                summary="A tenant's recordings and where they stand",
                query=models.PageQuery,
                answers={200: models.StatusPage},
                problems=(Code.INVALID_QUERY, *away),
            ),
            Route(
                method="GET",
                path=recording,
                handler=self.show,
                access=INGEST,
                summary="Where a recording stands",
                answers=status,
                problems=(*missing, *away),
            ),
            Route(
                method="GET",
                path=recording + "/events",
                handler=self.events,
                access=INGEST,
                summary="The status as server-sent events until it is final",
                answers={200: _EVENTS},
                problems=(*missing, *away),
            ),
            Route(
                method="POST",
                path=recording + "/retry",
                handler=self.retry,
                access=INGEST,
                summary="Try a failed recording once more",
                answers={202: models.RecordingStatus},
                problems=(*missing, Code.CONFLICT, *away),
            ),
            Route(
                method="DELETE",
                path=recording,
                handler=self.delete,
                access=INGEST,
                summary="Destroy a recording",
                answers={204: None},
                problems=(*missing, Code.LEGAL_HOLD, *away),
            ),
        )


async def _arriving(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """A body as it arrives; a client that falls silent gets 408 and its half upload is removed."""
    while True:
        try:
            async with asyncio.timeout(_SILENCE_LIMIT_S):
                piece = await anext(pieces, None)
        except TimeoutError:
            raise Problem(Code.REQUEST_TIMEOUT) from None
        if piece is None:
            return
        yield piece


def _idempotency_key(request: web.Request) -> str | None:
    key = request.headers.get("Idempotency-Key")
    # ASCII: what is not text arrives as surrogates, and has no bytes to hash.
    if key is not None and not (1 <= len(key) <= _MAX_IDEMPOTENCY_CHARS and key.isascii()):
        raise Problem(Code.MALFORMED_REQUEST, detail="Idempotency-Key has 1 to 255 ASCII characters.")
    return key


def _announcement(body: models.NewRecording, key: str | None) -> Announcement:
    return Announcement(
        patient=parse_patient(body.patient),
        consultation=parse_consultation(body.consultation),
        metadata=body.metadata,
        idempotency_key=key,
    )


def _caller(call: Call[Service, Any, Any]) -> Caller:
    return Caller(call.principal.token.tenant, call.principal.actor, request_id(call.request))


def _status(row: RecordingRow, *, progress: float | None) -> models.RecordingStatus:
    if row.state is RecordingState.DELETED:
        raise Problem(Code.NOT_FOUND)
    return models.RecordingStatus(
        id=row.recording_id,
        patient=row.patient,
        consultation=row.consultation,
        state=row.state.value,
        progress=progress,
        failure=row.failure,
        failure_detail=row.failure_detail,
        created_at=row.created_at,
        published_at=row.published_at,
        source_size_bytes=None if row.source is None else row.source.size_bytes,
        source_url=f"/v1/recordings/{row.recording_id}/source",
    )
