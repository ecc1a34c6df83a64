"""A5: chunks of a stored object spliced, cut, doubled and moved, over HTTP. Never a wrong byte, never a clean end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import aiohttp
import pytest
import yarl

from tests.adversary.conftest import Scene
from tests.adversary.press import SIZES, Pressed
from tests.world import App
from vault.objects.container import CHUNK_BYTES, HEADER_BYTES, SEALED_CHUNK_BYTES

TRACK = "360p.mp4"
# Chunks of the track: windows of 4, 16 and 16 chunks, and a last one with a short chunk at its end.
CHUNKS = 40
LARGE = {**SIZES, TRACK: (CHUNKS - 1) * CHUNK_BYTES + 777}
PLACES = (0, 3, 9, 21, CHUNKS - 1)

Chunks = list[bytes]


@dataclass(frozen=True, slots=True)
class Donors:
    """Sealed chunks of other objects, by what they are of."""

    chunks: dict[str, Chunks]


@dataclass(frozen=True, slots=True)
class Row:
    """A way to tamper; `at` is the first chunk that is not what was sealed."""

    name: str
    tamper: Callable[[Chunks, Donors], Chunks]
    at: int


@dataclass(frozen=True, slots=True)
class Got:
    """What came of a request: `clean` when the answer ended as its head promised."""

    status: int
    body: bytes
    clean: bool


def spliced(kind: str, at: int) -> Row:
    def tamper(chunks: Chunks, donors: Donors) -> Chunks:
        donor = donors.chunks[kind]
        piece = donor[min(at, len(donor) - 1)]
        return [*chunks[:at], piece.ljust(len(chunks[at]), b"\0")[: len(chunks[at])], *chunks[at + 1 :]]

    return Row(f"{kind}-at-{at}", tamper, at)


def flipped(at: int, place: int) -> Row:
    def tamper(chunks: Chunks, _: Donors) -> Chunks:
        piece = bytearray(chunks[at])
        piece[place] ^= 1
        return [*chunks[:at], bytes(piece), *chunks[at + 1 :]]

    return Row(f"bit-of-byte-{place}-of-chunk-{at}", tamper, at)


ROWS = (
    *(
        spliced(kind, at)
        for kind in ("another-patient", "another-recording", "another-rendition", "an-older-file")
        for at in PLACES
    ),
    *(flipped(at, place) for at in PLACES for place in (0, -1)),
    Row("another-position", lambda c, _: [*c[:7], c[6], *c[8:]], 7),
    Row("two-swapped", lambda c, _: [*c[:5], c[6], c[5], *c[7:]], 5),
    Row("all-reversed", lambda c, _: [*reversed(c[:-1]), c[-1]], 0),
    Row("one-doubled", lambda c, _: [*c[:5], c[5], *c[5:]], 0),
    Row("one-doubled-and-the-last-dropped", lambda c, _: [*c[:5], c[5], *c[5:-1]], 0),
    Row("one-removed", lambda c, _: [*c[:5], *c[6:]], 0),
    Row("last-dropped", lambda c, _: c[:-1], 0),
    Row("last-cut-to-its-tag", lambda c, _: [*c[:-1], c[-1][:16]], 0),
    Row("one-byte-short", lambda c, _: [*c[:-1], c[-1][:-1]], 0),
    Row("one-byte-long", lambda c, _: [*c[:-1], c[-1] + b"\0"], 0),
    Row("first-chunk-alone", lambda c, _: c[:1], 0),
    Row("nothing-left", lambda _, __: [], 0),
)


async def fetch(who: App, path: str, **headers: str) -> Got:
    """Everything that comes until the end or the cut."""
    headers["Authorization"] = f"Bearer {who.token}"
    body = bytearray()
    async with who.http.get(yarl.URL(path, encoded=True), headers=headers) as response:
        try:
            async for piece in response.content.iter_any():
                body += piece
        except aiohttp.ClientPayloadError:
            return Got(response.status, bytes(body), clean=False)
        return Got(response.status, bytes(body), clean=True)


def chunks_of(body: bytes) -> Chunks:
    return [body[at : at + SEALED_CHUNK_BYTES] for at in range(HEADER_BYTES, len(body), SEALED_CHUNK_BYTES)]


async def donors_for(scene: Scene, mine: Pressed) -> Donors:
    theirs = await scene.press.publish(scene.clinic, "patient-b", sizes=LARGE, mark="theirs")
    other = await scene.press.publish(scene.clinic, "patient-a", sizes=LARGE, mark="other")
    older = await scene.press.file(mine.access, TRACK, size_bytes=LARGE[TRACK], mark="older")
    names = {
        "another-patient": theirs.name(TRACK),
        "another-recording": other.name(TRACK),
        "another-rendition": mine.name("audio.mp4"),
        "an-older-file": mine.manifest.name(older),
    }
    return Donors({kind: chunks_of(await scene.objects.read(name)) for kind, name in names.items()})


def assert_cut(got: Got, plain: bytes, *, before: int) -> None:
    """Nothing but true bytes from before the damage, and no clean end."""
    assert got.status == 502 or not got.clean
    if got.status == 200:
        assert plain.startswith(got.body)
        assert len(got.body) <= before
    else:
        assert b"/problems/damaged" in got.body


async def test_a5_a_chunk_that_was_not_sealed_there(scene: Scene, subtests: pytest.Subtests) -> None:
    mine = await scene.press.publish(scene.clinic, "patient-a", sizes=LARGE, mark="mine")
    donors, plain, path = await donors_for(scene, mine), mine.plain(TRACK), f"{mine.url}/{TRACK}"
    whole = await scene.objects.read(mine.name(TRACK))
    assert (await fetch(scene.a, path)).body == plain
    for row in ROWS:
        chunks = row.tamper(chunks_of(whole), donors)
        assert chunks != chunks_of(whole)
        await scene.objects.write(mine.name(TRACK), whole[:HEADER_BYTES] + b"".join(chunks))
        with subtests.test(row.name):
            assert_cut(await fetch(scene.a, path), plain, before=row.at * CHUNK_BYTES)
            first = row.at * CHUNK_BYTES
            touched = await fetch(scene.a, path, Range=f"bytes={first}-{first + 9}")
            assert (touched.status, touched.clean) == (502, True)
            if row.at == 0:  # the synthesised movie: its head is another object, and whole
                got = await fetch(scene.a, f"{mine.url}/replay.mp4")
                assert_cut(got, mine.plain("replay.head"), before=SIZES["replay.head"])
    denied = await scene.evidence.audited(reason="DAMAGED", recording=str(mine.recording_id))
    assert len(denied) >= 2 * len(ROWS)
    assert await scene.evidence.mismatches() == []


async def test_a5_a_range_apart_from_the_damage_is_still_true(scene: Scene) -> None:
    mine = await scene.press.publish(scene.clinic, "patient-a", sizes=LARGE)
    whole = await scene.objects.read(mine.name(TRACK))
    row = flipped(21, 0)
    chunks = row.tamper(chunks_of(whole), Donors({}))
    await scene.objects.write(mine.name(TRACK), whole[:HEADER_BYTES] + b"".join(chunks))
    for first, last in (
        (0, 9),
        (20 * CHUNK_BYTES, 21 * CHUNK_BYTES - 1),
        (22 * CHUNK_BYTES, 23 * CHUNK_BYTES),
    ):
        got = await fetch(scene.a, f"{mine.url}/{TRACK}", Range=f"bytes={first}-{last}")
        assert (got.status, got.body) == (206, mine.plain(TRACK)[first : last + 1])


# Field and offset (FORMATS, section 1). Every single bit is flipped in tests/objects.
HEADER = {
    "magic": 0,
    "version": 8,
    "suite": 9,
    "chunk size": 10,
    "flags": 11,
    "header length": 12,
    "recording id": 16,
    "file id": 32,
    "key id": 48,
    "reserved": 64,
    "salt": 72,
    "commitment": 96,
    "commitment's end": 127,
}


async def test_a5_a_header_flipped(scene: Scene, subtests: pytest.Subtests) -> None:
    """The manifest's own header is believed by nobody; a track's is not even read: the manifest holds the true one."""
    mine = await scene.press.publish(scene.clinic, "patient-a")
    name = mine.manifest_name
    whole = await scene.objects.read(name)
    for field, place in HEADER.items():
        body = bytearray(whole)
        body[place] ^= 1
        await scene.objects.write(name, bytes(body))
        with subtests.test(field):
            got = await fetch(scene.a, f"{mine.url}/{TRACK}")
            assert got.status in {404, 502}
            assert b"/problems/" in got.body
    await scene.objects.write(name, whole)
    track = await scene.objects.read(mine.name(TRACK))
    await scene.objects.write(mine.name(TRACK), bytes(HEADER_BYTES) + track[HEADER_BYTES:])
    got = await fetch(scene.a, f"{mine.url}/{TRACK}")
    assert (got.status, got.body, got.clean) == (200, mine.plain(TRACK), True)


async def test_a5_a_damaged_manifest_is_not_remembered(scene: Scene) -> None:
    mine = await scene.press.publish(scene.clinic, "patient-a")
    whole = await scene.objects.read(mine.manifest_name)
    await scene.objects.write(mine.manifest_name, whole[:-1])
    assert (await fetch(scene.a, f"{mine.url}/{TRACK}")).status == 502
    await scene.objects.write(mine.manifest_name, whole)
    assert (await fetch(scene.a, f"{mine.url}/{TRACK}")).status == 200
