"""What an object store is to us: names made of ids, whole objects that appear at once, and ranges.

Invariants that every store keeps, and that sealing relies on:
- an object is visible only when it is complete, and is never overwritten or changed afterwards;
- a name is two random ids and carries nothing about the patient, the tenant or the contents;
- a retried request sends the same ciphertext; a store never asks for bytes a second time;
- a read gives exactly the bytes asked for or raises: short, oversized and replaced objects are errors;
- nothing blocks the event loop.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from typing import Protocol, Self

from keys.errors import MalformedId
from keys.ids import FileId, RecordingId, parse_uuid
from vault.objects.anchors import N, SmallName
from vault.objects.errors import MalformedObject


@dataclass(frozen=True, slots=True, order=True)
class ObjectName:
    """`<recording id>/<file id>`."""

    recording_id: RecordingId
    file_id: FileId

    def __str__(self) -> str:
        return f"{self.recording_id}/{self.file_id}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """The name in its canonical text form only; raises `MalformedObject`."""
        try:
            recording, file = text.split("/")
            return cls(RecordingId(parse_uuid(recording)), FileId(parse_uuid(file)))
        except (ValueError, MalformedId):
            raise MalformedObject("an object's name is a recording id, a slash and a file id") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """Exactly the bytes asked for. `pin` names the object's version: read on with it, and a swap is noticed."""

    data: bytes | bytearray = field(repr=False)
    pin: str
    object_size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectInfo:
    """A complete object in the store."""

    name: ObjectName
    size_bytes: int
    modified_at: dt.datetime


class Upload(Protocol):
    """One object on its way in. Not shared between tasks."""

    async def part(self, body: bytes | bytearray | memoryview, /) -> None:
        """Append `body`: all parts but the last are whole upload parts (`container.PART_CHUNKS`).

        `body` is handed over and must not change afterwards. Returns when the store can take another part, which
        may be before this one is stored: an error of an earlier part is raised by a later call.
        Raises `StoreUnavailable`.
        """

    async def complete(self) -> None:
        """Make the object durable and visible; raises `ObjectExists` or `StoreUnavailable`."""

    async def abort(self) -> None:
        """Leave nothing behind. Harmless after `complete` has returned, and when called again."""


class ObjectStore(Protocol):
    """Where sealed objects stand. One instance per process and event loop."""

    async def create(self, name: ObjectName) -> Upload:
        """Begin an object; raises `ObjectExists` or `StoreUnavailable`."""

    async def read(
        self, name: ObjectName, *, first_byte: int, last_byte: int, pin: str | None = None
    ) -> Fetched:
        """Bytes `first_byte` to `last_byte`, both included.

        Raises `ObjectMissing`, `DamagedObject` (the object ends before `last_byte`), `ObjectChanged` (it is not
        the one that `pin` names) or `StoreUnavailable`.
        """

    async def delete(self, names: Iterable[ObjectName]) -> None:
        """Remove objects with all their versions; missing ones are no error. Raises `StoreUnavailable`."""

    async def purge(self, recording_id: RecordingId) -> None:
        """Remove whatever stands under a recording, known or not, with all versions. Raises `StoreUnavailable`.

        In a bucket also unfinished uploads; in a folder those are swept a day later.
        """

    def list(self, recording_id: RecordingId | None = None) -> AsyncIterator[ObjectInfo]:
        """Every complete object, or those of one recording; foreign names are passed over."""

    async def sweep(self, *, before: dt.datetime) -> int:
        """Discard uploads begun before `before` that were never completed; returns how many."""

    async def put_anchor(self, name: SmallName, data: bytes) -> None:
        """Store a small text where nothing stands; raises `ObjectExists` or `StoreUnavailable`."""

    async def get_anchor(self, name: SmallName) -> bytes:
        """Such a text; raises `ObjectMissing` or `StoreUnavailable`."""

    def list_anchors(self, kind: type[N]) -> AsyncIterator[N]:
        """Every anchor of a kind, in the order of names; foreign names are passed over."""

    async def probe(self) -> None:
        """Return if the store can be used now; raises `StoreUnavailable` with the reason otherwise."""

    async def aclose(self) -> None:
        """Give connections and threads back."""
