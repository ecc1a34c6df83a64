"""Manifests of recordings: fetched once, kept sealed, opened for each request.

Invariant: what is kept between requests is ciphertext, by the file id that the catalog pins; it opens only with the
recording's key, which each request brings anew. An older valid manifest never answers for a newer pin.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from keys.ids import FileId
from vault.catalog.rows import StoredFile
from vault.objects.access import RecordingAccess
from vault.objects.manifest import Manifest
from vault.objects.manifests import SealedManifest, fetch_manifest, open_manifest
from vault.objects.store import ObjectName, ObjectStore

# Enough for a few hundred recordings; a manifest has some ten KiB for each hour.
KEPT_BYTES: Final = 32 * 1024 * 1024


class Manifests:
    """A bounded shelf of sealed manifests, the least recently used going first."""

    def __init__(self, store: ObjectStore, *, kept_bytes: int = KEPT_BYTES) -> None:
        self._store = store
        self._kept_bytes = kept_bytes
        self._size_bytes = 0
        self._sealed: OrderedDict[FileId, SealedManifest] = OrderedDict()

    async def open(self, access: RecordingAccess, pinned: StoredFile) -> Manifest:
        """The manifest that the catalog pins.

        Raises `KeyMismatch`, `DamagedObject`, `MalformedObject`, `ObjectMissing` or `StoreUnavailable`.
        """
        sealed = self._sealed.get(pinned.file_id)
        if sealed is not None and sealed.name.recording_id == access.recording_id:
            self._sealed.move_to_end(pinned.file_id)
            return open_manifest(sealed, access=access)
        name = ObjectName(access.recording_id, pinned.file_id)
        sealed = await fetch_manifest(self._store, name, plain_size_bytes=pinned.size_bytes)
        manifest = open_manifest(sealed, access=access)
        self._keep(pinned.file_id, sealed)  # only once it has opened: damage is not remembered
        return manifest

    def _keep(self, file_id: FileId, sealed: SealedManifest) -> None:
        if file_id in self._sealed:
            return
        self._sealed[file_id] = sealed
        self._size_bytes += len(sealed.sealed)
        while self._size_bytes > self._kept_bytes:
            _, oldest = self._sealed.popitem(last=False)
            self._size_bytes -= len(oldest.sealed)
