"""A reader of one file that outlives the object: where the recording was encrypted anew, it reads on in the new object.

Invariant: the new object holds the same bytes under the same name, which the manifest of the recording as it stands now
says; an object that is missing for another reason stays missing.
"""

from __future__ import annotations

import asyncio

from vault.objects.errors import ObjectMissing
from vault.objects.manifest import FileEntry
from vault.objects.sealed import SealedReader
from vault.objects.store import ObjectStore
from vault.playback.opening import OpenRecording


class LastingReader:
    """Reads ranges of one file of an open recording."""

    def __init__(self, store: ObjectStore, recording: OpenRecording, entry: FileEntry) -> None:
        """Raises `KeyMismatch` where the file is not this recording's."""
        self._store = store
        self._recording = recording
        self._entry = entry
        self._reader = SealedReader(store, entry.facts, access=recording.access)
        self._turn = asyncio.Lock()

    async def read(self, *, first_byte: int, last_byte: int) -> bytes:
        """As `SealedReader.read`, and as opening a recording raises."""
        while True:
            reader = self._reader
            try:
                return await reader.read(first_byte=first_byte, last_byte=last_byte)
            except ObjectMissing:
                # Two windows are read at a time: whoever comes second finds the new reader.
                async with self._turn:
                    if reader is self._reader and not await self._renewed():
                        raise

    async def _renewed(self) -> bool:
        """Go over to the recording as it stands now; False where it has no other object with these bytes."""
        now = await self._recording.again()
        entry = now.manifest.file(self._entry.role)
        if entry is None or now.access.key_id == self._recording.access.key_id:
            return False
        if entry.plain_size_bytes != self._entry.plain_size_bytes:
            return False
        self._reader = SealedReader(self._store, entry.facts, access=now.access)
        self._recording, self._entry = now, entry
        return True
