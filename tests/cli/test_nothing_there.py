"""Commands that look, in a folder in which no service ever ran: a sentence that says what to do; nothing is made."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Desk
from vault.cli.exits import Exit

_WHOSE = ("--tenant", "clinic", "--patient", "p-1")


@pytest.mark.parametrize(
    "words",
    [
        ("jobs", "ls"),
        ("tokens", "ls"),
        ("keys", "status"),
        ("keys", "due"),
        ("keys", "census"),
        ("keys", "retention", "ls"),
        ("keys", "compromise", "ls"),
        ("keys", "rotate", "patient", "--dry-run"),
        ("keys", "rotate", "tier-secret", "--dry-run"),
        ("keys", "retire", "patient", "--dry-run"),
        ("keys", "reencrypt", "--tenant", "clinic", "--dry-run"),
        ("keys", "erase", "status"),
        ("keys", "erase", "request", *_WHOSE, "--reason", "asked", "--dry-run"),
        ("keys", "hold", "ls"),
    ],
    ids=" ".join,
)
def test_looking_makes_nothing(desk: Desk, tmp_path: Path, words: tuple[str, ...]) -> None:
    done = desk.invoke(*words, "--data-dir", str(tmp_path))
    assert (done.code, "start `replayvault serve` once" in done.err) == (Exit.USAGE, True), done.err
    assert list(tmp_path.iterdir()) == []
