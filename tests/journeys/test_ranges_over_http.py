"""RFC 9110's ranges and preconditions over real HTTP, on a track and on the synthesised movie, on both engines."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from tests.journeys.playing import decode, play_file
from tests.media import Media
from tests.media.tools import program, run
from tests.world import Answer, App, World

pytestmark = pytest.mark.asyncio(loop_scope="module")

FILES = ("360p.mp4", "audio.mp4", "replay.mp4")


@dataclass(frozen=True, slots=True)
class Published:
    """A published recording, its viewer, and the whole of each file."""

    world: World
    ann: App
    recording: str
    whole: dict[str, Answer]

    async def ask(self, name: str, *, method: str = "GET", **headers: str) -> Answer:
        """A request for a file; header names are written with underscores."""
        shown = {key.replace("_", "-"): value for key, value in headers.items()}
        return await self.ann.send(method, f"/v1/recordings/{self.recording}/{name}", headers=shown)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def published(each_world: World, media: Media) -> AsyncIterator[Published]:
    clinic = await each_world.backend()
    recording = await clinic.upload("patient-a", media.path("vp8.webm"))
    ann = await clinic.sign_in("patient-a")
    whole = {name: await ann.get(f"/v1/recordings/{recording}/{name}") for name in FILES}
    yield Published(each_world, ann, recording, whole)


# Range header → (first, last), both inclusive and from the end where negative; None for 200, () for 416.
SIZE = -1
RANGES: dict[str, tuple[int, int] | tuple[()] | None] = {
    "bytes=0-1": (0, 1),
    "bytes=0-": (0, SIZE),
    "bytes=0-0": (0, 0),
    "bytes=16383-16384": (16383, 16384),
    "bytes=16384-32767": (16384, 32767),
    "bytes=100-40000": (100, 40000),
    "bytes=-1": (SIZE, SIZE),
    "bytes=-500": (-500, SIZE),
    "bytes=-99999999999": (0, SIZE),
    "bytes=500-99999999999": (500, SIZE),
    "bytes=0-18446744073709551616": (0, SIZE),
    "BYTES=2-3": (2, 3),
    "bytes=99999999999-": (),
    "bytes=18446744073709551616-": (),
    "bytes=-0": (),
    "bytes=3-2": None,
    "bytes=": None,
    "bytes=-": None,
    "bytes=a-b": None,
    "bytes=0-1,3-4": None,
    "bytes=0-1, -1": None,
    "bytes=--1": None,
    "bytes 0-1": None,
    "items=0-1": None,
    "bytes=0x0-0x1": None,
    "bytes=\u0660-\u0661": None,
    "bytes=" + "0" * 5000 + "-1": None,
    "bytes=" + ",".join(["0-0"] * 1000): None,
}


@pytest.mark.parametrize("name", FILES)
async def test_each_form_of_range_gets_the_answer_of_the_rfc(published: Published, name: str) -> None:
    body = published.whole[name].body
    size = len(body)
    for header, expected in RANGES.items():
        answer = await published.ask(name, Range=header)
        if expected is None:
            assert (answer.status, answer.body) == (200, body), header
            assert "Content-Range" not in answer.headers, header
        elif not expected:
            assert answer.status == 416, header
            assert answer.headers["Content-Range"] == f"bytes */{size}", header
            assert answer.headers["Content-Type"] == "application/problem+json", header
        else:
            first, last = (at if at >= 0 else size + at for at in expected)
            assert (answer.status, answer.body) == (206, body[first : last + 1]), header
            assert answer.headers["Content-Range"] == f"bytes {first}-{last}/{size}", header
            assert answer.headers["Content-Length"] == str(last - first + 1), header


@pytest.mark.parametrize("name", FILES)
async def test_positions_at_the_very_end(published: Published, name: str) -> None:
    size = len(published.whole[name].body)
    last = await published.ask(name, Range=f"bytes={size - 1}-")
    assert (last.status, len(last.body)) == (206, 1)
    over = await published.ask(name, Range=f"bytes={size}-")
    assert (over.status, over.headers["Content-Range"]) == (416, f"bytes */{size}")
    suffix = await published.ask(name, Range=f"bytes=-{size}")
    assert (suffix.status, len(suffix.body)) == (206, size)


@pytest.mark.parametrize("name", FILES)
async def test_preconditions(published: Published, name: str) -> None:
    whole = published.whole[name]
    etag = whole.headers["ETag"]
    assert etag.startswith('"')
    part = {"Range": "bytes=5-9"}
    table = [
        (part | {"If-Range": etag}, 206),
        (part | {"If-Range": '"of another version"'}, 200),
        (part | {"If-Range": f"W/{etag}"}, 200),
        (part | {"If-Range": "Wed, 21 Oct 2015 07:28:00 GMT"}, 200),
        (part | {"If-Match": etag}, 206),
        (part | {"If-Match": "*"}, 206),
        (part | {"If-Match": f'"other", {etag}'}, 206),
        (part | {"If-Match": '"other"'}, 412),
        (part | {"If-Match": f"W/{etag}"}, 412),
        ({"If-None-Match": etag}, 304),
        ({"If-None-Match": f"W/{etag}"}, 304),
        ({"If-None-Match": "*"}, 304),
        (part | {"If-None-Match": etag}, 304),
        (part | {"If-None-Match": '"other"'}, 206),
        ({"If-Match": '"other"', "If-None-Match": etag}, 412),
        ({"Range": "bytes=-0", "If-Range": '"other"'}, 200),
    ]
    for headers, status in table:
        answer = await published.ask(name, **headers)
        assert answer.status == status, headers
        expected = {206: whole.body[5:10], 200: whole.body, 304: b""}
        assert answer.body == expected.get(status, answer.body), headers
        if status != 412:
            assert answer.headers["ETag"] == etag, headers


@pytest.mark.parametrize("name", FILES)
async def test_head_has_the_headers_of_get_and_no_body(published: Published, name: str) -> None:
    whole = published.whole[name]
    for headers in ({}, {"Range": "bytes=0-1"}, {"Range": "bytes=-0"}):
        head = await published.ask(name, method="HEAD", **headers)
        assert (head.status, head.body) == (200, b"")
        alike = ("Content-Length", "Content-Type", "ETag", "Accept-Ranges", "Cache-Control")
        assert {key: head.headers[key] for key in alike} == {key: whole.headers[key] for key in alike}
    assert (await published.ask(name, method="HEAD", If_None_Match=whole.headers["ETag"])).status == 304


async def test_nothing_decrypted_may_be_cached_or_sniffed(published: Published) -> None:
    for name in FILES:
        for answer in (published.whole[name], await published.ask(name, Range="bytes=0-1")):
            assert answer.headers["Cache-Control"] == "no-store"
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.headers["Accept-Ranges"] == "bytes"
            assert "Content-Encoding" not in answer.headers


@pytest.mark.parametrize("name", FILES)
async def test_two_hundred_random_ranges_are_the_bytes_of_the_whole(published: Published, name: str) -> None:
    body = published.whole[name].body
    dice = random.Random(2)  # noqa: S311 - which ranges, not a secret
    for _ in range(200):
        first = dice.randrange(len(body))
        last = min(len(body) - 1, first + dice.choice([0, 1, 100, 16_384, 70_000, len(body)]))
        answer = await published.ask(name, Range=f"bytes={first}-{last}")
        assert (answer.status, answer.body) == (206, body[first : last + 1])


async def test_curl_gets_the_same_bytes(published: Published, tmp_path: Path) -> None:
    curl = program("curl", package="curl")
    for name in FILES:
        body, out = published.whole[name].body, tmp_path / name
        address = f"{published.world.url}/v1/recordings/{published.recording}/{name}"
        common = (curl, "-sS", "--fail", "-H", f"Authorization: Bearer {published.ann.token}")
        await asyncio.to_thread(run, *common, "-o", out, address)
        assert hashlib.sha256(out.read_bytes()).digest() == hashlib.sha256(body).digest()
        out.write_bytes(body[: len(body) // 2 + 1])
        await asyncio.to_thread(run, *common, "-C", "-", "-o", out, address)
        assert out.read_bytes() == body


async def test_the_movie_decodes_to_the_frames_of_its_tracks(published: Published, tmp_path: Path) -> None:
    movie = tmp_path / "replay.mp4"
    movie.write_bytes(published.whole["replay.mp4"].body)
    from_file = await asyncio.to_thread(decode, "-i", str(movie))
    assert (from_file.return_code, from_file.complaints) == (0, "")
    for kind, name in (("video", "360p"), ("audio", "audio")):
        (stream,) = from_file.of(kind)
        assert len(stream.frames) > 200
        for form in ("mp4", "m3u8"):
            track = await play_file(published.world, published.ann, published.recording, f"{name}.{form}")
            frames = track.only.frames
            # Only the movie has an edit list, which hides the encoder's first frame of sound.
            assert frames[kind == "audio" :] == stream.frames
