"""Vectors of sealed objects, of the arithmetic of ranges, and of manifests."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import uuid
from collections.abc import Iterator
from typing import Any, Final

from keys.ids import FileId, KeyId, PatientRef, RecordingId, TenantId
from keys.secret import RecordingKey
from vault.objects.access import RecordingAccess
from vault.objects.cipher import FileCipher
from vault.objects.container import (
    CHUNK_BYTES,
    HEADER_BYTES,
    SEALED_CHUNK_BYTES,
    Header,
    chunk_range,
    cipher_size_bytes,
    plain_size_bytes,
)
from vault.objects.manifest import Extent, FileEntry, Manifest, Replay, Thumbs, Track, TrackKind
from vault.objects.manifest_json import pack_manifest, parse_manifest
from vectors.judging import (
    OTHER_PATIENT,
    OTHER_RECORDING,
    PATIENT,
    PATIENT_KEY_ID,
    RECORDING,
    RECORDING_KEY_ID,
    TENANT,
    Changes,
    Inputs,
    Page,
    fixed,
    flip,
)

ACCESS: Final = RecordingAccess(
    tenant=TENANT,
    patient=PATIENT,
    recording_id=RECORDING,
    key_id=RECORDING_KEY_ID,
    key=RecordingKey(fixed("recording key ")),
)
SALT: Final = fixed("salt ", size_bytes=24)


def pages() -> Iterator[Page]:
    """The pages of this module."""
    yield _object_page()
    yield _sizes_page()
    yield _manifest_page()


def pattern(size_bytes: int) -> bytes:
    """The plaintext of a vector: byte i is i mod 251."""
    return bytes(at % 251 for at in range(size_bytes))


def _file_id(number: int) -> FileId:
    return FileId(uuid.UUID(int=number, version=4))


def _sealed(plain: bytes, *, role: str, file_id: FileId) -> bytes:
    sealer = FileCipher.with_salt(SALT, access=ACCESS, role=role, file_id=file_id)
    out = bytearray(sealer.header.pack())
    for index in range(len(plain) // CHUNK_BYTES + 1):
        chunk = plain[index * CHUNK_BYTES : (index + 1) * CHUNK_BYTES]
        out += sealer.seal_chunk(chunk, index=index, final=len(chunk) < CHUNK_BYTES)
    return bytes(out)


def _inputs(role: str, data: bytes) -> dict[str, Any]:
    return {
        "recording_key": ACCESS.key.reveal(to="vector").hex(),
        "tenant": TENANT,
        "patient": PATIENT,
        "recording_id": str(RECORDING),
        "recording_key_id": str(RECORDING_KEY_ID),
        "role": role,
        "object": data.hex(),
    }


def _open_object(inputs: Inputs) -> dict[str, Any]:
    data = bytes.fromhex(inputs["object"])
    access = RecordingAccess(
        tenant=TenantId(inputs["tenant"]),
        patient=PatientRef(inputs["patient"]),
        recording_id=RecordingId(uuid.UUID(inputs["recording_id"])),
        key_id=KeyId(uuid.UUID(inputs["recording_key_id"])),
        key=RecordingKey(bytes.fromhex(inputs["recording_key"])),
    )
    cipher = FileCipher.open(Header.parse(data[:HEADER_BYTES]), access=access, role=inputs["role"])
    size = plain_size_bytes(len(data))
    plain = bytes(cipher.open_chunks(memoryview(data)[HEADER_BYTES:], first_index=0))
    return {
        "file_id": str(cipher.header.file_id),
        "plaintext_bytes": size,
        "plaintext_sha256": hashlib.sha256(plain).hexdigest(),
    }


def _object_page() -> Page:
    page = Page("sealed-object", "3", _open_object)
    sizes = {"empty": 0, "five bytes": 5, "one full chunk and an empty one": CHUNK_BYTES}
    for number, (name, size) in enumerate({**sizes, "two chunks": CHUNK_BYTES + 1}.items()):
        role, file_id = ("720p.mp4", "original", "audio.mp4")[number % 3], _file_id(number + 1)
        also = {"salt": SALT.hex(), "file_id": str(file_id), "plaintext_pattern_bytes": size}
        page.opens(name, _inputs(role, _sealed(pattern(size), role=role, file_id=file_id)), also=also)
    data = _sealed(pattern(5), role="original", file_id=_file_id(9))
    inputs = _inputs("original", data)
    _refuse_other_places(page, inputs)
    for name, byte in (("magic", 0), ("version", 8), ("suite", 9), ("chunk size", 10), ("flags", 11)):
        page.refuses(f"another {name}", "Malformed", inputs, object=flip(data, byte=byte).hex())
    page.refuses("another header length", "Malformed", inputs, object=flip(data, byte=15).hex())
    page.refuses("a reserved bit", "Malformed", inputs, object=flip(data, byte=71, mask=0x80).hex())
    page.refuses("shorter than a header", "Malformed", inputs, object=data[:127].hex())
    for name, byte in (
        ("recording id", 16),
        ("file id", 32),
        ("key id", 48),
        ("salt", 72),
        ("commitment", 96),
    ):
        page.refuses(
            f"a flipped bit of the {name}", "KeyMismatch", inputs, object=flip(data, byte=byte).hex()
        )
    page.refuses("a flipped bit of a chunk", "Damaged", inputs, object=flip(data, byte=128).hex())
    page.refuses("a flipped bit of a tag", "Damaged", inputs, object=flip(data, byte=-1).hex())
    page.refuses("one byte short", "Damaged", inputs, object=data[:-1].hex())
    page.refuses("no chunk at all", "Damaged", inputs, object=data[:HEADER_BYTES].hex())
    full = _sealed(pattern(CHUNK_BYTES), role="original", file_id=_file_id(9))
    cut = full[: HEADER_BYTES + SEALED_CHUNK_BYTES]
    page.refuses("cut at a chunk boundary", "Damaged", inputs, object=cut.hex())
    moved = full[:HEADER_BYTES] + full[-16:]
    page.refuses("a chunk in another's place", "Damaged", inputs, object=moved.hex())
    return page


def _refuse_other_places(page: Page, inputs: Inputs) -> None:
    changes: Changes = {
        "another key": {"recording_key": fixed("another key ").hex()},
        "another tenant": {"tenant": "other"},
        "another patient": {"patient": OTHER_PATIENT},
        "another recording": {"recording_id": str(OTHER_RECORDING)},
        "another key id": {"recording_key_id": str(PATIENT_KEY_ID)},
        "another role": {"role": "720p.mp4"},
        "fields that run into each other": {"tenant": "clinicp", "patient": "atient-1"},
    }
    for name, changed in changes.items():
        page.refuses(name, "KeyMismatch", inputs, **changed)


def _sizes(inputs: Inputs) -> dict[str, Any]:
    size = inputs["plaintext_bytes"]
    found: dict[str, Any] = {"object_bytes": cipher_size_bytes(size)}
    if "first" in inputs:
        chunks = chunk_range(
            first_plain_byte=inputs["first"], last_plain_byte=inputs["last"], plain_size_bytes=size
        )
        found |= dataclasses.asdict(chunks)
    return found


def _sizes_page() -> Page:
    page = Page("sizes-and-ranges", "3.5", _sizes)
    for size in (0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 2 * CHUNK_BYTES, (1 << 52) - 1):
        page.opens(f"{size} bytes", {"plaintext_bytes": size})
    size = 3 * CHUNK_BYTES
    for first, last in ((0, 0), (16383, 16384), (16384, 32767), (40000, size - 2), (40000, size - 1)):
        inputs = {"plaintext_bytes": size, "first": first, "last": last}
        page.opens(f"bytes {first} to {last} of {size}", inputs)
    return page


def _open_manifest(inputs: Inputs) -> dict[str, Any]:
    manifest = parse_manifest(inputs["manifest"].encode())
    tracks = {entry.role: entry.track for entry in manifest.files}
    return {
        "recording_id": str(manifest.recording_id),
        "files": {entry.role: str(entry.file_id) for entry in manifest.files},
        "segment_offsets": {
            role: list(track.offsets_bytes()) for role, track in tracks.items() if track is not None
        },
        "replay_bytes": 0
        if manifest.replay is None
        else next(each.plain_size_bytes for each in manifest.files if each.role == manifest.replay.head_role)
        + sum(extent.size_bytes for extent in manifest.replay.extents),
    }


def _entry(role: str, size: int, number: int, track: Track | None = None) -> FileEntry:
    sealer = FileCipher.with_salt(SALT, access=ACCESS, role=role, file_id=_file_id(number))
    content_type = {"mp4": "video/mp4", "jpg": "image/jpeg", "bin": "application/octet-stream"}[role[-3:]]
    return FileEntry(
        role=role, header=sealer.header, plain_size_bytes=size, content_type=content_type, track=track
    )


def _manifest() -> Manifest:
    video = Track(
        kind=TrackKind.VIDEO,
        codecs="avc1.4d401f",
        width=1280,
        height=720,
        frame_rate_millihertz=29970,
        timescale=30000,
        init_size_bytes=800,
        sizes_bytes=(20000, 30000),
        durations_ticks=(120120, 60060),
        peak_bandwidth_bps=1_200_000,
        average_bandwidth_bps=66_000,
    )
    audio = dataclasses.replace(
        video,
        kind=TrackKind.AUDIO,
        codecs="mp4a.40.2",
        width=None,
        height=None,
        frame_rate_millihertz=None,
        timescale=48000,
        init_size_bytes=700,
        sizes_bytes=(9000,),
        durations_ticks=(288768,),
    )
    extents = (
        Extent(role="720p.mp4", offset_bytes=900, size_bytes=19900),
        Extent(role="audio.mp4", offset_bytes=700, size_bytes=9000),
        Extent(role="720p.mp4", offset_bytes=20900, size_bytes=29900),
    )
    return Manifest(
        recording_id=RECORDING,
        files=(
            _entry("720p.mp4", 50800, 11, video),
            _entry("audio.mp4", 9700, 12, audio),
            _entry("replay-head.bin", 1500, 13),
            _entry("thumbs-0.jpg", 4000, 14),
        ),
        replay=Replay(head_role="replay-head.bin", extents=extents),
        thumbs=Thumbs(
            interval_s=2, width=160, height=90, columns=5, rows=5, frames=4, sheet_roles=("thumbs-0.jpg",)
        ),
    )


def _manifest_page() -> Page:
    page = Page("manifest", "4", _open_manifest)
    text = pack_manifest(_manifest()).decode()
    bare = dataclasses.replace(_manifest(), replay=None, thumbs=None)
    page.opens("tracks, replay and thumbs", {"manifest": text})
    page.opens("neither replay nor thumbs", {"manifest": pack_manifest(bare).decode()})
    changes = {
        "white space": (",", ", "),
        "a number in another form": ('"version":1', '"version":1.0'),
        "a version that is not known": ('"version":1', '"version":2'),
        "a member that is not known": ('"version":1', '"version":1,"x":1'),
        "a member twice": ('"version":1', '"version":1,"version":1'),
        "a text where a number is due": ('"version":1', '"version":"1"'),
        "a segment too long for its file": ("[20000,30000]", "[20000,30001]"),
        "a duration too few": ("[120120,60060]", "[120120]"),
        "an extent beyond its file": ("[0,20900,29900]", "[0,20901,29900]"),
        "an extent of no track": ("[1,700,9000]", "[2,700,9000]"),
        "tracks out of the order of first use": (
            '"tracks":["720p.mp4","audio.mp4"]',
            '"tracks":["audio.mp4","720p.mp4"]',
        ),
        "more sheets than frames need": ('["thumbs-0.jpg"]', '["thumbs-0.jpg","thumbs-0.jpg"]'),
        "a sheet that is no file": ('["thumbs-0.jpg"]', '["thumbs-1.jpg"]'),
        "an object size that does not follow": ('"cipher_size_bytes":', '"cipher_size_bytes":1'),
        "an upper-case id": (str(RECORDING), str(RECORDING).upper()),
        "a picture of an audio track": ('"height":null', '"height":1'),
        "a content type with a line break": ("image/jpeg", "image/jpeg\\n"),
    }
    for name, (before, after) in changes.items():
        if before not in text:
            raise AssertionError(f"the manifest vector has no {before}")
        page.refuses(name, "Malformed", {"manifest": text.replace(before, after, 1)})
    page.refuses("another recording's file", "Malformed", {"manifest": _foreign(text)})
    page.refuses("members not sorted", "Malformed", {"manifest": _unsorted(text)})
    return page


def _foreign(text: str) -> str:
    document = json.loads(text)
    document["recording_id"] = str(OTHER_RECORDING)
    return json.dumps(document, sort_keys=True, separators=(",", ":"))


def _unsorted(text: str) -> str:
    document = json.loads(text)
    return json.dumps({"version": document.pop("version"), **document}, separators=(",", ":"))
