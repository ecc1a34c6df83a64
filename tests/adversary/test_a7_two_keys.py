"""A7: one ciphertext that opens under two keys, offered to the second patient. The commitment refuses it.

The insider here has everything but the algorithm: valid wraps for both patients, a manifest sealed for the second.
"""

from __future__ import annotations

import dataclasses
import os

import pytest
from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from keys.contexts import file_context
from keys.ids import PatientRef, new_file_id
from keys.opening import wrap_recording_key
from keys.secret import RecordingKey
from tests.adversary.conftest import Scene
from tests.adversary.evidence import assert_constant
from tests.adversary.press import PICTURE, Pressed
from tests.objects.two_keys import two_key_ciphertext
from vault.objects.access import RecordingAccess
from vault.objects.container import Header, header_prefix
from vault.objects.manifest import FileEntry, Manifest
from vault.objects.store import ObjectName

ROLE = "poster.jpg"
BLOCKS = 3


def derived(access: RecordingAccess, header: Header) -> tuple[bytes, bytes, bytes]:
    """Key, nonce and commitment of a file (C2SP chunked-encryption), written out a second time."""
    prefix = header_prefix(recording_id=header.recording_id, file_id=header.file_id, key_id=header.key_id)
    context = file_context(header_prefix=prefix, tenant=access.tenant, patient=access.patient, role=ROLE)
    info = b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\0" + header.salt + context
    out = HKDFExpand(algorithm=SHA512(), length=76, info=info).derive(access.key.reveal(to="reference"))
    return out[:32], out[32:44], out[44:]


@dataclasses.dataclass(frozen=True, slots=True)
class TwoFaced:
    """A recording of A with a picture that opens under B's key as well."""

    recording: Pressed
    for_b: RecordingAccess
    picture: FileEntry


@pytest.fixture
async def two_faced(scene: Scene) -> TwoFaced:
    recording = await scene.press.publish(scene.clinic, "patient-a", sizes=PICTURE, title="Two faces")
    ours = recording.access
    theirs = dataclasses.replace(ours, patient=PatientRef("patient-b"), key=RecordingKey.generate())
    blank = Header(
        recording_id=ours.recording_id,
        file_id=new_file_id(),
        key_id=ours.key_id,
        salt=os.urandom(24),
        commitment=bytes(32),
    )
    first, second = derived(ours, blank), derived(theirs, blank)
    header = dataclasses.replace(blank, commitment=first[2])
    chosen = [int.from_bytes(os.urandom(16), "big") for _ in range(BLOCKS)]
    chunk = two_key_ciphertext(first[:2], second[:2], blocks=chosen)
    await scene.objects.write(ObjectName(ours.recording_id, header.file_id), header.pack() + chunk)
    size_bytes = 16 * (BLOCKS + 1)
    picture = FileEntry(role=ROLE, header=header, plain_size_bytes=size_bytes, content_type="image/jpeg")
    return TwoFaced(recording, theirs, picture)


async def pin(scene: Scene, access: RecordingAccess, picture: FileEntry) -> None:
    """Publish the picture for whoever `access` is of: the row, the wrap and the manifest are valid ones."""
    opened = await scene.press.strongroom.open(access.tenant, access.patient)
    wrap = wrap_recording_key(
        access.key,
        opened.active,
        tenant=access.tenant,
        patient=access.patient,
        recording_id=access.recording_id,
        recording_key_id=access.key_id,
    )
    pinned = await scene.press.manifest(access, Manifest(recording_id=access.recording_id, files=(picture,)))
    await scene.rows.put_wraps(access.recording_id, wrap)
    await scene.rows.change(
        access.recording_id,
        patient=access.patient,
        manifest_file_id=pinned.file_id,
        manifest_size_bytes=pinned.size_bytes,
    )


async def test_a7_opens_for_the_patient_it_was_sealed_for(scene: Scene, two_faced: TwoFaced) -> None:
    await pin(scene, two_faced.recording.access, two_faced.picture)
    answer = await scene.a.get(f"{two_faced.recording.url}/{ROLE}")
    assert answer.status == 200
    assert len(answer.body) == 16 * (BLOCKS + 1)


async def test_a7_is_refused_to_the_other_whose_key_opens_it_too(scene: Scene, two_faced: TwoFaced) -> None:
    await pin(scene, two_faced.for_b, two_faced.picture)
    assert_constant(await scene.b.get(f"{two_faced.recording.url}/{ROLE}"), status=404)
    assert len(await scene.evidence.mismatches(recording=str(two_faced.recording.recording_id))) == 1
    assert scene.world.metric("replayvault_key_mismatch_total") == 1
