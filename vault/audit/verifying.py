"""Whether the log is what was written: each file against itself, and against all that was signed about it.

Invariants:
- one pass for each file, in memory that does not grow with it;
- only what a given key signed counts for a file; what another key signed is a fault of its own;
- a tail that no anchor covers yet is told with its size and beginning; it is a fault only where the writer is closed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vault.audit.entry import Action
from vault.audit.errors import ChainBroken
from vault.audit.faults import Fault, FaultKind
from vault.audit.merkle import Tree, leaf_hash
from vault.audit.reading import Chain
from vault.audit.testimony import Statement, Testimony

_GRAVITY = list(FaultKind)


@dataclass(slots=True, kw_only=True)
class Verdict:
    """What is known of one writer's log. `signed` and `anchored` count entries from its beginning."""

    writer: str
    folder: str
    entries: int = 0
    signed: int = 0
    anchored: int = 0
    unanchored_since: str | None = None
    is_closed: bool = False
    faults: list[Fault] = field(default_factory=list)

    @property
    def unanchored(self) -> int:
        """Entries behind the last anchor."""
        return max(0, self.entries - self.anchored)

    @property
    def state(self) -> str:
        """The gravest fault, else `anchored` or `unanchored`."""
        if self.faults:
            return min((fault.kind for fault in self.faults), key=_GRAVITY.index).value
        return "unanchored" if self.unanchored else "anchored"

    def sentences(self) -> list[str]:
        """Every fault, with the writer's name."""
        return [f"{self.writer}: {fault.kind.value}: {fault.what}" for fault in self.faults]


def verify(folders: Iterable[Path], testimony: Testimony) -> Iterator[Verdict]:
    """A verdict for each file, and for each writer of whom only testimony is left. Raises OSError."""
    seen = set()
    for path in sorted(path for folder in folders for path in folder.glob("*.jsonl")):
        seen.add(path.stem)
        yield judge(path, testimony.statements.get(path.stem, ()), testimony.faults.get(path.stem, ()))
    for writer in sorted(testimony.writers - seen):
        yield _missing(writer, testimony)


def judge(path: Path, statements: Sequence[Statement], faults: Iterable[Fault] = ()) -> Verdict:
    """The verdict on one file. Raises OSError."""
    verdict = Verdict(writer=path.stem, folder=str(path.parent), faults=list(faults))
    check = _Check(verdict, statements)
    chain = Chain(path.name)
    with path.open("rb") as lines:
        for line in lines:
            if not line.endswith(b"\n"):
                break
            try:
                entry = chain.accept(line)
            except ChainBroken as broken:
                number = verdict.entries + 1
                verdict.faults.append(Fault(FaultKind.ALTERED, str(broken), line=number))
                break
            check.take(entry, line)
    check.end()
    return verdict


class _Check:
    """Holds one growing file against the statements about it."""

    def __init__(self, verdict: Verdict, statements: Sequence[Statement]) -> None:
        self._verdict = verdict
        self._tree = Tree()
        self._due: dict[int, list[Statement]] = {}
        for statement in statements:
            self._due.setdefault(statement.checkpoint.size, []).append(statement)
        anchors = [each.checkpoint.size for each in statements if each.is_anchor]
        self._last_anchor = max(anchors, default=0)

    def take(self, entry: dict[str, Any], line: bytes) -> None:
        """One more entry."""
        verdict = self._verdict
        self._tree.add(leaf_hash(line[:-1]))
        verdict.entries += 1
        verdict.is_closed = entry.get("action") == Action.WRITER_CLOSE.value
        if verdict.entries == self._last_anchor + 1:
            verdict.unanchored_since = str(entry["at"])
        for statement in self._due.pop(verdict.entries, ()):
            self._compare(statement, str(entry["hash"]))

    def _compare(self, statement: Statement, last_hash: str) -> None:
        checkpoint, verdict = statement.checkpoint, self._verdict
        if (checkpoint.root, checkpoint.last_hash) == (self._tree.root(), last_hash):
            verdict.signed = max(verdict.signed, checkpoint.size)
            if statement.is_anchor:
                verdict.anchored = max(verdict.anchored, checkpoint.size)
        elif not any(fault.kind is FaultKind.FORKED for fault in verdict.faults):
            what = (
                f"{statement.where} was signed over other entries: "
                f"one of the lines {verdict.signed + 1} to {checkpoint.size} is not what was written first"
            )
            verdict.faults.append(Fault(FaultKind.FORKED, what, line=verdict.signed + 1))

    def end(self) -> None:
        """The file is over."""
        verdict = self._verdict
        broken = {fault.kind for fault in verdict.faults}
        if self._due and FaultKind.ALTERED not in broken:
            size, (statement, *_) = max(self._due.items())
            what = f"{verdict.entries} entries are there, and {statement.where} was signed over {size}"
            verdict.faults.append(Fault(FaultKind.TRUNCATED, what, line=verdict.entries + 1))
        elif verdict.is_closed and verdict.unanchored and not broken:
            what = f"closed, and its last {verdict.unanchored} entries stand under no anchor"
            verdict.faults.append(Fault(FaultKind.NEVER_ANCHORED, what, line=verdict.anchored + 1))


def _missing(writer: str, testimony: Testimony) -> Verdict:
    statements = testimony.statements.get(writer, [])
    verdict = Verdict(writer=writer, folder="", faults=list(testimony.faults.get(writer, ())))
    if statements:
        last = max(statements, key=lambda statement: statement.checkpoint.size)
        what = (
            f"no file in the folders named, and {last.where} was signed over {last.checkpoint.size} entries"
        )
        verdict.faults.append(Fault(FaultKind.MISSING, what))
    roots: dict[int, bytes] = {}
    for statement in statements:
        size, root = statement.checkpoint.size, statement.checkpoint.root
        if roots.setdefault(size, root) != root:
            what = f"two checkpoints over {size} entries differ"
            verdict.faults.append(Fault(FaultKind.FORKED, what))
    return verdict
