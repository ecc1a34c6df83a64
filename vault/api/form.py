"""A recording in one request: `multipart/form-data` (RFC 7578) with a JSON part and the film, read as it arrives.

    curl -F 'recording={"patient": …};type=application/json' -F source=@film.webm …

Invariants: the JSON part comes first and is bounded; the film is never held, spooled or written to disk.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from aiohttp import BodyPartReader, MultipartReader, web
from aiohttp.http_exceptions import BadHttpMessage
from pydantic import ValidationError

from vault.api.dispatch import JSON_READ_TIMEOUT_S, MAX_JSON_BYTES
from vault.api.faults import faults_of
from vault.api.models import NewRecording
from vault.api.problems import Code, Problem

MEDIA_TYPE: Final = "multipart/form-data"
_PIECE_BYTES: Final = 256 * 1024
_ORDER: Final = "Send two parts: first `recording` (JSON), then `source` (the film)."


async def read_recording(request: web.Request) -> tuple[NewRecording, BodyPartReader]:
    """The announcement, and the part that holds the film; raises `Problem`."""
    try:
        form = await request.multipart()
        async with asyncio.timeout(JSON_READ_TIMEOUT_S):
            text = await _bounded(await _part(form, name="recording"))
            return _announcement(text), await _part(form, name="source")
    except TimeoutError:
        raise Problem(Code.REQUEST_TIMEOUT) from None
    except (ValueError, AssertionError, RuntimeError, BadHttpMessage):
        raise Problem(Code.MALFORMED_REQUEST, detail=_ORDER) from None


async def film_pieces(part: BodyPartReader) -> AsyncIterator[bytes]:
    """The film as it arrives; raises `Problem` where the form is cut or malformed."""
    try:
        while piece := await part.read_chunk(_PIECE_BYTES):
            yield bytes(piece)
    except (ValueError, AssertionError, RuntimeError):
        raise Problem(Code.MALFORMED_REQUEST) from None


async def _part(form: MultipartReader, *, name: str) -> BodyPartReader:
    part = await form.next()
    if not isinstance(part, BodyPartReader) or part.name != name:
        raise Problem(Code.MALFORMED_REQUEST, detail=_ORDER)
    return part


async def _bounded(part: BodyPartReader) -> bytes:
    text = bytearray()
    while piece := await part.read_chunk(MAX_JSON_BYTES):
        text += piece
        if len(text) > MAX_JSON_BYTES:
            raise Problem(Code.BODY_TOO_LARGE)
    return bytes(text)


def _announcement(text: bytes) -> NewRecording:
    try:
        return NewRecording.model_validate_json(text)
    except ValidationError as refused:
        raise Problem(Code.INVALID_BODY, faults=faults_of(refused, model=NewRecording)) from None
