"""The programs that make and examine media: ffmpeg and ffprobe (the product's own choice of them) and espeak-ng."""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

from tests.servers.missing import missing
from transcoder.binaries import Tools, find_tools

_TIMEOUT_S = 90


@functools.cache
def tools() -> Tools:
    """Return the ffmpeg and ffprobe that the product would take on this machine."""
    return find_tools()


def program(*names: str, package: str) -> str:
    """Return the path of the first of these programs; skip or fail the test when `package` isn't installed."""
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        missing(names[0], command=f"apt-get install {package}")
    return found


def run(*command: str | Path, cwd: Path | None = None) -> bytes:
    """Run a program to its end and return its stdout; raise with the end of its stderr when it fails."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        timeout=_TIMEOUT_S,
    )
    if done.returncode != 0:
        message = f"{Path(command[0]).name} failed ({done.returncode}): {done.stderr[-2000:].decode(errors='replace')}"
        raise RuntimeError(message)
    return done.stdout


def ffmpeg(*arguments: str | Path, cwd: Path | None = None) -> bytes:
    """Run ffmpeg; the last argument is the output file, `-` for stdout."""
    return run(tools().ffmpeg, "-nostdin", "-hide_banner", "-loglevel", "error", "-y", *arguments, cwd=cwd)


def ffprobe(path: Path, *arguments: str) -> Any:
    """Return what ffprobe says about a file: its `streams` and `format`, or what `arguments` ask for."""
    questions = arguments or ("-show_streams", "-show_format")
    return json.loads(run(tools().ffprobe, "-v", "error", *questions, "-of", "json", path))


def demuxed_s(path: Path, *, stream: str) -> float:
    """Return the end of the last packet of a stream (`v:0`, `a:0`) in seconds: the length when none is stated."""
    fields = ("-select_streams", stream, "-show_entries", "packet=pts_time,duration_time")
    packets = ffprobe(path, *fields)["packets"]
    return max(float(packet["pts_time"]) + float(packet.get("duration_time", 0)) for packet in packets)
