"""The demonstration, as `make demo CHECK=1` runs it, and that it fails when the product is broken."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tests.media import Media
from tests.world import Engine, embedded_settings, open_world
from transcoder.binaries import find_tools
from vault.alarm import Alarm
from vault.demo.story import Story
from vault.playback import authorize, library

REPLAYVAULT = Path(sys.executable).with_name("replayvault")


def test_the_demonstration_checks_itself(media: Media) -> None:
    run = subprocess.run(
        [REPLAYVAULT, "demo", "--check", "--file", media.path("vp8.webm")],
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "Everything is as it should be." in run.stdout
    assert "KEY_MISMATCH" in run.stdout
    assert "rvs_" not in run.stdout
    assert "rvk_" not in run.stdout


async def _tell(tmp_path: Path, media: Media) -> Story:
    async with open_world(Engine.EMBEDDED, embedded_settings(tmp_path)) as world:
        story = Story(Console(file=io.StringIO()), world.settings, world.served, world.url, world.http)
        backend = await story.hire_a_backend()
        await story.store_everything(backend, find_tools().ffmpeg, media.path("audio.webm").read_bytes())
        await story.open_sessions(backend)
        await story.play_ones_own()
        await story.misroute()
        await story.show_the_audit(100)
        return story


async def test_a_silent_alarm_fails_the_demonstration(
    tmp_path: Path, media: Media, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nothing(*_: Any) -> None:
        """Tell nobody."""

    monkeypatch.setattr(Alarm, "key_mismatch", nothing)
    story = await _tell(tmp_path, media)
    assert "the misroute was not counted" in story.wrong
    assert "the misroute is not in the audit log" in story.wrong


async def test_a_list_that_drops_what_is_ones_own_fails_the_demonstration(
    tmp_path: Path, media: Media, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nobody(*_: Any, **__: Any) -> None:
        """Open nothing."""

    monkeypatch.setattr(library.Library, "_entry", nobody)
    story = await _tell(tmp_path, media)
    assert any("does not see exactly the own recordings" in each for each in story.wrong)


async def test_the_checks_are_back_after_the_demonstration(tmp_path: Path, media: Media) -> None:
    before: dict[str, Any] = dict(vars(authorize))
    story = await _tell(tmp_path, media)
    assert story.wrong == []
    assert dict(vars(authorize)) == before
