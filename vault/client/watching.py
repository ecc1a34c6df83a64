"""A recording's status as it changes: by server-sent events, and by asking where those are cut.

Invariants: each status is given once; the last one is final; a stream of events that fails is no error as long as
the service answers.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Final

from pydantic import ValidationError

from vault.client.documents import RecordingStatus
from vault.client.errors import Busy, UnexpectedAnswer, Unreachable
from vault.client.events import EventParser
from vault.client.wire import Ask, Wire

POLL_S: Final = 1.0
# The service says something every 15 seconds, if only that it is still there.
_SILENCE_S: Final = 40.0

Asking = Callable[[uuid.UUID], Awaitable[RecordingStatus]]


async def watch(wire: Wire, recording_id: uuid.UUID, *, status_of: Asking) -> AsyncIterator[RecordingStatus]:
    """The status now and after each change until it is final; raises `Refused` or `Unreachable`."""
    last: RecordingStatus | None = None
    async with contextlib.aclosing(_told(wire, recording_id)) as events:
        with contextlib.suppress(Unreachable, Busy):
            async for status in events:
                yield status
                last = status
    while last is None or not last.state.is_final:
        if last is not None:
            await asyncio.sleep(POLL_S)
        status = await status_of(recording_id)
        if status != last:
            yield status
            last = status


async def _told(wire: Wire, recording_id: uuid.UUID) -> AsyncGenerator[RecordingStatus, None]:
    path = ("v1", "recordings", str(recording_id), "events")
    parser = EventParser()
    async with wire.answer(Ask(method="GET", path=path, answer_timeout_s=_SILENCE_S)) as answer:
        async for piece in answer.content.iter_any():
            for data in parser.feed(piece):
                yield _status(data)


def _status(data: str) -> RecordingStatus:
    try:
        return RecordingStatus.model_validate_json(data)
    except ValidationError:
        raise UnexpectedAnswer("an event of the service is not a status") from None
