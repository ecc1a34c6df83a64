"""Manifests: their invariants, their one form as bytes, and their pin."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import json
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keys.errors import KeyMismatch
from keys.ids import new_recording_id, parse_patient
from keys.secret import RecordingKey
from tests.objects.sealing import C, fixed_access, new_access, seal
from vault.objects.access import RecordingAccess
from vault.objects.cipher import FileCipher
from vault.objects.container import FileFacts, Header, plain_size_bytes
from vault.objects.errors import DamagedObject, MalformedObject, ObjectMissing
from vault.objects.manifest import Extent, FileEntry, Manifest, Replay, Thumbs, Track, TrackKind
from vault.objects.manifest_json import pack_manifest, parse_manifest
from vault.objects.manifests import (
    ROLE,
    SealedManifest,
    fetch_manifest,
    open_manifest,
    read_manifest,
    write_manifest,
)
from vault.objects.sealed import SealedReader, SealedWriter
from vault.objects.store import ObjectName, ObjectStore

VIDEO = Track(
    kind=TrackKind.VIDEO,
    codecs="avc1.4d401f",
    width=1280,
    height=720,
    frame_rate_millihertz=30000,
    timescale=15360,
    init_size_bytes=900,
    sizes_bytes=(1000, 2000, 3100),
    durations_ticks=(61440, 61440, 30720),
    peak_bandwidth_bps=1_800_000,
    average_bandwidth_bps=900_000,
)
AUDIO = Track(
    kind=TrackKind.AUDIO,
    codecs="mp4a.40.2",
    width=None,
    height=None,
    frame_rate_millihertz=None,
    timescale=48000,
    init_size_bytes=800,
    sizes_bytes=(200,),
    durations_ticks=(480_000,),
    peak_bandwidth_bps=64_000,
    average_bandwidth_bps=64_000,
)


def entry(
    access: RecordingAccess, role: str, size: int, content_type: str, track: Track | None = None
) -> FileEntry:
    header = FileCipher.seal(access, role=role).header
    return FileEntry(role=role, header=header, plain_size_bytes=size, content_type=content_type, track=track)


def a_manifest(access: RecordingAccess) -> Manifest:
    return Manifest(
        recording_id=access.recording_id,
        files=(
            entry(access, "original", 5 * C, "video/webm; codecs=vp8"),
            entry(access, "720p.mp4", 7000, "video/mp4", VIDEO),
            entry(access, "audio.mp4", 1000, "audio/mp4", AUDIO),
            entry(access, "replay.head", 7001, "video/mp4"),
            entry(access, "thumbs-001.jpg", 10, "image/jpeg"),
            entry(access, "thumbs-002.jpg", 0, "image/jpeg"),
        ),
        replay=Replay(
            head_role="replay.head",
            extents=(
                Extent(role="audio.mp4", offset_bytes=800, size_bytes=200),
                Extent(role="720p.mp4", offset_bytes=900, size_bytes=6100),
                Extent(role="audio.mp4", offset_bytes=999, size_bytes=1),
            ),
        ),
        thumbs=Thumbs(
            interval_s=2,
            width=160,
            height=90,
            columns=3,
            rows=2,
            frames=7,
            sheet_roles=("thumbs-001.jpg", "thumbs-002.jpg"),
        ),
    )


ACCESS = fixed_access()
MANIFEST = a_manifest(ACCESS)


def test_a_track_knows_its_offsets_and_times() -> None:
    assert VIDEO.offsets_bytes() == (900, 1900, 3900)
    assert (VIDEO.size_bytes, VIDEO.duration_s) == (7000, 10.0)


def test_a_manifest_names_its_files() -> None:
    video = MANIFEST.file("720p.mp4")
    assert video is not None
    assert video.facts == FileFacts(role="720p.mp4", header=video.header, plain_size_bytes=7000)
    assert MANIFEST.name(video) == ObjectName(ACCESS.recording_id, video.file_id)
    assert MANIFEST.file("1080p.mp4") is None


def broken(whole: Manifest | Track | FileEntry | Thumbs, words: dict[str, Any]) -> None:
    with pytest.raises(MalformedObject):
        dataclasses.replace(whole, **words)


@pytest.mark.parametrize(
    "words",
    [
        {"width": None},
        {"height": 0},
        {"frame_rate_millihertz": -1},
        {"kind": TrackKind.AUDIO},
        {"codecs": 'avc1", EVIL="'},
        {"codecs": ""},
        {"timescale": 0},
        {"init_size_bytes": 0},
        {"sizes_bytes": ()},
        {"sizes_bytes": (), "durations_ticks": ()},
        {"sizes_bytes": (1, 2)},
        {"sizes_bytes": (1, 2, 0)},
        {"durations_ticks": (1, 2, -3)},
        {"peak_bandwidth_bps": -1},
    ],
)
def test_a_track_that_is_none(words: dict[str, Any]) -> None:
    broken(VIDEO, words)


@pytest.mark.parametrize(
    "words",
    [
        {"role": ""},
        {"role": "../x"},
        {"role": "a" * 65},
        {"role": "a\n"},
        {"content_type": "video"},
        {"content_type": "video/mp4\r\nSet-Cookie: x=1"},
        {"plain_size_bytes": -1},
        {"plain_size_bytes": 1 << 60},
        {"plain_size_bytes": 6999},
    ],
)
def test_a_file_that_is_none(words: dict[str, Any]) -> None:
    broken(MANIFEST.files[1], words)


def test_a_manifest_that_is_none() -> None:
    other = entry(
        dataclasses.replace(ACCESS, recording_id=new_recording_id()), "captions-en.vtt", 5, "text/vtt"
    )
    video = MANIFEST.files[1]
    replay, thumbs = MANIFEST.replay, MANIFEST.thumbs
    assert replay is not None
    assert thumbs is not None
    for words in (
        {"version": 2},
        {"recording_id": new_recording_id()},
        {"files": (*MANIFEST.files, other)},
        {"files": (*MANIFEST.files, entry(ACCESS, "720p.mp4", 5, "video/mp4"))},
        {"files": (*MANIFEST.files, dataclasses.replace(video, role="copy.mp4"))},
        {"files": MANIFEST.files[:5]},
        {"replay": dataclasses.replace(replay, head_role="nothing")},
        {"replay": dataclasses.replace(replay, extents=())},
    ):
        broken(MANIFEST, words)
    for extent in (
        ("720p.mp4", 0, 7001),
        ("720p.mp4", 7000, 1),
        ("720p.mp4", -1, 1),
        ("720p.mp4", 0, 0),
        ("x", 0, 1),
    ):
        wrong = Extent(role=extent[0], offset_bytes=extent[1], size_bytes=extent[2])
        broken(MANIFEST, {"replay": Replay(head_role="original", extents=(wrong,))})
    for grid in ({"frames": 6}, {"frames": 13}, {"columns": 0}, {"interval_s": 0}):
        broken(thumbs, grid)


def without(name: str, document: dict[str, Any]) -> None:
    del document[name]


class TestJson:
    """One form, and no other."""

    def test_it_comes_back(self) -> None:
        for manifest in (
            MANIFEST,
            Manifest(recording_id=ACCESS.recording_id, files=()),
            dataclasses.replace(MANIFEST, replay=None, thumbs=None),
        ):
            assert parse_manifest(pack_manifest(manifest)) == manifest

    def test_it_is_compact(self) -> None:
        segments = 7200
        long = dataclasses.replace(
            VIDEO, sizes_bytes=(1_234_567,) * segments, durations_ticks=(61440,) * segments
        )
        file = entry(ACCESS, "720p.mp4", long.size_bytes, "video/mp4", long)
        assert len(pack_manifest(Manifest(recording_id=ACCESS.recording_id, files=(file,)))) < 15 * segments

    def test_it_says_what_the_format_asks_for(self) -> None:
        document = json.loads(pack_manifest(MANIFEST))
        video = MANIFEST.files[1]
        assert document["version"] == 1
        assert document["recording_id"] == str(ACCESS.recording_id)
        said = document["files"][1]
        assert said["file_id"] == str(video.file_id)
        assert (said["plain_size_bytes"], said["cipher_size_bytes"]) == (7000, 7000 + 128 + 16)
        assert base64.b64decode(said["header"]) == video.header.pack()
        assert document["replay"]["tracks"] == ["audio.mp4", "720p.mp4"]
        assert document["replay"]["extents"] == [[0, 800, 200], [1, 900, 6100], [0, 999, 1]]

    def changed(self, change: Callable[[dict[str, Any]], object]) -> None:
        document = json.loads(pack_manifest(MANIFEST))
        change(document)
        data = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
        with pytest.raises(MalformedObject):
            parse_manifest(data)

    def test_derived_values_must_agree(self) -> None:
        self.changed(lambda d: d["files"][0].update(cipher_size_bytes=1))
        self.changed(lambda d: d["files"][0].update(file_id=d["files"][1]["file_id"]))

    def test_unknown_members_are_refused_everywhere(self) -> None:
        self.changed(lambda d: d.update(more=1))
        self.changed(lambda d: d["files"][0].update(more=1))
        self.changed(lambda d: d["files"][1]["track"].update(more=1))
        self.changed(lambda d: d["replay"].update(more=1))
        self.changed(lambda d: d["thumbs"].update(more=1))

    def test_missing_members_are_refused(self) -> None:
        for name in ("version", "recording_id", "files", "replay", "thumbs"):
            self.changed(partial(without, name))
        self.changed(lambda d: d["files"][0].pop("track"))

    def test_other_types_are_refused(self) -> None:
        self.changed(lambda d: d.update(version="1"))
        self.changed(lambda d: d.update(version=True))
        self.changed(lambda d: d.update(version=1.0))
        self.changed(lambda d: d.update(recording_id=d["recording_id"].replace("-", "")))
        self.changed(lambda d: d["files"][0].update(header="!"))
        self.changed(lambda d: d["files"][0].update(header=d["files"][0]["header"] + "\n"))
        self.changed(lambda d: d["files"][1]["track"].update(timescale="15360"))
        self.changed(lambda d: d["files"][1]["track"].update(kind="subtitles"))
        self.changed(lambda d: d["replay"]["extents"].append([2, 0, 1]))
        self.changed(lambda d: d["replay"]["extents"].append([-1, 0, 1]))
        self.changed(lambda d: d["replay"]["tracks"].append("original"))
        self.changed(lambda d: d["replay"]["tracks"].reverse())

    def test_another_spelling_of_the_same_is_refused(self) -> None:
        data = pack_manifest(MANIFEST)
        document = json.loads(data)
        for other in (
            json.dumps(document).encode(),
            json.dumps(document, separators=(",", ":")).encode()[:-1] + b"}\n",
            b" " + data,
            data.replace(b'"version":1', b'"version":1,"version":1'),
            data.replace(b"video/mp4", b"video\\/mp4", 1),
            data[:-1],
            b"",
            b"null",
            b"[" * 100_000,
        ):
            with pytest.raises(MalformedObject):
                parse_manifest(other)

    def test_an_error_quotes_nothing(self) -> None:
        with pytest.raises(MalformedObject) as caught:
            parse_manifest(b'{"version":"WATERMARK"}')
        assert "WATERMARK" not in str(caught.value)
        assert caught.value.__suppress_context__

    @given(data=st.data())
    def test_mutations_raise_nothing_but_our_error(self, data: st.DataObject) -> None:
        packed = bytearray(pack_manifest(MANIFEST))
        for _ in range(data.draw(st.integers(min_value=1, max_value=3))):
            packed[data.draw(st.integers(min_value=0, max_value=len(packed) - 1))] = data.draw(
                st.integers(min_value=0, max_value=255)
            )
        with contextlib.suppress(MalformedObject):
            assert pack_manifest(parse_manifest(bytes(packed))) == bytes(packed)


class TestPin:
    """The catalog names one manifest: nothing else opens in its place."""

    async def test_it_comes_back_from_the_store_in_one_request_and_two_steps(
        self, store: ObjectStore
    ) -> None:
        access = new_access()
        manifest = a_manifest(access)
        facts = await write_manifest(store, manifest, access=access)
        name = ObjectName(access.recording_id, facts.file_id)
        assert facts.role == ROLE
        assert (
            await read_manifest(store, name, plain_size_bytes=facts.plain_size_bytes, access=access)
            == manifest
        )
        fetched = await fetch_manifest(store, name, plain_size_bytes=facts.plain_size_bytes)
        assert b"720p" not in fetched.sealed
        await store.delete([name])
        assert open_manifest(fetched, access=access) == manifest
        with pytest.raises(ObjectMissing):
            await fetch_manifest(store, name, plain_size_bytes=facts.plain_size_bytes)

    async def test_an_older_manifest_under_the_pinned_name_is_refused(
        self, folder_store: ObjectStore
    ) -> None:
        """THREATS A4: a whole-file rollback."""
        access = new_access()
        older = await write_manifest(folder_store, a_manifest(access), access=access)
        newer = await write_manifest(folder_store, a_manifest(access), access=access)
        assert older.plain_size_bytes == newer.plain_size_bytes
        await copy_over(folder_store, access, older, newer)
        name = ObjectName(access.recording_id, newer.file_id)
        with pytest.raises(KeyMismatch):
            await read_manifest(folder_store, name, plain_size_bytes=newer.plain_size_bytes, access=access)

    async def test_another_size_than_the_pinned_one_is_refused(self, store: ObjectStore) -> None:
        access = new_access()
        facts = await write_manifest(store, a_manifest(access), access=access)
        name = ObjectName(access.recording_id, facts.file_id)
        for size in (0, facts.plain_size_bytes - 1, facts.plain_size_bytes + 1):
            with pytest.raises(DamagedObject):
                await fetch_manifest(store, name, plain_size_bytes=size)
        with pytest.raises(MalformedObject):
            await fetch_manifest(store, name, plain_size_bytes=1 << 40)

    async def test_another_patient_key_or_recording_opens_nothing(self, folder_store: ObjectStore) -> None:
        access = new_access()
        facts = await write_manifest(folder_store, a_manifest(access), access=access)
        name = ObjectName(access.recording_id, facts.file_id)
        fetched = await fetch_manifest(folder_store, name, plain_size_bytes=facts.plain_size_bytes)
        for other in (
            dataclasses.replace(access, patient=parse_patient("patient-2")),
            dataclasses.replace(access, key=RecordingKey.generate()),
            dataclasses.replace(access, recording_id=new_recording_id()),
        ):
            with pytest.raises(KeyMismatch):
                open_manifest(fetched, access=other)

    async def test_a_file_of_another_role_is_no_manifest(self, folder_store: ObjectStore) -> None:
        access = new_access()
        sealed = seal(pack_manifest(a_manifest(access)), access, role="original")
        fetched = await planted(folder_store, access, sealed)
        with pytest.raises(KeyMismatch):
            open_manifest(fetched, access=access)

    async def test_a_manifest_of_another_recording_is_neither_written_nor_read(
        self, folder_store: ObjectStore
    ) -> None:
        access, other = new_access(), new_access()
        with pytest.raises(MalformedObject):
            await write_manifest(folder_store, a_manifest(other), access=access)
        sealed = seal(pack_manifest(a_manifest(other)), access, role=ROLE)
        with pytest.raises(MalformedObject):
            open_manifest(await planted(folder_store, access, sealed), access=access)

    async def test_a_damaged_or_truncated_manifest(self, folder_store: ObjectStore) -> None:
        access = new_access()
        facts = await write_manifest(folder_store, a_manifest(access), access=access)
        name = ObjectName(access.recording_id, facts.file_id)
        fetched = await fetch_manifest(folder_store, name, plain_size_bytes=facts.plain_size_bytes)
        flipped = bytearray(fetched.sealed)
        flipped[500] ^= 1
        for sealed in (bytes(flipped), fetched.sealed[:-1], fetched.sealed[:128], fetched.sealed[:140]):
            with pytest.raises(DamagedObject):
                open_manifest(dataclasses.replace(fetched, sealed=sealed), access=access)
        with pytest.raises(MalformedObject):
            open_manifest(dataclasses.replace(fetched, sealed=fetched.sealed[:100]), access=access)

    async def test_a_manifest_leads_to_its_files(self, folder_store: ObjectStore) -> None:
        access = new_access()
        async with SealedWriter(folder_store, access=access, role="poster.jpg", limit_bytes=100) as writer:
            await writer.write(b"picture")
            poster = await writer.finish()
        file = FileEntry(
            role="poster.jpg", header=poster.header, plain_size_bytes=7, content_type="image/jpeg"
        )
        manifest = Manifest(recording_id=access.recording_id, files=(file,))
        facts = await write_manifest(folder_store, manifest, access=access)
        name = ObjectName(access.recording_id, facts.file_id)
        read = await read_manifest(folder_store, name, plain_size_bytes=facts.plain_size_bytes, access=access)
        found = read.file("poster.jpg")
        assert found is not None
        assert await SealedReader(folder_store, found.facts, access=access).read_all() == b"picture"


async def copy_over(store: ObjectStore, access: RecordingAccess, older: FileFacts, newer: FileFacts) -> None:
    """What an intruder with write access to the store can do."""
    source, target = (ObjectName(access.recording_id, facts.file_id) for facts in (older, newer))
    fetched = await store.read(source, first_byte=0, last_byte=older.cipher_size_bytes - 1)
    await store.delete([target])
    upload = await store.create(target)
    await upload.part(fetched.data)
    await upload.complete()


async def planted(store: ObjectStore, access: RecordingAccess, sealed: bytes) -> SealedManifest:
    """A sealed manifest of our own making, fetched again."""
    name = ObjectName(access.recording_id, Header.parse(sealed[:128]).file_id)
    upload = await store.create(name)
    await upload.part(sealed)
    await upload.complete()
    return await fetch_manifest(store, name, plain_size_bytes=plain_size_bytes(len(sealed)))
