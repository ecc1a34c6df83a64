"""The hostile files do reach a canary when nobody stops them: otherwise a test that none does would prove nothing."""

from __future__ import annotations

import http.client
import socket
import subprocess
import time
from pathlib import Path

import pytest

from tests.media import HOSTILE, CanaryServer, hostile_file, tools

# What a present-day ffmpeg with every protocol allowed follows to the network. The other files bait other programs
# or older builds, or read local files.
_FOLLOWED = ("hls", "hls-master", "hls-key", "dash", "concat")
_EVERY_PROTOCOL = ("-protocol_whitelist", "file,http,tcp,concat,subfile,crypto,rtp,udp")
_LAX = {
    "hls": (*_EVERY_PROTOCOL, "-allowed_extensions", "ALL"),
    "dash": _EVERY_PROTOCOL,
    "concat": (*_EVERY_PROTOCOL, "-safe", "0"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_each_file_names_the_canary_or_a_local_file(name: str) -> None:
    body = hostile_file(name, canary="http://127.0.0.1:4567")
    assert b"4567" in body or b"/etc/passwd" in body


@pytest.mark.parametrize("name", _FOLLOWED)
def test_an_unguarded_ffmpeg_calls_the_canary(name: str, tmp_path: Path) -> None:
    with CanaryServer() as canary:
        path = tmp_path / "upload"
        path.write_bytes(hostile_file(name, canary=canary.url))
        _open(path, form=name.partition("-")[0])
        assert canary.hits


def _open(path: Path, *, form: str) -> None:
    subprocess.run(
        [tools().ffmpeg, "-nostdin", "-f", form, *_LAX[form], "-i", path, "-f", "null", "-"],
        capture_output=True,
        check=False,
        timeout=30,
    )


def test_a_canary_nobody_calls_counts_nothing() -> None:
    with CanaryServer() as canary:
        pass
    assert canary.hits == []


def test_a_canary_counts_a_request_a_silent_connection_and_a_datagram() -> None:
    with CanaryServer() as canary:
        connection = http.client.HTTPConnection("127.0.0.1", canary.port, timeout=5)
        connection.request("GET", "/here")
        assert connection.getresponse().read() == b"ok"
        connection.close()
        socket.create_connection(("127.0.0.1", canary.port)).close()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
            datagrams.sendto(b"ping", ("127.0.0.1", canary.port))
        _wait_for(canary, hits=3)
    assert sorted(canary.hits) == [b"GET /here HTTP/1.1", b"UDP ping", b"connected by TCP"]


def _wait_for(canary: CanaryServer, *, hits: int) -> None:
    deadline = time.monotonic() + 5
    while len(canary.hits) < hits and time.monotonic() < deadline:
        time.sleep(0.01)
