"""The audit folder as it grows: new entries of every writer, each chain checked on the way.

Invariants: a line that is still being written is left for the next look; a chain that broke gives nothing more, and
the others go on; a file that was there and is gone, or became shorter, is a broken chain too.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from vault.audit.errors import ChainBroken
from vault.audit.reading import Chain


@dataclass(slots=True)
class _Writer:
    """How far one writer's file was read."""

    path: Path
    chain: Chain
    offset_bytes: int = 0

    def fresh(self) -> list[dict[str, Any]]:
        """Entries since the last call; raises `ChainBroken`, with the good ones before it as its `args[1]`."""
        entries: list[dict[str, Any]] = []
        try:
            with self.path.open("rb") as file:
                self._go_on(file)
                for line in file:
                    if not line.endswith(b"\n"):
                        break
                    entries.append(self.chain.accept(line))
                    self.offset_bytes += len(line)
        except FileNotFoundError:
            raise ChainBroken(f"{self.path.name}: the file is gone", entries) from None
        except ChainBroken as broken:
            raise ChainBroken(str(broken), entries) from None
        return entries

    def _go_on(self, file: BinaryIO) -> None:
        if file.seek(0, os.SEEK_END) < self.offset_bytes:
            raise ChainBroken(f"{self.path.name}: the file is shorter than it was")
        file.seek(self.offset_bytes)


@dataclass(slots=True)
class AuditFolder:
    """Every writer of a folder."""

    folder: Path
    broken: list[str] = field(default_factory=list)
    _writers: dict[Path, _Writer] = field(default_factory=dict)
    _given_up: set[Path] = field(default_factory=set)

    def fresh(self) -> list[dict[str, Any]]:
        """Entries since the last call in the order of time; what broke is added to `broken`. Raises OSError."""
        for path in self.folder.glob("*.jsonl"):
            self._writers.setdefault(path, _Writer(path, Chain(path.name)))
        entries: list[dict[str, Any]] = []
        for path, writer in sorted(self._writers.items()):
            if path not in self._given_up:
                entries += self._of(writer)
        entries.sort(key=lambda entry: str(entry["at"]))
        return entries

    def _of(self, writer: _Writer) -> list[dict[str, Any]]:
        try:
            return writer.fresh()
        except ChainBroken as broken:
            sentence, entries = broken.args
            self.broken.append(sentence)
            self._given_up.add(writer.path)
            return list(entries)
