"""Which programs are run."""

from __future__ import annotations

from pathlib import Path

import pytest

from transcoder.binaries import Tools, find_tools, wheel_tools
from transcoder.errors import ToolsMissing


def test_both_programs_are_of_one_place(tools: Tools) -> None:
    assert tools.ffmpeg.parent == tools.ffprobe.parent
    assert tools.ffmpeg.is_absolute()
    assert tools.version


def test_the_path_comes_first_and_the_wheel_last(tmp_path: Path) -> None:
    assert find_tools(path=str(tmp_path)) == wheel_tools()
    for name in ("ffmpeg", "ffprobe"):
        program = tmp_path / name
        program.write_text("#!/bin/sh\necho 'ffmpeg version 7.0-ours Copyright'\n")
        program.chmod(0o755)
    assert find_tools(path=str(tmp_path)) == Tools(tmp_path / "ffmpeg", tmp_path / "ffprobe", "7.0-ours")


def test_half_a_pair_is_none(tmp_path: Path) -> None:
    (tmp_path / "ffmpeg").write_text("#!/bin/sh\n")
    (tmp_path / "ffmpeg").chmod(0o755)
    assert find_tools(path=str(tmp_path)) == wheel_tools()


def test_a_program_that_is_not_ffmpeg_is_refused(tmp_path: Path) -> None:
    for name in ("ffmpeg", "ffprobe"):
        (tmp_path / name).write_text("#!/bin/sh\necho hello\n")
        (tmp_path / name).chmod(0o755)
    with pytest.raises(ToolsMissing):
        find_tools(path=str(tmp_path))
