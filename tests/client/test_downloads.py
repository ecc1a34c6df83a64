"""Downloads go on where they were cut, never mix two versions, and leave nothing half done under a final name."""

from __future__ import annotations

import asyncio
import io
import stat
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.client.conftest import QUICK
from tests.client.proxy import Proxy
from tests.world import World
from vault.client import FileSink, OpenedSession, PatientSession, ReplayVault, WriterSink
from vault.client.errors import Misused, NotFound, Unreachable

pytestmark = pytest.mark.asyncio(loop_scope="module")

NAME = "replay.mp4"


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest_asyncio.fixture(loop_scope="module")
async def opened(vault: ReplayVault, published: uuid.UUID) -> OpenedSession:
    del published
    return await vault.open_session("p-1")


@pytest_asyncio.fixture(loop_scope="module")
async def ann(house: World, opened: OpenedSession) -> AsyncIterator[PatientSession]:
    async with PatientSession(house.url, opened.token, backoff=QUICK) as session:
        yield session


@pytest_asyncio.fixture(loop_scope="module")
async def far(proxy: Proxy, opened: OpenedSession) -> AsyncIterator[PatientSession]:
    """Ann behind the proxy."""
    async with PatientSession(proxy.url, opened.token, backoff=QUICK) as session:
        yield session


@pytest_asyncio.fixture(loop_scope="module")
async def whole(ann: PatientSession, published: uuid.UUID) -> bytes:
    buffer = io.BytesIO()
    await ann.download(published, NAME, WriterSink(buffer))
    return buffer.getvalue()


class Stops(FileSink):
    """A process that loses its network for good once the first bytes are written."""

    def __init__(self, path: Path, proxy: Proxy) -> None:
        super().__init__(path)
        self._proxy = proxy
        self._proxy.cut_now = asyncio.Event()

    async def write(self, data: bytes) -> None:
        await super().write(data)
        self._proxy.refuse = 10
        if self._proxy.cut_now is not None:
            self._proxy.cut_now.set()


async def test_a_cut_download_goes_on_and_every_byte_is_there_once(
    far: PatientSession, proxy: Proxy, published: uuid.UUID, whole: bytes, tmp_path: Path
) -> None:
    proxy.cut_after_bytes = len(whole) // 3
    steps: list[int] = []
    target = tmp_path / NAME
    size = await far.download(
        published, NAME, FileSink(target), on_progress=lambda done, _: steps.append(done)
    )
    assert target.read_bytes() == whole
    assert size == len(whole) == steps[-1]
    assert steps == sorted(steps)
    assert len([head for head in proxy.heads if NAME in head]) == 2
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert names_in(tmp_path) == [NAME]


async def test_a_stream_that_cannot_go_back_survives_a_cut_too(
    far: PatientSession, proxy: Proxy, published: uuid.UUID, whole: bytes
) -> None:
    proxy.cut_after_bytes = len(whole) // 2
    buffer = io.BytesIO()
    await far.download(published, NAME, WriterSink(buffer))
    assert buffer.getvalue() == whole


async def test_another_process_goes_on_with_the_part_that_was_left(
    far: PatientSession, proxy: Proxy, published: uuid.UUID, whole: bytes, tmp_path: Path
) -> None:
    target = tmp_path / NAME
    proxy.cut_after_bytes = len(whole) // 2
    first = Stops(target, proxy)
    with pytest.raises(Unreachable):
        await far.download(published, NAME, first)
    await first.aclose()
    [part] = names_in(tmp_path)
    kept = (tmp_path / part).stat().st_size
    assert 0 < kept < len(whole)
    assert not target.exists()
    proxy.refuse, proxy.heads[:] = 0, []
    steps: list[int] = []
    await far.download(published, NAME, FileSink(target), on_progress=lambda done, _: steps.append(done))
    assert steps[0] > kept
    assert target.read_bytes() == whole
    assert names_in(tmp_path) == [NAME]


@pytest.mark.parametrize(
    "left", [b"", b"bytes of another version", b"x" * 10_000_000], ids=["no", "some", "more"]
)
async def test_a_part_of_another_version_is_never_carried_on(
    ann: PatientSession, published: uuid.UUID, whole: bytes, tmp_path: Path, left: bytes
) -> None:
    (tmp_path / f".{NAME}.{uuid.uuid4()}.part").write_bytes(left)
    await ann.download(published, NAME, FileSink(tmp_path / NAME))
    assert (tmp_path / NAME).read_bytes() == whole
    assert names_in(tmp_path) == [NAME]


async def test_a_part_that_lacked_nothing_but_its_name_gets_it(
    far: PatientSession, proxy: Proxy, published: uuid.UUID, whole: bytes, tmp_path: Path
) -> None:
    first = Stops(tmp_path / NAME, proxy)
    proxy.cut_after_bytes = len(whole) // 2
    with pytest.raises(Unreachable):
        await far.download(published, NAME, first)
    await first.aclose()
    [part] = names_in(tmp_path)
    (tmp_path / part).write_bytes(whole)
    proxy.refuse = 0
    assert await far.download(published, NAME, FileSink(tmp_path / NAME)) == len(whole)
    assert (tmp_path / NAME).read_bytes() == whole


async def test_what_stands_there_is_left_alone_unless_it_may_be_replaced(
    ann: PatientSession, published: uuid.UUID, tmp_path: Path
) -> None:
    target = tmp_path / "poster"
    target.write_bytes(b"mine")
    with pytest.raises(Misused, match="exists already"):
        await ann.download(published, "audio.mp4", FileSink(target))
    assert target.read_bytes() == b"mine"
    await ann.download(published, "audio.mp4", FileSink(target, replace=True))
    assert target.read_bytes() != b"mine"


async def test_two_downloads_never_write_one_part(tmp_path: Path) -> None:
    one, two = FileSink(tmp_path / NAME), FileSink(tmp_path / NAME)
    await one.begin(offset_bytes=0, tag="a")
    with pytest.raises(Misused, match="another download"):
        await two.begin(offset_bytes=0, tag="a")
    await one.aclose()
    await two.aclose()


async def test_a_link_in_the_place_of_a_part_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    (tmp_path / f".{NAME}.a.part").symlink_to(victim)
    sink = FileSink(tmp_path / NAME)
    with pytest.raises(OSError, match="symbolic"):
        await sink.begin(offset_bytes=0, tag="a")
    assert victim.read_bytes() == b"precious"


async def test_playlists_have_no_ranges_and_arrive_whole(ann: PatientSession, published: uuid.UUID) -> None:
    buffer = io.BytesIO()
    await ann.download(published, "master.m3u8", WriterSink(buffer))
    assert buffer.getvalue().startswith(b"#EXTM3U")


@pytest.mark.parametrize("name", ["original", "manifest", "999p.mp4"])
async def test_what_is_not_there_leaves_nothing(
    ann: PatientSession, published: uuid.UUID, tmp_path: Path, name: str
) -> None:
    with pytest.raises(NotFound):
        await ann.download(published, name, FileSink(tmp_path / "x"))
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("name", ["", ".", "..", "../source", "a/b", "a?b", "a b"])
async def test_names_that_lead_elsewhere_are_not_asked_for(
    ann: PatientSession, published: uuid.UUID, tmp_path: Path, name: str
) -> None:
    with pytest.raises(Misused):
        await ann.download(published, name, FileSink(tmp_path / "x"))
