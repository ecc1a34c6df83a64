"""Objects without a row and rows without an object: the whole store against the whole catalog.

Invariants: both come in the order of their names, so that one walk compares them, and memory holds a page; whatever is
found is asked for once more, since objects are written and deleted meanwhile; nothing is deleted.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Final

from keys.database import Database
from vault.catalog import census
from vault.catalog.census import KnownObject
from vault.objects.container import HEADER_BYTES
from vault.objects.errors import DamagedObject, ObjectMissing
from vault.objects.store import ObjectName, ObjectStore
from vault.survey.findings import Fault, Findings

_PAGE: Final = 1000
_ASKED_AT_ONCE: Final = 200

Progress = Callable[[int], None]


@dataclass(slots=True)
class Walk:
    """One walk through store and catalog."""

    catalog: Database
    store: ObjectStore
    progress: Progress = lambda _: None
    _suspects: list[tuple[ObjectName, Fault]] = field(default_factory=list)
    _findings: Findings = field(default_factory=Findings)

    async def walk(self) -> Findings:
        """Compare everything; raises `StoreUnavailable` or `DatabaseUnavailable`."""
        stored, known = self._stored(), self._known()
        name, row = await anext(stored, None), await anext(known, None)
        while name is not None or row is not None:
            if name is not None and (row is None or name < _name(row)):
                await self._suspect(name, Fault.NO_ROW)
                name = await anext(stored, None)
            elif row is not None and (name is None or _name(row) < name):
                if row.is_kept:
                    await self._suspect(_name(row), Fault.MISSING)
                row = await anext(known, None)
            else:
                name, row = await anext(stored, None), await anext(known, None)
        await self._settle()
        return self._findings

    async def _stored(self) -> AsyncIterator[ObjectName]:
        async for info in self.store.list():
            self._findings.looked_at += 1
            if self._findings.looked_at % _PAGE == 0:
                self.progress(self._findings.looked_at)
            yield info.name

    async def _known(self) -> AsyncIterator[KnownObject]:
        after = None
        while True:
            async with self.catalog.reading() as connection:
                page = await census.known(connection, after=after, limit=_PAGE)
            for row in page:
                yield row
            if len(page) < _PAGE:
                return
            after = page[-1].place

    async def _suspect(self, name: ObjectName, fault: Fault) -> None:
        self._suspects.append((name, fault))
        if len(self._suspects) == _ASKED_AT_ONCE:
            await self._settle()

    async def _settle(self) -> None:
        """Ask once more for what looked wrong, the store first: it is the catalog that says what had to be there."""
        suspects, self._suspects = self._suspects, []
        if not suspects:
            return
        is_there = await asyncio.gather(*(self._is_there(name) for name, _ in suspects))
        async with self.catalog.reading() as connection:
            rows = await census.among(connection, [name.file_id for name, _ in suspects])
        for (name, fault), there in zip(suspects, is_there, strict=True):
            row = rows.get(name.file_id)
            if fault is Fault.NO_ROW and there and (row is None or row.recording_id != name.recording_id):
                self._findings.add(name, fault)
            if fault is Fault.MISSING and not there and row is not None and row.is_kept:
                self._findings.add(name, fault)

    async def _is_there(self, name: ObjectName) -> bool:
        try:
            await self.store.read(name, first_byte=0, last_byte=HEADER_BYTES - 1)
        except ObjectMissing:
            return False
        except DamagedObject:  # too short to hold a header, and there
            return True
        return True


def _name(row: KnownObject) -> ObjectName:
    return ObjectName(row.recording_id, row.file_id)
