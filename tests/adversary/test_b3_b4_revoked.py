"""B3 and B4: what was revoked ends at once on every server, and in mid-stream within five seconds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest

from tests.adversary.conftest import Scene
from tests.adversary.evidence import assert_constant
from tests.adversary.press import MIB, PICTURE
from tests.adversary.replica import StreamServer
from tests.world import App, Client
from vault.api.playback import PlaybackApi
from vault.playback import reader
from vault.playback.views import Views
from vault.sessions import admission
from vault.sessions.minting import Mint

Revoke = Callable[[Scene, App], Awaitable[Any]]


async def one_session(scene: Scene, app: App) -> Any:
    return await scene.clinic.send("DELETE", f"/v1/sessions/{app.session_id}")


async def all_of_the_patient(scene: Scene, _: App) -> Any:
    return await scene.clinic.send("DELETE", "/v1/sessions?patient=patient-a")


async def all_of_the_tenant(scene: Scene, _: App) -> Any:
    return await scene.clinic.send("DELETE", "/v1/sessions?all=true")


async def signed_out_by_header(_: Scene, app: App) -> Any:
    return await app.send("POST", "/v1/sign-out")


async def signed_out_by_cookie(scene: Scene, app: App) -> Any:
    cookie = {"Cookie": f"__Host-replayvault={app.token}"}
    return await scene.world.anyone.send("POST", "/v1/sign-out", headers=cookie)


WAYS: tuple[Revoke, ...] = (
    one_session,
    all_of_the_patient,
    all_of_the_tenant,
    signed_out_by_header,
    signed_out_by_cookie,
)


async def test_b3_at_once_on_another_replica(scene: Scene, subtests: pytest.Subtests) -> None:
    mine = await scene.press.publish(scene.clinic, "patient-a", sizes=PICTURE)
    server = StreamServer(scene.world)
    try:
        await asyncio.to_thread(server.start)
        for revoke in WAYS:
            app = await scene.clinic.sign_in("patient-a")
            asked = {"recording": str(mine.recording_id)}
            ticket = (await app.send("POST", "/v1/tickets", json=asked)).json["ticket"]
            paths: list[tuple[Client, str]] = [(app, "/v1/recordings"), (app, f"{mine.url}/poster.jpg")]
            paths.append((scene.world.anyone, f"/v1/t/{ticket}/poster.jpg"))
            for who, path in paths:
                assert (await who.send("GET", server.url + path)).status == 200
            with subtests.test(revoke.__name__):
                assert (await revoke(scene, app)).status in {200, 204}
                for who, path in paths:
                    assert_constant(await who.send("GET", server.url + path), status=401)
                    assert_constant(await who.send("GET", path), status=401)
                refreshed = await app.send("POST", "/v1/sessions/refresh", json={})
                assert_constant(refreshed, status=401)
    finally:
        await asyncio.to_thread(server.close)


async def test_b3_a_token_refreshed_before_the_revoke_ends_with_its_ancestor(scene: Scene) -> None:
    """Whoever stole a token refreshes it; the backend knows the id of the first one only."""
    mine = await scene.press.publish(scene.clinic, "patient-a", sizes=PICTURE)
    stolen: Client = scene.a
    for _ in range(3):
        answer = await stolen.send("POST", "/v1/sessions/refresh", json={})
        assert answer.status == 201
        stolen = Client(scene.world.http, answer.json["token"])
    asked = {"recording": str(mine.recording_id)}
    ticket = (await stolen.send("POST", "/v1/tickets", json=asked)).json["ticket"]
    assert (await stolen.get("/v1/recordings")).status == 200
    assert (await one_session(scene, scene.a)).status == 200
    assert_constant(await stolen.get("/v1/recordings"), status=401)
    assert_constant(await scene.world.anyone.get(f"/v1/t/{ticket}/poster.jpg"), status=401)


@pytest.mark.parametrize("revoke", [one_session, all_of_the_patient], ids=lambda way: way.__name__)
async def test_b3_a_refresh_that_races_with_the_revoke_leaves_nothing_alive(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, revoke: Revoke
) -> None:
    """The revoke comes after the refresh was admitted and before it mints."""
    mint = Mint.refresh

    async def late(self: Mint, holder: Any, **options: Any) -> Any:
        assert (await revoke(scene, scene.a)).status == 200
        return await mint(self, holder, **options)

    monkeypatch.setattr(Mint, "refresh", late)
    answer = await scene.a.send("POST", "/v1/sessions/refresh", json={})
    assert_constant(answer, status=401)
    living = await scene.clinic.json("/v1/sessions?patient=patient-a")
    assert living["sessions"] == []


async def test_b4_in_mid_stream(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow client; every window's start is on record. After the revoke none starts later than five seconds."""
    sizes = {"360p.mp4": 24 * MIB}
    mine = await scene.press.publish(scene.clinic, "patient-a", sizes=sizes)
    starts: list[float] = []
    checked = reader._checked

    async def timed(window: Any, watch: Any) -> bytes:
        data = await checked(window, watch)
        starts.append(time.monotonic())
        return data

    monkeypatch.setattr(reader, "_checked", timed)
    assert admission.RECHECK_S < 5
    connector = aiohttp.TCPConnector()
    async with aiohttp.ClientSession(connector=connector, read_bufsize=1 << 14) as http:
        headers = {"Authorization": f"Bearer {scene.a.token}"}
        async with http.get(f"{scene.world.url}{mine.url}/360p.mp4", headers=headers) as response:
            got, revoked_s = await slowly(scene, response, plain=mine.plain("360p.mp4"))
    assert starts[0] < revoked_s  # it was in mid-stream
    assert starts[-1] < revoked_s + 5
    assert len(got) < sizes["360p.mp4"]
    assert mine.plain("360p.mp4").startswith(got)
    sent = int(scene.world.metric("replayvault_streamed_bytes_total"))
    await views_of(scene).close_idle(all_of_them=True)
    (closed,) = await scene.evidence.audited(action="view.close", recording=str(mine.recording_id))
    assert len(got) <= closed["size_bytes"] == sent < sizes["360p.mp4"]


def views_of(scene: Scene) -> Views:
    """The views that the server counts."""
    owners = (getattr(route.handler, "__self__", None) for route in scene.world.served.routes)
    return next(owner for owner in owners if isinstance(owner, PlaybackApi)).sender.views


async def slowly(scene: Scene, response: aiohttp.ClientResponse, *, plain: bytes) -> tuple[bytes, float]:
    """Read about 1.5 MiB a second; revoke after one second; everything until the cut, and the time of the revoke."""
    got, began_s, revoked_s = bytearray(), time.monotonic(), 0.0
    try:
        while len(got) < len(plain):
            got += await response.content.read(1 << 16)
            await asyncio.sleep(0.04)
            if not revoked_s and time.monotonic() > began_s + 1:
                assert (await one_session(scene, scene.a)).status == 200
                revoked_s = time.monotonic()
    except aiohttp.ClientPayloadError:
        return bytes(got), revoked_s
    raise AssertionError("the stream went on to its end")
