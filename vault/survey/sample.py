"""Whether objects are what the catalog says: a random sample of them, by their headers, without any key.

Invariants: of an object only its header is read; what changed while it was looked at is no finding; memory holds a page
of recordings, however large the sample.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from keys.database import Database
from keys.ids import FileId, KeyId, RecordingId, TenantId
from vault.catalog import census
from vault.catalog.rows import RecordingRow
from vault.objects.container import HEADER_BYTES, Header, cipher_size_bytes
from vault.objects.errors import DamagedObject, MalformedObject, ObjectMissing
from vault.objects.store import ObjectName, ObjectStore
from vault.survey.findings import Fault, Findings

_PAGE: Final = 50
_AT_ONCE: Final = 8

Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Expected:
    """What the catalog says of an object; no size where it does not know it."""

    name: ObjectName
    key_id: KeyId
    size_bytes: int | None


@dataclass(slots=True)
class Sampler:
    """Looks at the objects of random published recordings, of one tenant or of all."""

    catalog: Database
    store: ObjectStore
    tenant: TenantId | None = None
    progress: Progress = lambda _: None
    _seats: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_AT_ONCE))

    async def look(self, recordings: int) -> Findings:
        """Look at so many recordings, or at all there are.

        Raises `StoreUnavailable` or `DatabaseUnavailable`.
        """
        findings, seen = Findings(), 0
        pivot = uuid.uuid4()
        first: RecordingId | None = None
        while seen < recordings:
            wanted = min(_PAGE, recordings - seen)
            async with self.catalog.reading() as connection:
                rows = await census.published(connection, pivot=pivot, limit=wanted, tenant=self.tenant)
                kept = await census.kept_of(connection, [row.recording_id for row in rows])
            # Behind the last id comes the first one again: a small house is looked at once, and not in circles.
            ids = [row.recording_id for row in rows]
            if first in ids:
                rows = rows[: ids.index(first)]
            if not rows:
                return findings
            first = first or rows[0].recording_id
            await self._look_at(rows, {each: kept[each] for each in ids}, findings)
            seen += len(rows)
            self.progress(seen)
            if len(rows) < wanted:
                return findings
            pivot = uuid.UUID(int=(rows[-1].recording_id.int + 1) % (1 << 128))
        return findings

    async def _look_at(
        self, rows: tuple[RecordingRow, ...], kept: dict[RecordingId, frozenset[FileId]], findings: Findings
    ) -> None:
        expected = [each for row in rows for each in _expected(row, kept[row.recording_id])]
        faults = await asyncio.gather(*(self._fault(each) for each in expected))
        findings.looked_at += len(expected)
        suspects = [(each, fault) for each, fault in zip(expected, faults, strict=True) if fault is not None]
        suspects += [
            (each, Fault.NOT_KEPT)
            for row in rows
            for each in _pointed_at(row)
            if each.name.file_id not in kept[row.recording_id]
        ]
        for each, fault in await self._still(suspects):
            findings.add(each.name, fault)

    async def _fault(self, expected: Expected) -> Fault | None:
        async with self._seats:
            try:
                fetched = await self.store.read(expected.name, first_byte=0, last_byte=HEADER_BYTES - 1)
                header = Header.parse(bytes(fetched.data))
            except ObjectMissing:
                return Fault.MISSING
            except (DamagedObject, MalformedObject):
                return Fault.NO_HEADER
        if header.recording_id != expected.name.recording_id:
            return Fault.OTHER_RECORDING
        if header.file_id != expected.name.file_id:
            return Fault.OTHER_FILE
        if header.key_id != expected.key_id:
            return Fault.OTHER_KEY
        return None if expected.size_bytes in {None, fetched.object_size_bytes} else Fault.OTHER_SIZE

    async def _still(self, suspects: list[tuple[Expected, Fault]]) -> list[tuple[Expected, Fault]]:
        """Those of which the catalog still says what it said: others were deleted or written anew meanwhile."""
        if not suspects:
            return []
        recordings = {each.name.recording_id for each, _ in suspects}
        async with self.catalog.reading() as connection:
            keys = await census.keys_of(connection, recordings)
            kept = await census.kept_of(connection, recordings)
        return [
            (each, fault)
            for each, fault in suspects
            if keys.get(each.name.recording_id) == each.key_id
            and (each.name.file_id in kept[each.name.recording_id]) is (fault is not Fault.NOT_KEPT)
        ]


def _pointed_at(row: RecordingRow) -> list[Expected]:
    return [
        Expected(ObjectName(row.recording_id, file.file_id), row.key_id, cipher_size_bytes(file.size_bytes))
        for file in (row.source, row.manifest)
        if file is not None
    ]


def _expected(row: RecordingRow, kept: frozenset[FileId]) -> list[Expected]:
    pointed_at = {each.name.file_id: each for each in _pointed_at(row)}
    return [
        pointed_at.get(file_id, Expected(ObjectName(row.recording_id, file_id), row.key_id, None))
        for file_id in sorted(kept)
    ]
