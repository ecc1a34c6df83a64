"""A source on its way to the service, which seals it as it arrives.

Invariants: a source is sent once; whether one that was cut arrived after all is asked, never guessed; an upload that
makes no progress is ended.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from typing import Final

from vault.client.documents import RecordingStatus, State
from vault.client.errors import ReplayVaultError, Unreachable, UploadInterrupted
from vault.client.sources import Source
from vault.client.wire import Ask, Wire

STALL_TIMEOUT_S: Final = 60.0
# After its last byte a source is made durable in the object store, which may take a while for many parts.
STORED_TIMEOUT_S: Final = 120.0
_SETTLE_S: Final = 0.5

Asking = Callable[[uuid.UUID], Awaitable[RecordingStatus]]


async def send(
    wire: Wire, recording_id: uuid.UUID, source: Source, *, content_type: str, status_of: Asking
) -> RecordingStatus:
    """Send `source`; raises `UploadInterrupted`, what `Wire` raises, or what the source raised."""
    try:
        return await _send(wire, recording_id, source, content_type)
    except (Unreachable, TimeoutError) as error:
        if source.failure is not None:
            raise source.failure from None
        why = str(error) or f"{wire.origin} stopped taking the source"
    return await _arrived(recording_id, status_of=status_of, why=why)


async def _send(wire: Wire, recording_id: uuid.UUID, source: Source, content_type: str) -> RecordingStatus:
    headers = {"Content-Type": content_type}
    if source.size_bytes is not None:
        headers["Content-Length"] = str(source.size_bytes)
    loop = asyncio.get_running_loop()
    ask = Ask(
        method="PUT",
        path=("v1", "recordings", str(recording_id), "source"),
        data=aiter(source),
        headers=headers,
        answer_timeout_s=STORED_TIMEOUT_S,
        expect_continue=True,  # a token that is refused is refused before a byte travels
    )
    async with asyncio.timeout(STALL_TIMEOUT_S) as stall:
        source.on_piece = lambda: stall.reschedule(loop.time() + STALL_TIMEOUT_S)
        source.on_end = lambda: stall.reschedule(None)
        return await wire.document(ask, RecordingStatus, safe=False)


async def _arrived(recording_id: uuid.UUID, *, status_of: Asking, why: str) -> RecordingStatus:
    """The status, if the source was stored although its answer was lost."""
    await asyncio.sleep(_SETTLE_S)
    try:
        status = await status_of(recording_id)
    except ReplayVaultError:
        raise UploadInterrupted(why, recording_id=recording_id) from None
    if status.state is State.CREATED:
        raise UploadInterrupted(why, recording_id=recording_id)
    return status
