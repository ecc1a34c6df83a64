"""The demonstration's HTTP calls: what a backend and a patient's app send, and nothing more."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Final

import aiohttp

_PIECE_BYTES: Final = 256 * 1024


class VisitError(Exception):
    """An answer that the demonstration did not expect."""


@dataclass(frozen=True, slots=True, repr=False)
class Visitor:
    """Someone with a token. Does not print."""

    http: aiohttp.ClientSession
    token: str

    async def status(self, method: str, path: str, **headers: str) -> tuple[int, bytes]:
        """Any call; status and body."""
        async with self.http.request(method, path, headers=self._headers | headers) as answer:
            return answer.status, await answer.read()

    async def document(self, method: str, path: str, body: Any = None) -> Any:
        """A call that must succeed with JSON; raises `VisitError`."""
        async with self.http.request(method, path, json=body, headers=self._headers) as answer:
            if not answer.ok:
                raise VisitError(f"{method} {path} answered {answer.status}")
            return await answer.json()

    async def upload(self, path: str, film: bytes, on_progress: Callable[[float], None]) -> None:
        """PUT a source piece by piece; raises `VisitError`."""
        headers = self._headers | {"Content-Type": "video/webm", "Content-Length": str(len(film))}
        async with self.http.put(path, data=_pieces(film, on_progress), headers=headers) as answer:
            if not answer.ok:
                raise VisitError(f"the upload was answered with {answer.status}")

    async def events(self, path: str) -> AsyncIterator[dict[str, Any]]:
        """Server-sent status events until the server ends them; raises `VisitError`."""
        async with self.http.get(path, headers=self._headers) as answer:
            if not answer.ok:
                raise VisitError(f"the events were answered with {answer.status}")
            async for line in answer.content:
                if line.startswith(b"data: "):
                    yield json.loads(line[len(b"data: ") :])

    @property
    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}


async def _pieces(film: bytes, on_progress: Callable[[float], None]) -> AsyncIterator[bytes]:
    for start in range(0, len(film), _PIECE_BYTES):
        yield film[start : start + _PIECE_BYTES]
        on_progress(min((start + _PIECE_BYTES) / len(film), 1.0))
