"""What `doctor` finds, and what it adds up to. Pure."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass

from vault.cli.exits import Exit


class Verdict(enum.Enum):
    """How good a finding is."""

    OK = "ok"
    NOTE = "note"  # works; somebody should know
    WRONG = "wrong"  # does not work, or is not safe: an operator has to act
    DOWN = "down"  # a dependency does not answer


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. `todo` says what to do about it."""

    name: str
    verdict: Verdict
    says: str
    todo: str = ""


def ok(name: str, says: str) -> Finding:
    """As it should be."""
    return Finding(name, Verdict.OK, says)


def note(name: str, says: str, todo: str) -> Finding:
    """Works, and is worth knowing."""
    return Finding(name, Verdict.NOTE, says, todo)


def wrong(name: str, says: str, todo: str) -> Finding:
    """Has to be changed."""
    return Finding(name, Verdict.WRONG, says, todo)


def down(name: str, says: str, todo: str) -> Finding:
    """Does not answer."""
    return Finding(name, Verdict.DOWN, says, todo)


def exit_of(findings: Iterable[Finding]) -> Exit:
    """6 where a dependency is down, else 5 where something is wrong, else 0."""
    verdicts = {finding.verdict for finding in findings}
    if Verdict.DOWN in verdicts:
        return Exit.DEPENDENCY_DOWN
    return Exit.PARTLY_FAILED if Verdict.WRONG in verdicts else Exit.OK
