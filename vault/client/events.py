"""Server-sent events (WHATWG HTML, section 9.2.6), as much of them as a status needs. Pure.

Invariant: what is held of an unfinished event is bounded.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from vault.client.errors import UnexpectedAnswer

MAX_EVENT_BYTES: Final = 64 * 1024


class EventParser:
    """Feed it bytes as they arrive; it yields the data of each event of type `status`."""

    def __init__(self) -> None:
        self._rest = b""
        self._kind = "message"
        self._data: list[str] = []

    def feed(self, piece: bytes) -> Iterator[str]:
        """Events that `piece` completes; raises `UnexpectedAnswer`."""
        *lines, self._rest = (self._rest + piece).split(b"\n")
        for line in lines:
            yield from self._line(line.rstrip(b"\r").decode("utf-8", "replace"))
        if len(self._rest) + sum(map(len, self._data)) > MAX_EVENT_BYTES:
            raise UnexpectedAnswer("an event is longer than any status")

    def _line(self, line: str) -> Iterator[str]:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if line == "":
            if self._data and self._kind == "status":
                yield "\n".join(self._data)
            self._kind, self._data = "message", []
        elif name == "event":
            self._kind = value
        elif name == "data":
            self._data.append(value)
