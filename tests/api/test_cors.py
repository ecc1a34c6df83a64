"""Cross-origin apps: named origins may read answers, others get nothing, cookies never travel."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.world import Engine, World, embedded_settings, open_world
from vault.settings import ServeSettings, SettingsError, load

APP = "https://app.example.org"


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[World]:
    given = embedded_settings(tmp_path) | {"cors_origins": f"{APP} http://localhost:3000"}
    async with open_world(Engine.EMBEDDED, given) as world:
        yield world


async def test_a_named_origin_may_ask_and_read(here: World) -> None:
    preflight = await here.anyone.send(
        "OPTIONS",
        "/v1/recordings",
        headers={"Origin": APP, "Access-Control-Request-Method": "GET"},
    )
    assert preflight.status == 204
    assert preflight.headers["Access-Control-Allow-Origin"] == APP
    assert "Range" in preflight.headers["Access-Control-Allow-Headers"]
    answer = await here.anyone.get("/v1/recordings", Origin=APP)
    assert answer.status == 401
    assert answer.headers["Access-Control-Allow-Origin"] == APP
    assert "Content-Range" in answer.headers["Access-Control-Expose-Headers"]
    assert "Access-Control-Allow-Credentials" not in answer.headers


@pytest.mark.parametrize("origin", ["https://app.example.org.evil.example", "null", "http://app.example.org"])
async def test_another_origin_gets_nothing(here: World, origin: str) -> None:
    preflight = await here.anyone.send(
        "OPTIONS",
        "/v1/recordings",
        headers={"Origin": origin, "Access-Control-Request-Method": "GET"},
    )
    assert preflight.status == 405
    answer = await here.anyone.get("/v1/recordings", Origin=origin)
    assert "Access-Control-Allow-Origin" not in preflight.headers
    assert "Access-Control-Allow-Origin" not in answer.headers
    assert answer.headers["Vary"] == "Origin"


@pytest.mark.parametrize(
    "origins", ["*", "app.example.org", "https://app.example.org/", "https://a.example *"]
)
def test_only_whole_origins_can_be_named(tmp_path: Path, origins: str) -> None:
    with pytest.raises(SettingsError, match="CORS_ORIGINS"):
        load(ServeSettings, {}, data_dir=tmp_path, cors_origins=origins)
