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


def read_chain(path: Path) -> Iterator[dict[str, Any]]:
    """The entries of one writer; raises `ChainBroken` at the first line that does not follow."""
    prev = FIRST_PREV
    with path.open("rb") as lines:
        for number, line in enumerate(lines):
            if not line.endswith(b"\n"):
                return
            entry = _parse(line, where=f"{path.name}, line {number + 1}")
            if entry["seq"] != number or entry["prev"] != prev or chain_hash(entry) != entry["hash"]:
                raise ChainBroken(f"{path.name}, line {number + 1}: does not follow from the line before")
            prev = entry["hash"]
            yield entry


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
