"""Published recordings with sealed objects in a real store, and rows that say so."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

from sqlalchemy import insert, update

from keys.database import Database
from keys.ids import FileId
from tests.catalog.rows import NOW, add_recording
from tests.objects.sealing import new_access, noise, seal
from vault.catalog.drafts import KEPT
from vault.catalog.states import RecordingState
from vault.catalog.tables import objects, recordings
from vault.objects.access import RecordingAccess
from vault.objects.container import HEADER_BYTES, Header
from vault.objects.store import ObjectName, ObjectStore

SIZE = 1000


@dataclass(frozen=True, slots=True)
class Shelf:
    """Puts recordings into a catalog and a store, and takes pieces out of them."""

    catalog: Database
    store: ObjectStore

    async def recording(self, **changed: Any) -> list[ObjectName]:
        """A published recording: its source, its manifest and one file more, in this order."""
        access = new_access()
        await add_recording(
            self.catalog,
            RecordingState.PUBLISHED,
            recording_id=access.recording_id,
            key_id=access.key_id,
            **changed,
        )
        names = [await self.file(access) for _ in range(3)]
        source, manifest, _ = names
        await self.change(
            names[0],
            recordings,
            source_file_id=source.file_id,
            source_size_bytes=SIZE,
            manifest_file_id=manifest.file_id,
            manifest_size_bytes=SIZE,
        )
        return names

    async def file(self, access: RecordingAccess) -> ObjectName:
        """One more object of a recording, and its row."""
        sealed = seal(noise(SIZE), access)
        name = ObjectName(access.recording_id, Header.parse(sealed[:HEADER_BYTES]).file_id)
        await self.put(name, sealed)
        await self.row(name)
        return name

    async def row(self, name: ObjectName, *, kept: int = KEPT) -> None:
        """A row of an object."""
        values = {"file_id": name.file_id, "recording_id": name.recording_id, "kept": kept}
        async with self.catalog.writing() as connection:
            await connection.execute(insert(objects).values(**values, run_id=uuid.uuid4(), touched_at=NOW))

    async def put(self, name: ObjectName, data: bytes) -> None:
        """An object, whatever is in it."""
        upload = await self.store.create(name)
        await upload.part(data)
        await upload.complete()

    async def replace(self, name: ObjectName, data: bytes) -> None:
        """Other bytes in the place of an object."""
        await self.store.delete([name])
        await self.put(name, data)

    async def read(self, name: ObjectName) -> bytes:
        """An object's bytes."""
        head = await self.store.read(name, first_byte=0, last_byte=0)
        last = head.object_size_bytes - 1
        return bytes((await self.store.read(name, first_byte=0, last_byte=last)).data)

    async def change(self, name: ObjectName, table: Any, **values: Any) -> None:
        """Change a recording's row, or an object's."""
        which = table.c.id == name.recording_id if table is recordings else table.c.file_id == name.file_id
        async with self.catalog.writing() as connection:
            await connection.execute(update(table).where(which).values(**values))


def stranger(name: ObjectName) -> ObjectName:
    """Another file of the same recording."""
    return ObjectName(name.recording_id, FileId(uuid.uuid4()))
