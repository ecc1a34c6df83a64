"""Manifests in the store: written like any file, read as a whole in one request, opened apart from that.

Invariants: the catalog pins a manifest's file id and size, so that an older manifest of the same recording, however
valid, is refused; a fetched manifest is ciphertext, fit for a cache; only `open_manifest` needs a key.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from keys.errors import KeyMismatch
from vault.objects.access import RecordingAccess
from vault.objects.cipher import FileCipher
from vault.objects.container import HEADER_BYTES, FileFacts, Header, cipher_size_bytes, plain_size_bytes
from vault.objects.errors import DamagedObject, MalformedObject
from vault.objects.manifest import Manifest
from vault.objects.manifest_json import MAX_MANIFEST_BYTES, pack_manifest, parse_manifest
from vault.objects.sealed import SealedWriter
from vault.objects.store import ObjectName, ObjectStore

ROLE: Final = "manifest"


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedManifest:
    """A whole manifest object, still sealed. Holds no plaintext and no key."""

    name: ObjectName
    sealed: bytes = field(repr=False)


async def write_manifest(store: ObjectStore, manifest: Manifest, *, access: RecordingAccess) -> FileFacts:
    """Seal `manifest` as a new file; its id and plaintext size are what the catalog pins.

    Raises `MalformedObject` where the manifest is of another recording, or `StoreUnavailable`.
    """
    if manifest.recording_id != access.recording_id:
        raise MalformedObject("the manifest is of another recording")
    async with SealedWriter(store, access=access, role=ROLE, limit_bytes=MAX_MANIFEST_BYTES) as writer:
        await writer.write(pack_manifest(manifest))
        return await writer.finish()


async def fetch_manifest(store: ObjectStore, name: ObjectName, *, plain_size_bytes: int) -> SealedManifest:
    """The manifest object that the catalog pins by `name` and `plain_size_bytes`, unopened.

    Raises `DamagedObject` (another size), `ObjectMissing` or `StoreUnavailable`.
    """
    if plain_size_bytes > MAX_MANIFEST_BYTES:
        raise MalformedObject("not a manifest: too large")
    size_bytes = cipher_size_bytes(plain_size_bytes)
    fetched = await store.read(name, first_byte=0, last_byte=size_bytes - 1)
    if fetched.object_size_bytes != size_bytes:
        raise DamagedObject("the object's size is not the one that was sealed")
    return SealedManifest(name=name, sealed=bytes(fetched.data))


def open_manifest(fetched: SealedManifest, *, access: RecordingAccess) -> Manifest:
    """Open and check a fetched manifest.

    Raises `KeyMismatch` (another key, patient, recording, or another object under this name), `DamagedObject` or
    `MalformedObject`.
    """
    header = Header.parse(fetched.sealed[:HEADER_BYTES])
    if ObjectName(header.recording_id, header.file_id) != fetched.name:
        raise KeyMismatch("another object stands under this name")
    cipher = FileCipher.open(header, access=access, role=ROLE)
    plain_size_bytes(len(fetched.sealed))  # raises for a truncation, chunk boundaries included
    manifest = parse_manifest(
        bytes(cipher.open_chunks(memoryview(fetched.sealed)[HEADER_BYTES:], first_index=0))
    )
    if manifest.recording_id != access.recording_id:
        raise MalformedObject("the manifest is of another recording")
    return manifest


async def read_manifest(
    store: ObjectStore, name: ObjectName, *, plain_size_bytes: int, access: RecordingAccess
) -> Manifest:
    """`fetch_manifest` and `open_manifest` in one."""
    return open_manifest(await fetch_manifest(store, name, plain_size_bytes=plain_size_bytes), access=access)
