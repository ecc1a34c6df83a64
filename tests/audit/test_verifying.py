"""Verifying and reporting read a file once, in memory that does not grow with it."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.audit.entries import chain, event
from vault.audit import testimony
from vault.audit.exporting import Format, export
from vault.audit.incident import incident
from vault.audit.verifying import verify
from vault.audit.viewing import Log, Span
from vault.audit.who_saw import who_saw

ENTRIES = 3000


def verified(folder: Path) -> None:
    (verdict,) = verify([folder], testimony.Testimony())
    assert (verdict.entries, verdict.state) == (ENTRIES, "unanchored")


def exported(folder: Path) -> None:
    for form in (Format.JSONL, Format.CSV):
        assert sum(1 for _ in export(Log((folder,)), Span(), form=form)) >= ENTRIES


def asked(folder: Path) -> None:
    assert len(who_saw(Log((folder,)), "").watchers) == 1
    assert len(incident(Log((folder,)), Span()).sessions) == 1


@pytest.mark.parametrize("work", [verified, exported, asked])
def test_memory_stays_flat(tmp_path: Path, work: Callable[[Path], None]) -> None:
    path = tmp_path / "20260301T093000-stream-00c0ffee.jsonl"
    path.write_bytes(b"".join(chain(event(number) for number in range(ENTRIES))))
    assert path.stat().st_size > 1_000_000
    tracemalloc.start()
    try:
        work(tmp_path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 600_000
