"""Vectors of audit entries and their chain."""

from __future__ import annotations

import datetime as dt
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from vault.audit.entry import FIRST_PREV, Action, Decision, Event, Reason, chain_hash, seal_line
from vault.audit.reading import read_chain
from vectors.judging import RECORDING, RECORDING_KEY_ID, Inputs, Page

AT: Final = dt.datetime(2026, 3, 1, 9, 30, 0, 123_000, tzinfo=dt.UTC)


def pages() -> Iterator[Page]:
    """The page of this module."""
    yield _chain_page()


def _judge(inputs: Inputs) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log.jsonl"
        path.write_bytes(inputs["file"].encode())
        entries = list(read_chain(path))
    return {"entries": len(entries), "last_hash": entries[-1]["hash"] if entries else FIRST_PREV}


def _lines() -> list[bytes]:
    events = (
        Event(action=Action.WRITER_OPEN, decision=Decision.ALLOW, actor="system"),
        Event(
            action=Action.VIEW_OPEN,
            decision=Decision.DENY,
            reason=Reason.KEY_MISMATCH,
            actor="session",
            patient="0f" * 16,
            recording=str(RECORDING),
            key_id=str(RECORDING_KEY_ID),
            session="ab" * 32,
            request="a \u2028 line\nbreak and \u00fc",
            size_bytes=16_384,
            note="720p.mp4",
        ),
        Event(action=Action.WRITER_CLOSE, decision=Decision.ALLOW, actor="system"),
    )
    lines, prev = [], FIRST_PREV
    for seq, event in enumerate(events):
        at = AT + dt.timedelta(seconds=seq)
        line, prev = seal_line(event, seq=seq, at=at, role="stream", release="0.1.0", prev=prev)
        lines.append(line)
    return lines


def _text(*lines: bytes) -> dict[str, Any]:
    return {"file": b"".join(lines).decode()}


def _chain_page() -> Page:
    page = Page("audit-chain", "13", _judge)
    first, second, third = _lines()
    page.opens("three entries", _text(first, second, third))
    page.opens("no entry yet", {"file": ""})
    page.opens("a last line that was not finished", _text(first, second, third[:-1]))
    edited = second.replace(b'"decision":"deny"', b'"decision":"allow"')
    spaced = second.replace(b",", b", ", 1)
    twice = second.replace(b'"actor":', b'"actor":"x","actor":', 1)
    for name, lines in {
        "an edited entry": (first, edited, third),
        "an edited entry with its own hash anew": (first, _rehashed(edited), third),
        "a deleted entry": (first, third),
        "a deleted first entry": (second, third),
        "entries swapped": (first, third, second),
        "an entry twice": (first, second, second, third),
        "white space": (first, spaced, third),
        "a member twice": (first, twice, third),
        "an empty line": (first, b"\n", second, third),
        "a line that is no object": (first, b"[]\n", second),
        "a line that lost its newline": (first, second[:-1], third),
    }.items():
        page.refuses(name, "ChainBroken", _text(*lines))
    return page


def _rehashed(line: bytes) -> bytes:
    fields = json.loads(line)
    fields["hash"] = chain_hash(fields)
    return json.dumps(fields, sort_keys=True, separators=(",", ":")).encode() + b"\n"
