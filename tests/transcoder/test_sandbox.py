"""The jail from inside: what a program in it tries and cannot do. Landlock is the kernel's own, where it has it."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from transcoder import jail
from transcoder.binaries import Tools
from transcoder.errors import SandboxUnavailable
from transcoder.process import Outcome, run
from transcoder.sandbox import (
    Landlock,
    Sandbox,
    describe_sandbox,
    interpreter_in,
    interpreter_of,
    landlock_abi,
    port_of,
)

needs_landlock = pytest.mark.skipif(landlock_abi() == 0, reason="this kernel has no Landlock")
needs_port_rules = pytest.mark.skipif(landlock_abi() < 4, reason="this kernel's Landlock has no TCP rules")


async def inside(*argv: str, ports: tuple[int, ...] = (), sandbox: Sandbox | None = None) -> Outcome:
    return await run(
        list(argv), sandbox=sandbox or Sandbox(), connect_ports=ports, stall_timeout_s=None, limit_s=10.0
    )


async def bare(*argv: str) -> Outcome:
    """Only limits, no Landlock: what remains on an old kernel."""
    policy = {"parent": os.getpid(), "limits": Sandbox()._limits(), "landlock": None}
    words = [sys.executable, "-I", "-S", jail.__file__, json.dumps(policy), *argv]
    process = await asyncio.create_subprocess_exec(
        *words, env={}, cwd="/", stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    stdout, stderr = await process.communicate()
    return Outcome(process.returncode or 0, progress=None, stdout=stdout, stderr_tail=stderr)  # type: ignore[arg-type]


async def test_a_program_runs() -> None:
    assert (await inside("/bin/sh", "-c", "echo alive")).stdout == b"alive\n"


@needs_landlock
async def test_no_file_can_be_made(tmp_path: Path) -> None:
    """Not even an empty one, which RLIMIT_FSIZE would let pass."""
    target = tmp_path / "leak"
    outcome = await inside("/bin/sh", "-c", f": > {target}")
    assert outcome.return_code != 0
    assert not target.exists()


@needs_landlock
async def test_no_file_can_be_read() -> None:
    outcome = await inside("/bin/cat", "/etc/passwd")
    assert (outcome.return_code, outcome.stdout) == (1, b"")


@needs_landlock
async def test_no_folder_can_be_listed() -> None:
    assert (await inside("/bin/ls", "/usr/lib")).stdout == b""


@needs_landlock
async def test_no_other_program_can_be_started() -> None:
    outcome = await inside("/bin/sh", "-c", "/bin/cat /dev/null; echo $?")
    assert outcome.stdout == b"126\n"


@pytest.fixture
async def two_ports() -> AsyncIterator[tuple[int, int, list[int]]]:
    """A gateway's port, another port, and which of them were connected to."""
    hits: list[int] = []

    def accept(port_at: int) -> object:
        async def on_connect(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            hits.append(port_at)
            writer.close()

        return on_connect

    servers = [await asyncio.start_server(accept(at), "127.0.0.1", 0) for at in range(2)]  # type: ignore[arg-type]
    ports = [server.sockets[0].getsockname()[1] for server in servers]
    yield ports[0], ports[1], hits
    for server in servers:
        server.close()
        await server.wait_closed()


@needs_port_rules
async def test_only_the_gateway_can_be_connected_to(two_ports: tuple[int, int, list[int]]) -> None:
    gateway, canary, hits = two_ports
    connect = "exec 3<>/dev/tcp/127.0.0.1/{} && echo connected"
    refused = await inside("/bin/bash", "-c", connect.format(canary), ports=(gateway,))
    assert refused.stdout == b""
    allowed = await inside("/bin/bash", "-c", connect.format(gateway), ports=(gateway,))
    assert allowed.stdout == b"connected\n"
    await asyncio.sleep(0)
    assert hits == [0]


@needs_port_rules
async def test_ffmpeg_itself_is_held(
    tools: Tools, two_ports: tuple[int, int, list[int]], tmp_path: Path
) -> None:
    """Without any allow-list of ours: the wall behind the wall."""
    gateway, canary, hits = two_ports
    secret = tmp_path / "secret.wav"
    await asyncio.to_thread(secret.write_bytes, b"RIFF")
    for source in (f"http://127.0.0.1:{canary}/x.mp4", f"file:{secret}"):
        outcome = await inside(str(tools.ffmpeg), "-i", source, "-f", "null", "-", ports=(gateway,))
        assert outcome.return_code != 0
        assert b"denied" in outcome.stderr_tail or b"not permitted" in outcome.stderr_tail
    output = tmp_path / "out.wav"
    await inside(str(tools.ffmpeg), "-f", "lavfi", "-i", "sine=d=1", str(output), ports=(gateway,))
    assert hits == []
    assert not output.exists()


async def test_no_byte_can_be_written_even_without_landlock(tmp_path: Path) -> None:
    target = tmp_path / "leak"
    outcome = await bare("/bin/sh", "-c", f"echo secret > {target}")
    assert outcome.return_code != 0
    assert (await asyncio.to_thread(target.read_bytes)) == b""


async def test_limits_are_set() -> None:
    shown = (
        await bare("/bin/sh", "-c", "ulimit -f; ulimit -c; ulimit -n; ulimit -v; ulimit -t")
    ).stdout.split()
    assert shown == [b"0", b"0", b"256", b"2097152", b"21600"]


async def test_a_core_dump_would_be_empty() -> None:
    """RLIMIT_CORE does not bind a core_pattern that pipes to a program; the filter does."""
    assert int((await bare("/bin/cat", "/proc/self/coredump_filter")).stdout, 16) == 0


async def test_no_privilege_can_be_gained() -> None:
    status = (await bare("/bin/cat", "/proc/self/status")).stdout
    assert b"NoNewPrivs:\t1" in status


async def test_the_environment_is_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FFREPORT", "file=/tmp/leak.log")
    monkeypatch.setenv("http_proxy", "http://192.0.2.1:1")
    assert (await inside("/usr/bin/env")).stdout == b""


async def test_it_runs_in_the_root_folder_and_a_session_of_its_own() -> None:
    outcome = await inside("/bin/sh", "-c", "pwd; kill -0 -$$ && echo leader")
    assert outcome.stdout == b"/\nleader\n"


def test_it_dies_with_its_parent() -> None:
    """A worker killed with -9 leaves no ffmpeg behind."""
    program = (
        "import os,subprocess,sys\n"
        "from transcoder.sandbox import Sandbox\n"
        "argv = Sandbox().wrap(['/bin/sleep', '60'], connect_ports=())\n"
        "print(subprocess.Popen(argv, env={}, start_new_session=True).pid, flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        command = Path(f"/proc/{child}/comm")
        deadline = time.monotonic() + 5
        while command.read_text() != "sleep\n" and time.monotonic() < deadline:
            time.sleep(0.02)
        assert command.read_text() == "sleep\n"
        parent.kill()
    while _alive(child) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not _alive(child)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.parametrize(
    "policy",
    [
        "",
        "{}",
        '{"parent": 1, "limits": {}, "landlock": null}',
        '{"parent": PARENT, "limits": {"RLIMIT_FSIZE": "x"}, "landlock": null}',
        '{"parent": PARENT, "limits": {}, "landlock": {"abi": 1, "execute": ["/no/such"], "read": [], "connect": []}}',
    ],
)
def test_a_policy_that_cannot_be_applied_in_full_runs_nothing(policy: str) -> None:
    words = [
        sys.executable,
        "-I",
        "-S",
        jail.__file__,
        policy.replace("PARENT", str(os.getpid())),
        "/bin/echo",
        "ran",
    ]
    done = subprocess.run(words, capture_output=True, check=False, timeout=10)
    assert (done.returncode, done.stdout, done.stderr) == (jail.REFUSED_STATUS, b"", b"")


async def test_a_missing_program_is_said_so(tmp_path: Path) -> None:
    with pytest.raises((SandboxUnavailable, FileNotFoundError)):
        await bare_missing(tmp_path / "nothing")


async def bare_missing(program: Path) -> None:
    await inside(str(program))


def test_landlock_can_be_insisted_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jail, "landlock_abi", lambda: 0)
    with pytest.raises(SandboxUnavailable):
        Sandbox(landlock=Landlock.REQUIRED).wrap(["/bin/true"], connect_ports=())
    policy = json.loads(Sandbox().wrap(["/bin/true"], connect_ports=())[4])
    assert policy["landlock"] is None
    assert policy["limits"]["RLIMIT_FSIZE"] == policy["limits"]["RLIMIT_CORE"] == 0
    assert describe_sandbox()["filesystem_confined"] is False


def test_a_static_program_may_read_nothing_but_itself(tools: Tools) -> None:
    policy = json.loads(Sandbox().wrap([str(tools.ffmpeg)], connect_ports=(7,))[4])["landlock"]
    if policy is None:
        pytest.skip("this kernel has no Landlock")
    loader = interpreter_of(tools.ffmpeg)
    assert policy["execute"] == ([str(tools.ffmpeg)] if loader is None else [str(tools.ffmpeg), loader])
    assert policy["connect"] == [7]
    assert (policy["read"] == []) is (loader is None)


@pytest.mark.parametrize(
    "head", [b"", b"#!/bin/sh\n", b"\x7fELF\x01\x01" + bytes(90), b"\x7fELF\x02\x01" + b"\xff" * 90]
)
def test_a_foreign_program_names_no_loader(head: bytes) -> None:
    assert interpreter_in(head) is None


@pytest.mark.parametrize(
    "url",
    ["http://example.org:80/x", "https://127.0.0.1:1/x", "file:///etc/passwd", "http://127.0.0.1/x", "x"],
)
def test_only_loopback_urls_are_handed_on(url: str) -> None:
    with pytest.raises(ValueError, match=r"only http://127\.0\.0\.1"):
        port_of(url)
    assert port_of("http://127.0.0.1:8443/i/secret") == 8443
