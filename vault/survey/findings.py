"""What a census finds wrong: named, with a stable code, and only as many names as anybody reads."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Any, Final

from vault.objects.store import ObjectName

NAMED: Final = 1000


class Fault(enum.Enum):
    """What is wrong with an object."""

    MISSING = "MISSING"  # the catalog keeps it, and the store has no such object
    NO_ROW = "NO_ROW"  # the store has it, and the catalog knows nothing of it
    NOT_KEPT = "NOT_KEPT"  # a published recording points at it, and it is not among what is kept
    NO_HEADER = "NO_HEADER"  # does not begin as a sealed object does
    OTHER_RECORDING = "OTHER_RECORDING"  # its header names another recording than its place
    OTHER_FILE = "OTHER_FILE"  # its header names another file than its place
    OTHER_KEY = "OTHER_KEY"  # its header names another recording key than the catalog
    OTHER_SIZE = "OTHER_SIZE"  # it is longer or shorter than the catalog says


@dataclass(slots=True)
class Findings:
    """How many objects were looked at, and which of them are wrong; names up to `NAMED`."""

    looked_at: int = 0
    wrong: int = 0
    names: list[tuple[ObjectName, Fault]] = field(default_factory=list)

    def add(self, name: ObjectName, fault: Fault) -> None:
        """One more that is wrong."""
        self.wrong += 1
        if len(self.names) < NAMED:
            self.names.append((name, fault))

    def document(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "looked_at": self.looked_at,
            "wrong": self.wrong,
            "objects": [{"object": str(name), "fault": fault.value} for name, fault in self.names],
        }
