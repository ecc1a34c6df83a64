"""The service as a patient's app uses it: a session's own recordings, and nothing else."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import AsyncIterator, Iterable
from types import TracebackType
from typing import Self

from vault.client.backoff import Backoff
from vault.client.documents import OpenedSession, RecordingPage, RecordingView, Ticket
from vault.client.downloads import fetch
from vault.client.sinks import Sink
from vault.client.sources import Progress
from vault.client.token import Token, TokenKind
from vault.client.wire import Ask, Wire

_RECORDINGS = ("v1", "recordings")


class PatientSession:
    """A patient's session: `async with PatientSession(url, token) as ann`. One instance for each event loop.

    Every method raises `Unauthenticated` once the session has ended, `Refused`, `Unreachable` or `UnexpectedAnswer`.
    """

    def __init__(
        self, url: str, token: Token, *, backoff: Backoff | None = None, plain_http: bool = False
    ) -> None:
        """Raises `InvalidToken` unless `token` is a session's, or `InvalidAddress`. `plain_http` as `ReplayVault`."""
        token.require(TokenKind.SESSION)
        self._wire = Wire(url, token, backoff=backoff or Backoff(), plain_http=plain_http)

    def __repr__(self) -> str:
        return f"PatientSession({self._wire.origin!r})"

    async def __aenter__(self) -> Self:
        await self._wire.open()
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        await self._wire.aclose()

    async def recordings(self, *, page_size: int = 50) -> AsyncIterator[RecordingView]:
        """The patient's recordings, newest first, page by page."""
        query = {"limit": str(page_size)}
        while True:
            ask = Ask(method="GET", path=_RECORDINGS, query=query)
            page = await self._wire.document(ask, RecordingPage, safe=True)
            for view in page.recordings:
                yield view
            if page.next is None:
                return
            query["cursor"] = page.next

    async def recording(self, recording_id: uuid.UUID) -> RecordingView:
        """One recording; raises `NotFound`."""
        ask = Ask(method="GET", path=(*_RECORDINGS, str(recording_id)))
        return await self._wire.document(ask, RecordingView, safe=True)

    async def download(
        self, recording_id: uuid.UUID, file: str, sink: Sink, *, on_progress: Progress | None = None
    ) -> int:
        """Fetch one file of a recording (`RecordingView.files`, `replay.mp4`) into `sink`; returns its size in bytes.

        Goes on where `sink` stands, through cut connections and, with a `FileSink`, later processes. Raises
        `NotFound`, `Damaged`, and what the sink raises.
        """
        path = (*_RECORDINGS, str(recording_id), file)
        return await fetch(self._wire, path, sink, on_progress=on_progress)

    async def refresh(self, *, ttl: dt.timedelta = dt.timedelta(minutes=15)) -> OpenedSession:
        """The next token of this session; this one ends within a minute."""
        document = {"ttl_s": int(ttl.total_seconds())}
        ask = Ask(method="POST", path=("v1", "sessions", "refresh"), document=document)
        return await self._wire.document(ask, OpenedSession, safe=False)

    async def ticket(
        self,
        recording_id: uuid.UUID,
        *,
        ttl: dt.timedelta = dt.timedelta(minutes=10),
        files: Iterable[str] = (),
    ) -> Ticket:
        """A ticket for a device that can send no header; raises `NotFound` or `NotReady`."""
        document = {"recording": str(recording_id), "ttl_s": int(ttl.total_seconds()), "files": list(files)}
        ask = Ask(method="POST", path=("v1", "tickets"), document=document)
        return await self._wire.document(ask, Ticket, safe=False)
