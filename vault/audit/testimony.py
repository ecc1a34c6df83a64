"""What stands outside a log about it: its own last checkpoint, and the anchors of every place.

Invariant: it is gathered before the files are read, so that a log that grows meanwhile is never called truncated.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from keys.errors import Damaged, KeysError, NoSuchKey
from keys.notes import NoteKey
from vault.audit.checkpoint import Checkpoint, open_checkpoint
from vault.audit.checkpointing import SUFFIX
from vault.audit.faults import Fault, FaultKind
from vault.objects.anchors import AnchorName, AnchorPlace
from vault.objects.errors import ObjectsError

_READS_AT_ONCE: Final = 8


@dataclass(frozen=True, slots=True)
class Statement:
    """A checkpoint whose signature was verified, and where it stands."""

    checkpoint: Checkpoint
    where: str
    is_anchor: bool


@dataclass(slots=True)
class Testimony:
    """Statements and faults by writer; `unread` says which places could not be asked."""

    statements: dict[str, list[Statement]] = field(default_factory=dict)
    faults: dict[str, list[Fault]] = field(default_factory=dict)
    unread: list[str] = field(default_factory=list)

    def take(self, note: bytes, keys: Sequence[NoteKey], *, name: AnchorName | str, where: str) -> None:
        """Believe a note that one of `keys` signed for this name, and keep what is wrong with any other."""
        writer = name if isinstance(name, str) else name.writer
        try:
            checkpoint = open_checkpoint(note, keys)
        except KeysError as error:
            self.faults.setdefault(writer, []).append(_refused(error, where))
            return
        if checkpoint.writer != writer or (not isinstance(name, str) and checkpoint.size != name.size):
            what = f"{where} holds a checkpoint of another writer or size"
            self.faults.setdefault(writer, []).append(Fault(FaultKind.BAD_CHECKPOINT, what))
            return
        statement = Statement(checkpoint, where, is_anchor=not isinstance(name, str))
        self.statements.setdefault(writer, []).append(statement)

    @property
    def writers(self) -> set[str]:
        """Everyone of whom something is said."""
        return self.statements.keys() | self.faults.keys()


async def gather(
    folders: Iterable[Path], places: Mapping[str, AnchorPlace], keys: Sequence[NoteKey]
) -> Testimony:
    """Everything that stands beside the files and in `places`; a place that fails is named in `unread`."""
    testimony = Testimony()
    for folder in folders:
        for path, note in await asyncio.to_thread(_local, folder):
            testimony.take(note, keys, name=path.stem, where=path.name)
    for where, place in places.items():
        try:
            await _anchors(testimony, where, place, keys)
        except (ObjectsError, OSError) as error:
            testimony.unread.append(f"the anchors in {where} could not be read: {error}")
    return testimony


async def _anchors(testimony: Testimony, where: str, place: AnchorPlace, keys: Sequence[NoteKey]) -> None:
    names = [name async for name in place.list_anchors(AnchorName)]
    for some in _by(names, _READS_AT_ONCE):
        notes = await asyncio.gather(*(place.get_anchor(name) for name in some))
        for name, note in zip(some, notes, strict=True):
            testimony.take(note, keys, name=name, where=f"the anchor of {name.size} entries in {where}")


def _local(folder: Path) -> list[tuple[Path, bytes]]:
    return [(path, path.read_bytes()) for path in sorted(folder.glob(f"*{SUFFIX}"))]


def _by(names: list[AnchorName], count: int) -> Iterator[list[AnchorName]]:
    for start in range(0, len(names), count):
        yield names[start : start + count]


def _refused(error: KeysError, where: str) -> Fault:
    if isinstance(error, NoSuchKey):
        return Fault(FaultKind.UNKNOWN_KEY, f"{where} is signed by a key that is not among those given")
    what = "has a wrong signature" if isinstance(error, Damaged) else "is no signed checkpoint"
    return Fault(FaultKind.BAD_CHECKPOINT, f"{where} {what}")
