"""Reading audit files back: lines as objects, in the order of time, each chain checked on the way.

Invariants: a line counts only in the form in which it was written, so that nothing can be slipped into it that one
reader sees and another does not; a last line without its newline is being written, or was cut off by a crash before
anybody was told that it is durable: the chain ends before it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vault.audit.entry import FIRST_PREV, canonical, chain_hash
from vault.audit.errors import ChainBroken


class Chain:
    """One writer's chain, as far as it was read: takes lines in order, refuses the first that does not follow."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._number = 0
        self._prev = FIRST_PREV

    def accept(self, line: bytes) -> dict[str, Any]:
        """The entry in the next line; raises `ChainBroken`."""
        where = f"{self._name}, line {self._number + 1}"
        entry = _parse(line, where=where)
        if entry["seq"] != self._number or entry["prev"] != self._prev or chain_hash(entry) != entry["hash"]:
            raise ChainBroken(f"{where}: does not follow from the line before")
        self._number, self._prev = self._number + 1, entry["hash"]
        return entry


def read_chain(path: Path) -> Iterator[dict[str, Any]]:
    """The entries of one writer; raises `ChainBroken` at the first line that does not follow."""
    chain = Chain(path.name)
    with path.open("rb") as lines:
        for line in lines:
            if not line.endswith(b"\n"):
                return
            yield chain.accept(line)


def tail(folder: Path, *, limit: int) -> list[dict[str, Any]]:
    """The last `limit` entries of every writer together, oldest first; raises `ChainBroken`."""
    entries = [entry for path in sorted(folder.glob("*.jsonl")) for entry in read_chain(path)]
    entries.sort(key=lambda entry: entry["at"])
    return entries[-limit:]


def _parse(line: bytes, *, where: str) -> dict[str, Any]:
    try:
        entry = json.loads(line)
        if {"seq", "prev", "hash", "at"} <= entry.keys() and canonical(entry) + b"\n" == line:
            return dict(entry)
    except (ValueError, AttributeError, RecursionError):
        pass
    raise ChainBroken(f"{where}: not an audit entry")
