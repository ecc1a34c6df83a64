"""One file of a recording, from where the sink stands to its end, through cut connections.

Invariants: a part is carried on by Range with If-Range (RFC 9110, sections 13.1.5 and 14.2), so that bytes of two
versions never meet; a file counts as complete only when it has the length that the service named; connections that
bring nothing are counted, and bounded by `Backoff`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

import aiohttp

from vault.client.errors import InvalidRequest, UnexpectedAnswer, Unreachable
from vault.client.sinks import Resume, Sink
from vault.client.sources import Progress
from vault.client.wire import Ask, Wire

_PARTIAL: Final = 206
_UNSATISFIABLE: Final = 416
_CONTENT_RANGE: Final = re.compile(r"bytes (\d{1,20})-(\d{1,20})/(\d{1,20})", re.ASCII)
_STRONG_TAG: Final = re.compile(r'"([A-Za-z0-9-]{1,64})"', re.ASCII)


@dataclass(slots=True)
class _Position:
    """How far a download is."""

    offset_bytes: int = 0
    size_bytes: int | None = None


async def fetch(wire: Wire, path: tuple[str, ...], sink: Sink, *, on_progress: Progress | None) -> int:
    """Fill `sink`; returns the file's size in bytes. Raises `Refused`, `Unreachable`, `UnexpectedAnswer`, `Misused`."""
    at = _Position()

    async def once() -> None:
        while True:
            begun_bytes = at.offset_bytes
            try:
                return await _once(wire, path, sink, at, on_progress)
            except Unreachable:
                if at.offset_bytes <= begun_bytes:
                    raise

    await wire.repeating(once)
    await sink.finish()
    return at.offset_bytes


async def _once(
    wire: Wire, path: tuple[str, ...], sink: Sink, at: _Position, on_progress: Progress | None
) -> None:
    resume = await sink.resume()
    try:
        async with wire.answer(_ask(path, resume)) as answer:
            at.offset_bytes, at.size_bytes = _span(answer, resume)
            await sink.begin(offset_bytes=at.offset_bytes, tag=_tag(answer))
            async for piece in answer.content.iter_any():
                await sink.write(piece)
                at.offset_bytes += len(piece)
                if on_progress is not None:
                    on_progress(at.offset_bytes, at.size_bytes)
    except InvalidRequest as refused:
        if resume is None or refused.status_code != _UNSATISFIABLE:
            raise
        # If-Range held, or the answer were the whole file: the part ends where the file does.
        at.offset_bytes = at.size_bytes = resume.offset_bytes
        await sink.begin(offset_bytes=resume.offset_bytes, tag=resume.tag)
    if at.size_bytes is not None and at.offset_bytes != at.size_bytes:
        raise Unreachable("the connection ended before the file did")


def _ask(path: tuple[str, ...], resume: Resume | None) -> Ask:
    if resume is None:
        return Ask(method="GET", path=path)
    headers = {"Range": f"bytes={resume.offset_bytes}-", "If-Range": f'"{resume.tag}"'}
    return Ask(method="GET", path=path, headers=headers)


def _span(answer: aiohttp.ClientResponse, resume: Resume | None) -> tuple[int, int | None]:
    """Where the body begins, and the size of the whole file where it is known."""
    if answer.status != _PARTIAL:
        return 0, answer.content_length
    found = _CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", ""))
    if found is None or resume is None or int(found[1]) != resume.offset_bytes:
        raise UnexpectedAnswer("the service sent another range than it was asked for")
    return int(found[1]), int(found[3])


def _tag(answer: aiohttp.ClientResponse) -> str | None:
    found = _STRONG_TAG.fullmatch(answer.headers.get("ETag", ""))
    return None if found is None else found[1]
