"""No process of ours writes plaintext to a file, at any time: strace of every role, and a search of every folder."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest

from tests.journeys.playing import play
from tests.journeys.processes import Role, open_house
from tests.journeys.tracing import Call, calls, files_holding, tracer
from tests.media import WATERMARKS, Media
from tests.servers import PostgresServer, S3Server
from tests.world import App, Backend, Engine, hire

pytestmark = pytest.mark.slow

MARK = WATERMARKS["watermarked.mkv"]
SHM = Path("/dev/shm")


@dataclass(slots=True)
class Limits:
    """What /proc said of the limits of processes, by the name of their program."""

    seen: dict[str, set[tuple[str, str]]]

    def look(self, role: Role) -> None:
        """Read the limits of a role's processes, as far as they still live."""
        for pid in role.processes():
            try:
                name = Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip()
                lines = Path(f"/proc/{pid}/limits").read_text(encoding="ascii").splitlines()
            except (FileNotFoundError, ProcessLookupError):
                continue
            found = {key: line.split()[-3] for line in lines for key in _LIMITS if line.startswith(key)}
            self.seen.setdefault(name, set()).add((found[_LIMITS[0]], found[_LIMITS[1]]))


_LIMITS = ("Max core file size", "Max file size")


async def _watch(roles: Iterable[Role], limits: Limits) -> None:
    watched = list(roles)
    while True:
        for role in watched:
            await asyncio.to_thread(limits.look, role)
        await asyncio.sleep(0.05)


async def _live(clinic: Backend, source: Path, *, url: str, http: aiohttp.ClientSession) -> str:
    """A recording's whole life: ingest, transcode, list, play."""
    recording = await clinic.upload("patient-a", source, title=MARK.title)
    ann = await clinic.sign_in("patient-a")
    viewer = App(http, ann.token)
    page = (await viewer.json("/v1/recordings"))["recordings"]
    assert [entry["title"] for entry in page] == [MARK.title]
    for name in (*page[0]["files"], "replay.mp4", "thumbs.vtt"):
        assert (await viewer.get(f"/v1/recordings/{recording}/{name}")).status == 200
    decoded = await play(f"{url}/v1/recordings/{recording}/master.m3u8", viewer)
    assert (decoded.return_code, decoded.complaints) == (0, "")
    return recording


def _check_trace(log: Path) -> dict[int, str]:
    """No write to a file holds a mark; the programs that ran, by process."""
    programs: dict[int, str] = {}
    writes = 0
    for call in calls(log):
        assert call.name != "memfd_create"
        assert call.name != "io_uring_setup" or _only_waits(call), "bytes could leave unseen"
        if call.name == "execve":
            programs[call.pid] = Path(call.strings[0]).name
        elif call.opens_for_writing:
            _check_open(call, programs.get(call.pid, ""))
        elif call.reaches_a_file and call.name != "mmap":
            writes += 1
            assert [mark for mark in MARK.needles if call.holds(mark)] == [], call.target
    assert writes > 0
    return programs


def _only_waits(ring: Call) -> bool:
    """Whether it is the ring of 256 that libuv makes for epoll_ctl; its ring for files is one that the kernel polls."""
    return ring.text.startswith("256, ") and "IORING_SETUP_SQPOLL" not in ring.text


def _check_open(call: Call, program: str) -> None:
    named = call.strings[0]
    assert not program.startswith("ff") or named == "/dev/null", f"{program} opens {named} for writing"


def _check_limits(limits: Limits) -> None:
    assert limits.seen["ffmpeg"] == {("0", "0")}
    ours = {name: seen for name, seen in limits.seen.items() if name not in {"strace", "ffmpeg", "ffprobe"}}
    assert ours
    for name, seen in ours.items():
        assert {core for core, _ in seen} == {"0"}, name


async def test_one_process_with_every_role(media: Media, tmp_path: Path) -> None:
    data, log = tmp_path / "data", tmp_path / "trace"
    settings = {"data_dir": str(data)}
    role = Role("all", settings=settings, foreign={}, before=tracer(log))
    limits = Limits({})
    try:
        await asyncio.to_thread(role.start)
        watching = asyncio.create_task(_watch([role], limits))
        async with aiohttp.ClientSession(role.url) as http:
            clinic = await hire(f"sqlite+aiosqlite:///{data / 'catalog.sqlite'}", http, "clinic")
            await _live(clinic, media.path("watermarked.mkv"), url=role.url, http=http)
        watching.cancel()
        folders = (data, role.folder, SHM)
        assert files_holding(folders, MARK.needles) == []
        await asyncio.to_thread(role.stop)
        assert files_holding(folders, MARK.needles) == []
        assert (data / "valkey").is_dir()
        assert (data / "catalog.sqlite").is_file()
    finally:
        await asyncio.to_thread(role.close)
    programs = await asyncio.to_thread(_check_trace, log)
    assert {"replayvault", "ffmpeg", "ffprobe", "valkey-server"} <= set(programs.values())
    _check_limits(limits)


async def test_roles_apart_on_production_engines(
    media: Media,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    postgres_server: PostgresServer,
    s3_server: S3Server,
) -> None:
    folder, logs = tmp_path / "house", {name: tmp_path / name for name in ("control", "worker", "stream")}
    limits = Limits({})
    async with open_house(Engine.PRODUCTION, folder, request, before=tracer(logs["control"])) as house:
        worker = await asyncio.to_thread(lambda: house.role("worker", before=tracer(logs["worker"])))
        stream = await asyncio.to_thread(lambda: house.role("stream", before=tracer(logs["stream"])))
        watching = asyncio.create_task(_watch([house.control, worker, stream], limits))
        clinic = await house.backend()
        async with aiohttp.ClientSession(stream.url) as http:
            await _live(clinic, media.path("watermarked.mkv"), url=stream.url, http=http)
        watching.cancel()
        places = [folder, SHM, house.valkey.folder, postgres_server.folder, s3_server.folder]
        places += [role.folder for role in house.roles]
        assert files_holding(places, MARK.needles) == []
        for role in house.roles:
            await asyncio.to_thread(role.stop)
        assert files_holding(places, MARK.needles) == []
    for log in logs.values():
        await asyncio.to_thread(_check_trace, log)
    _check_limits(limits)


def test_the_hunt_finds_what_is_planted(tmp_path: Path, media: Media) -> None:
    """Plaintext is planted once, in one write; trace and search must both see it."""
    source, planted, log = media.path("watermarked.mkv"), tmp_path / "in" / "planted", tmp_path / "trace"
    planted.parent.mkdir()
    script = "import sys; open(sys.argv[2], 'wb').write(open(sys.argv[1], 'rb').read()[300000:365536])"
    command = [*tracer(log), sys.executable, "-c", script, str(source), str(planted)]
    subprocess.run(command, check=True, timeout=60)
    sound, title = MARK.needles
    assert [call.target for call in calls(log) if call.reaches_a_file and call.holds(sound)] == [str(planted)]
    assert files_holding([planted.parent], MARK.needles) == [(planted, sound)]
    (planted.parent / MARK.title).write_bytes(b"")
    assert files_holding([planted.parent], [title]) == [(planted.parent / MARK.title, title)]
    with pytest.raises(AssertionError, match="planted"):
        _check_trace(log)
