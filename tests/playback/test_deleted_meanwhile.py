"""A recording that is deleted between two questions of a request is gone, and no misroute: no alarm."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import Any

import pytest

from keys import recording_wraps
from keys.ids import RecordingId
from tests.adversary.press import PICTURE, Press, Pressed, pressing
from tests.world import Backend, World


@pytest.fixture
async def press(world: World) -> AsyncIterator[Press]:
    async with pressing(world) as made:
        yield made


def delete_before_wraps(monkeypatch: pytest.MonkeyPatch, clinic: Backend, film: Pressed) -> None:
    """Let the recording be deleted after its row was read and before its wraps are."""
    original = recording_wraps.wraps_of

    async def wraps_of(connection: Any, recording_ids: Iterable[RecordingId]) -> Any:
        monkeypatch.setattr(recording_wraps, "wraps_of", original)
        assert (await clinic.send("DELETE", film.url)).status == 204
        return await original(connection, recording_ids)

    monkeypatch.setattr(recording_wraps, "wraps_of", wraps_of)


@pytest.mark.parametrize("path", ["/v1/recordings", "{film}", "{film}/poster.jpg"])
async def test_no_alarm(world: World, press: Press, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    clinic = await world.backend("clinic")
    film = await press.publish(clinic, "ann", sizes=PICTURE)
    ann = await clinic.sign_in("ann")
    delete_before_wraps(monkeypatch, clinic, film)
    await ann.get(path.format(film=film.url))
    assert world.metric("replayvault_key_mismatch_total") == 0
    assert (await ann.get(f"{film.url}/poster.jpg")).status == 404
    assert (await ann.json("/v1/recordings"))["recordings"] == []
