"""The service as a tenant's backend uses it: recordings in, sessions out.

Invariants: calls that only ask are repeated while the service is away; of those that change something only `announce`
is, because its idempotency key makes two of them one.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import uuid
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from vault.client.backoff import Backoff
from vault.client.documents import (
    Metadata,
    OpenedSession,
    RecordingStatus,
    Revoked,
    SessionList,
    SessionScope,
    SessionView,
    State,
    StatusPage,
    Ticket,
)
from vault.client.errors import NotPublished
from vault.client.keys import Keys
from vault.client.sources import UNKNOWN_TYPE, Progress, Source, media_type, opened_file, read_pieces, size_of
from vault.client.token import Token, TokenKind
from vault.client.uploads import send
from vault.client.watching import watch
from vault.client.wire import Ask, Wire

_RECORDINGS = ("v1", "recordings")
_SESSIONS = ("v1", "sessions")


class ReplayVault:
    """A tenant's backend: `async with ReplayVault(url, token) as vault`. One instance for each event loop.

    Every method raises `Refused` (by leaf), `Unreachable` or `UnexpectedAnswer`.
    """

    def __init__(
        self, url: str, token: Token, *, backoff: Backoff | None = None, plain_http: bool = False
    ) -> None:
        """Raises `InvalidToken` unless `token` is a service token, or `InvalidAddress`.

        `plain_http` allows http off this machine, for networks that encrypt themselves.
        """
        token.require(TokenKind.SERVICE)
        self._wire = Wire(url, token, backoff=backoff or Backoff(), plain_http=plain_http)

    @property
    def keys(self) -> Keys:
        """Keys and what is done to them; needs the scope `keys`."""
        return Keys(self._wire)

    def __repr__(self) -> str:
        return f"ReplayVault({self._wire.origin!r})"

    async def __aenter__(self) -> Self:
        await self._wire.open()
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        await self._wire.aclose()

    async def store(
        self,
        path: Path,
        *,
        patient: str,
        consultation: str,
        metadata: Metadata,
        idempotency_key: str | None = None,
        on_progress: Progress | None = None,
    ) -> RecordingStatus:
        """Announce and upload a file: everything until it is sealed, stored and queued.

        Called again with the same `idempotency_key` it goes on with the same recording: it uploads what still waits
        for its source, and sends nothing where the source has arrived. Raises OSError where the file cannot be read.
        """
        async with contextlib.AsyncExitStack() as stack:
            file = await stack.enter_async_context(opened_file(path))
            status = await self.announce(
                patient=patient, consultation=consultation, metadata=metadata, idempotency_key=idempotency_key
            )
            if status.state is not State.CREATED:
                return status
            return await self.upload(
                status.id,
                read_pieces(file),
                size_bytes=size_of(file),
                content_type=media_type(path),
                on_progress=on_progress,
            )

    async def announce(
        self, *, patient: str, consultation: str, metadata: Metadata, idempotency_key: str | None = None
    ) -> RecordingStatus:
        """Make a recording that waits for its source; raises `ConsultationTaken` or `PatientErased` among others."""
        body = {
            "patient": patient,
            "consultation": consultation,
            "metadata": metadata.model_dump(mode="json", exclude_none=True),
        }
        # Without a key of the caller's one of ours: an attempt whose answer was lost must not make two recordings.
        headers = {"Idempotency-Key": idempotency_key or str(uuid.uuid4())}
        ask = Ask(method="POST", path=_RECORDINGS, document=body, headers=headers)
        return await self._wire.document(ask, RecordingStatus, safe=True)

    async def upload(
        self,
        recording_id: uuid.UUID,
        source: AsyncIterable[bytes],
        *,
        size_bytes: int | None = None,
        content_type: str = UNKNOWN_TYPE,
        on_progress: Progress | None = None,
    ) -> RecordingStatus:
        """Send a recording's source as it comes; the service seals it as it arrives.

        Raises `UploadInterrupted` where it was cut and has not arrived (upload it again, from its beginning),
        `Conflict` where the recording has a source, `TooLarge`, and what `source` raises. Never repeated by itself.
        """
        pieces = Source(source, size_bytes=size_bytes, on_progress=on_progress)
        return await send(self._wire, recording_id, pieces, content_type=content_type, status_of=self.status)

    async def status(self, recording_id: uuid.UUID) -> RecordingStatus:
        """Where a recording stands; raises `NotFound`."""
        ask = Ask(method="GET", path=(*_RECORDINGS, str(recording_id)))
        return await self._wire.document(ask, RecordingStatus, safe=True)

    def watch(self, recording_id: uuid.UUID) -> AsyncIterator[RecordingStatus]:
        """The status now and after each change, until it is final; survives cut connections. Raises `NotFound`."""
        return watch(self._wire, recording_id, status_of=self.status)

    async def published(self, recording_id: uuid.UUID) -> RecordingStatus:
        """Wait until it is published; raises `NotPublished` where it failed."""
        async for status in self.watch(recording_id):
            if status.state is State.PUBLISHED:
                return status
        raise NotPublished(status)

    async def recordings(self, *, page_size: int = 100) -> AsyncIterator[RecordingStatus]:
        """The tenant's recordings, newest first, page by page."""
        query = {"limit": str(page_size)}
        while True:
            ask = Ask(method="GET", path=_RECORDINGS, query=query)
            page = await self._wire.document(ask, StatusPage, safe=True)
            for status in page.recordings:
                yield status
            if page.next is None:
                return
            query["cursor"] = page.next

    async def retry(self, recording_id: uuid.UUID) -> RecordingStatus:
        """Queue a failed recording once more; raises `NotFound` or `NotReady`."""
        ask = Ask(method="POST", path=(*_RECORDINGS, str(recording_id), "retry"))
        return await self._wire.document(ask, RecordingStatus, safe=False)

    async def delete(self, recording_id: uuid.UUID) -> None:
        """Destroy a recording, for good; raises `NotFound`."""
        await self._wire.done(Ask(method="DELETE", path=(*_RECORDINGS, str(recording_id))))

    async def open_session(
        self,
        patient: str,
        *,
        ttl: dt.timedelta = dt.timedelta(minutes=15),
        scopes: Iterable[SessionScope] = tuple(SessionScope),
    ) -> OpenedSession:
        """A session for a patient whom you have authenticated; raises `NotFound` or `PatientErased`."""
        body = {
            "patient": patient,
            "ttl_s": int(ttl.total_seconds()),
            "scopes": [scope.value for scope in scopes],
        }
        ask = Ask(method="POST", path=_SESSIONS, document=body)
        return await self._wire.document(ask, OpenedSession, safe=False)

    async def sessions(self, *, patient: str | None = None) -> tuple[SessionView, ...]:
        """Live sessions and tickets, of one patient or of all."""
        ask = Ask(method="GET", path=_SESSIONS, query=_given(patient=patient))
        return (await self._wire.document(ask, SessionList, safe=True)).sessions

    async def revoke(self, session_id: str) -> int:
        """End one session and its tickets; returns how many ended. Raises `NotFound`."""
        ask = Ask(method="DELETE", path=(*_SESSIONS, session_id))
        return (await self._wire.document(ask, Revoked, safe=False)).revoked

    async def revoke_all(self, *, patient: str | None) -> int:
        """End every session and ticket of a patient, or with None of the whole tenant; returns how many ended."""
        query = {"all": "true"} if patient is None else {"patient": patient}
        ask = Ask(method="DELETE", path=_SESSIONS, query=query)
        return (await self._wire.document(ask, Revoked, safe=False)).revoked

    async def ticket(
        self,
        recording_id: uuid.UUID,
        *,
        purpose: str,
        ttl: dt.timedelta = dt.timedelta(minutes=10),
        files: Iterable[str] = (),
    ) -> Ticket:
        """A ticket for a clinician or support, its purpose on record; raises `NotFound` or `NotReady`."""
        body = {
            "recording": str(recording_id),
            "ttl_s": int(ttl.total_seconds()),
            "files": list(files),
            "purpose": purpose,
        }
        ask = Ask(method="POST", path=("v1", "tickets"), document=body)
        return await self._wire.document(ask, Ticket, safe=False)


def _given(**values: Any) -> dict[str, str]:
    return {name: str(value) for name, value in values.items() if value is not None}
