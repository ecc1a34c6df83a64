"""Refreshing a session: what goes on, and what ends."""

from __future__ import annotations

import asyncio
import datetime as dt

import pytest

from tests.media import Media
from tests.world import App, Backend, World
from vault.sessions import minting


async def _cast(world: World, media: Media, monkeypatch: pytest.MonkeyPatch) -> tuple[Backend, App, App, str]:
    """A ticket from a session that was refreshed, after the old token's grace is over."""
    monkeypatch.setattr(minting, "GRACE", dt.timedelta(seconds=1))
    clinic = await world.backend()
    recording = await clinic.upload("patient-a", media.path("audio.webm"))
    old = await clinic.sign_in("patient-a")
    ticket = await old.send("POST", "/v1/tickets", json={"recording": recording, "ttl_s": 600})
    refreshed = await old.send("POST", "/v1/sessions/refresh", json={})
    assert (ticket.status, refreshed.status) == (201, 201)
    await asyncio.sleep(2.1)
    return clinic, old, App(world.http, refreshed.json["token"], refreshed.json["id"]), ticket.json["url"]


async def test_a_cast_goes_on_after_a_refresh_and_ends_with_a_revoke(
    world: World, media: Media, monkeypatch: pytest.MonkeyPatch
) -> None:
    clinic, old, new, cast = await _cast(world, media, monkeypatch)
    assert (await world.anyone.get(cast)).status == 200
    assert (await clinic.send("DELETE", f"/v1/sessions/{old.session_id}")).status == 200
    assert (await world.anyone.get(cast)).status == 401
    assert (await new.get("/v1/recordings")).status == 401


async def test_without_a_ticket_the_old_token_ends_after_its_grace(
    world: World, monkeypatch: pytest.MonkeyPatch, media: Media
) -> None:
    monkeypatch.setattr(minting, "GRACE", dt.timedelta(seconds=1))
    clinic = await world.backend()
    await clinic.upload("patient-a", media.path("audio.webm"))
    old = await clinic.sign_in("patient-a")
    refreshed = await old.send("POST", "/v1/sessions/refresh", json={})
    assert (await old.get("/v1/recordings")).status == 200
    await asyncio.sleep(2.1)
    assert (await old.get("/v1/recordings")).status == 401
    assert (await App(world.http, refreshed.json["token"]).get("/v1/recordings")).status == 200


async def test_signing_out_ends_the_cast(world: World, media: Media, monkeypatch: pytest.MonkeyPatch) -> None:
    _, old, _, cast = await _cast(world, media, monkeypatch)
    assert (await old.send("POST", "/v1/sign-out")).status == 204
    assert (await world.anyone.get(cast)).status == 401
