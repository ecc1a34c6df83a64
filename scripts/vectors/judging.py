"""A page of test vectors, and the fixed values that they are made from.

Invariants:
- no vector is written that the product does not judge as the vector says: each is opened by it first;
- every key, nonce, salt and time is given here or on the page itself.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from keys.errors import KeysError
from keys.ids import Generation, KeyId, RecordingId, parse_patient, parse_tenant
from vault.audit.errors import AuditError
from vault.objects.errors import ObjectsError

Inputs = Mapping[str, Any]
# For each name of a vector, what its inputs have instead.
Changes = dict[str, dict[str, Any]]

TENANT: Final = parse_tenant("clinic")
PATIENT: Final = parse_patient("patient-1")
OTHER_PATIENT: Final = parse_patient("patient-2")
RECORDING: Final = RecordingId(uuid.UUID("6f9619ff-8b86-4d01-b42d-00cf4fc964ff"))
OTHER_RECORDING: Final = RecordingId(uuid.UUID("0e37df36-f698-41e6-8b5f-f0f1a3f1d1c9"))
PATIENT_KEY_ID: Final = KeyId(uuid.UUID("11111111-2222-4333-8444-555555555555"))
RECORDING_KEY_ID: Final = KeyId(uuid.UUID("aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee"))
GENERATION: Final = Generation(1)

# What the product's errors are called in docs/format.md, section 1.3, where the names differ.
_NAMES: Final = {
    "MalformedObject": "Malformed",
    "DamagedObject": "Damaged",
    "MasterUnusable": "Unusable",
}


def fixed(label: str, *, size_bytes: int = 32) -> bytes:
    """Bytes that look like a key and can be told apart: the label, repeated."""
    return (label.encode() * size_bytes)[:size_bytes]


def flip(data: bytes, *, byte: int, mask: int = 1) -> bytes:
    """`data` with bits of one byte turned over; `byte` counts from the end where it is negative."""
    turned = bytearray(data)
    turned[byte] ^= mask
    return bytes(turned)


@dataclass(frozen=True, slots=True)
class Page:
    """The vectors of one structure. `judge` opens what a vector's inputs hold, by the product."""

    structure: str
    section: str
    judge: Callable[[Inputs], dict[str, Any]]
    vectors: list[dict[str, Any]] = field(default_factory=list)

    def opens(self, name: str, inputs: Inputs, *, also: Inputs | None = None) -> None:
        """A vector that opens. `also` names what a writer is given, and a reader does not need."""
        given = {} if also is None else {"writing": dict(also)}
        vector = {"name": name, "inputs": dict(inputs), **given, "expect": self.judge(inputs)}
        self.vectors.append(vector)

    def refuses(self, name: str, error: str, inputs: Inputs, **changed: Any) -> None:
        """A vector that must be refused by that name; `changed` replaces some of the inputs."""
        given = {**inputs, **changed}
        try:
            self.judge(given)
        except (KeysError, ObjectsError, AuditError) as refusal:
            found = _NAMES.get(type(refusal).__name__, type(refusal).__name__)
        else:
            found = "nothing"
        if found != error:
            raise AssertionError(f"{self.structure}, {name}: the product says {found}, not {error}")
        self.vectors.append({"name": name, "inputs": given, "error": error})

    def text(self) -> str:
        """The file."""
        document = {
            "specification": "docs/format.md",
            "structure": self.structure,
            "section": self.section,
            "vectors": self.vectors,
        }
        return json.dumps(document, indent=1, ensure_ascii=True) + "\n"
