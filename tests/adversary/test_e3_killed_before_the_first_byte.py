"""E3: the process dies between the decision and the first byte. Nothing was shown, and the entry is there."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import aiohttp
import pytest

from tests.adversary.conftest import EMBEDDED_ALONE, Scene
from tests.adversary.press import PICTURE
from tests.adversary.replica import StreamServer
from vault.audit.reading import tail

ROOT = Path(__file__).parents[2]


class Doomed(StreamServer):
    """A stream role that dies after its first view's entry."""

    def _command(self) -> list[str]:
        return [sys.executable, "-m", "tests.audit.crasher", *super()._command()[1:]]

    @property
    def environment(self) -> dict[str, str]:
        return super().environment | {"PYTHONPATH": str(ROOT)}


@EMBEDDED_ALONE
async def test_the_entry_is_there_and_no_byte_left(scene: Scene) -> None:
    mine = await scene.press.publish(scene.clinic, "patient-a", sizes=PICTURE)
    server = Doomed(scene.world)
    try:
        await asyncio.to_thread(server.start)
        with pytest.raises(aiohttp.ClientConnectionError):
            await scene.a.send("GET", f"{server.url}{mine.url}/poster.jpg")
        folder = Path(server.told["REPLAYVAULT_DATA_DIR"]) / "audit"
        entries = await asyncio.to_thread(tail, folder, limit=100)
    finally:
        await asyncio.to_thread(server.close)
    (view,) = [entry for entry in entries if entry["action"] == "view.open"]
    assert (view["decision"], view["recording"]) == ("allow", str(mine.recording_id))
    assert not [entry for entry in entries if entry["action"] == "writer.close"]
