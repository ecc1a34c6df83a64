"""Every example of the README and of docs/ is run, in order, against a running Replay Vault.

A block that cannot be run here (it starts a server, or is run by CI itself) stands after `<!-- shown only: why -->`.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.media import Media
from tests.world import Engine, World, embedded_settings, open_world

ROOT = Path(__file__).parents[2]
PAGES = ("README.md", "docs/backends.md", "docs/apps.md", "docs/operators.md", "docs/operations.md")
BLOCK_TIMEOUT_S = 60

_BLOCK = re.compile(r"(<!-- shown only: [^>]+-->\n+)?```(sh|python)\n(.*?)```", re.DOTALL)


@dataclass(frozen=True)
class Example:
    """One block of a page."""

    language: str
    text: str


def examples(page: str) -> list[Example]:
    """The blocks of a page that are meant to be run."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return [Example(kind, body) for shown_only, kind, body in _BLOCK.findall(text) if not shown_only]


def test_every_page_starts_with_a_working_example() -> None:
    assert {page: bool(examples(page)) for page in PAGES} == dict.fromkeys(PAGES, True)


@pytest.mark.parametrize("page", PAGES)
async def test_the_examples_of_a_page_work(page: str, tmp_path: Path, media: Media) -> None:
    async with open_world(Engine.EMBEDDED, embedded_settings(tmp_path / "data")) as world:
        folder = tmp_path / "user"
        folder.mkdir()
        environment = await prepare(world, folder, media)
        for example in examples(page):
            await run(example, folder, environment)


async def prepare(world: World, folder: Path, media: Media) -> dict[str, str]:
    """What the reader of a page has: a film, tokens in variables and a file, and one recording that is published."""
    (folder / "consultation.webm").write_bytes(media.path("audio.webm").read_bytes())
    clinic = await world.backend("clinic")
    assert clinic.token is not None
    token_file = folder / "backend-token"
    token_file.write_text(clinic.token + "\n", encoding="ascii")
    token_file.chmod(0o600)
    recording = await clinic.upload("p-17", media.path("audio.webm"), title="Prepared")
    session = await clinic.sign_in("p-17")
    assert session.token is not None
    stored = next(path for path in (world.settings.data_dir / "objects").glob("*/*") if path.is_file())
    return {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(folder),
        "SDL_VIDEODRIVER": "dummy",
        "SDL_AUDIODRIVER": "dummy",
        "PYTHONPATH": "",
        "REPLAYVAULT_DATA_DIR": str(world.settings.data_dir),
        "REPLAYVAULT_URL": world.url,
        "REPLAYVAULT_TOKEN_FILE": str(token_file),
        "URL": world.url,
        "TOKEN": clinic.token,
        "SESSION": session.token,
        "ID": recording,
        "OBJECT": f"{stored.parent.name}/{stored.name}",
    }


async def run(example: Example, folder: Path, environment: dict[str, str]) -> None:
    """Run one block in the reader's folder; it must succeed and print no problem."""
    words = ["bash", "-euo", "pipefail", "-c"] if example.language == "sh" else [sys.executable, "-c"]
    process = await asyncio.create_subprocess_exec(
        *words,
        example.text,
        cwd=folder,
        env=environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(BLOCK_TIMEOUT_S):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    said = output.decode("utf-8", "replace")
    assert process.returncode == 0, f"{example.text}\n{said}"
    assert "/problems/" not in said, f"{example.text}\n{said}"
