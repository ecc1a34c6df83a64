"""Foreign players: ffmpeg as an HLS client, and hls.js in headless Chromium through the page, on both engines."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, async_playwright, expect

from tests.journeys.playing import play, play_file
from tests.media import Media, ffmpeg
from tests.media.browser import chromium
from tests.world import App, World
from vault.app.desk import open_breaker

pytestmark = pytest.mark.asyncio(loop_scope="module")

LENGTH_S = 12.0
TITLE = "Knee, follow-up"
_SHORT_MS = 5_000.0
_LONG_MS = 20_000.0
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--mute-audio",
    "--autoplay-policy=no-user-gesture-required",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)


@dataclass(frozen=True, slots=True)
class Clinic:
    """Two patients with a recording each: hers has two rungs, his has sound only."""

    world: World
    ann: App
    hers: str
    ben: App
    his: str


@pytest.fixture(scope="module")
def large(media: Media, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording large enough for two rungs."""
    path = tmp_path_factory.mktemp("large") / "large.mp4"
    size = ("-vf", "scale=1280:720", "-c:v", "libx264", "-preset", "ultrafast", "-c:a", "copy")
    ffmpeg("-i", media.path("consultation.mp4"), "-t", str(LENGTH_S), *size, path)
    return path


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def clinic(each_world: World, media: Media, large: Path) -> Clinic:
    backend = await each_world.backend()
    about = {"title": TITLE, "clinician": "Dr Okafor", "consulted_at": "2026-03-04T10:30:00Z"}
    hers = await backend.upload("patient-a", large, **about)
    his = await backend.upload("patient-b", media.path("audio.webm"), title="Telephone call")
    ann, ben = await backend.sign_in("patient-a"), await backend.sign_in("patient-b")
    return Clinic(each_world, ann, hers, ben, his)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Browser]:
    home = str(tmp_path_factory.mktemp("chromium"))
    own: dict[str, str | float | bool] = {
        "HOME": home,
        "TMPDIR": home,
        "PATH": os.defpath,
        "LC_ALL": "C.UTF-8",
    }
    async with async_playwright() as playwright:
        started = await playwright.chromium.launch(
            executable_path=chromium(), args=list(_FLAGS), env=own, timeout=_LONG_MS
        )
        yield started
        await started.close()


@pytest_asyncio.fixture(loop_scope="module")
async def page(browser: Browser, clinic: Clinic) -> AsyncIterator[Page]:
    """A fresh browser profile on the page; what its scripts or its policy complain of fails the test."""
    context = await browser.new_context(viewport={"width": 1000, "height": 800}, locale="en-GB")
    opened = await context.new_page()
    opened.set_default_timeout(_SHORT_MS)
    complaints: list[str] = []
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("console", lambda line: complaints.append(line.text) if line.type == "error" else None)
    await opened.goto(f"{clinic.world.url}/")
    yield opened
    await context.close()
    # Chromium writes a line for each answer that is not 2xx; the page handles those.
    assert [line for line in complaints if "Failed to load resource" not in line] == []


async def _sign_in(page: Page, app: App) -> None:
    await page.get_by_label("Session").fill(app.token or "")
    await page.get_by_role("button", name="Sign in").click()


async def _now_s(page: Page) -> float:
    return float(await page.evaluate("document.getElementById('player').currentTime"))


async def _wait(page: Page, condition: str) -> None:
    """Wait until a condition on the video element `v` holds."""
    # A string would need eval, which the page's policy forbids.
    await page.wait_for_function(
        f"() => {{ const v = document.getElementById('player'); return {condition}; }}",
        timeout=_LONG_MS,
    )


async def _seek(page: Page, to_s: float) -> None:
    await page.evaluate("at => { document.getElementById('player').currentTime = at; }", to_s)
    await _wait(page, f"!v.seeking && v.readyState >= 3 && Math.abs(v.currentTime - {to_s}) < 1.5")


async def test_ffmpeg_decodes_every_rung_without_a_warning(clinic: Clinic) -> None:
    listed = await clinic.ann.json(f"/v1/recordings/{clinic.hers}")
    rungs = [name.removesuffix(".mp4") for name in listed["files"] if name.endswith("p.mp4")]
    assert len(rungs) >= 2
    for name in (*rungs, "audio"):
        decoded = await play_file(clinic.world, clinic.ann, clinic.hers, f"{name}.m3u8")
        assert (decoded.return_code, decoded.complaints) == (0, ""), name
        assert decoded.only.end_s == pytest.approx(LENGTH_S, abs=0.25), name
        assert decoded.only.kind == ("audio" if name == "audio" else "video")
        if name != "audio":
            assert len(decoded.only.frames) == pytest.approx(LENGTH_S * 30, abs=3), name
    master = await play_file(clinic.world, clinic.ann, clinic.hers, "master.m3u8")
    assert (master.return_code, master.complaints) == (0, "")
    assert len(master.of("video")) == len(rungs)
    assert {round(stream.end_s) for stream in master.streams.values()} == {round(LENGTH_S)}


async def test_ffmpeg_plays_by_a_ticket_and_no_header(clinic: Clinic) -> None:
    answer = await clinic.ann.send("POST", "/v1/tickets", json={"recording": clinic.hers})
    assert answer.status == 201, answer.body
    path = re.sub(r"^https?://[^/]+", "", answer.json["url"])
    decoded = await play(f"{clinic.world.url}{path}")
    assert (decoded.return_code, decoded.complaints) == (0, "")
    assert {round(stream.end_s) for stream in decoded.streams.values()} == {round(LENGTH_S)}


async def test_a_patient_signs_in_lists_plays_and_seeks(clinic: Clinic, page: Page, tmp_path: Path) -> None:
    await page.screenshot(path=tmp_path / "1-entrance.png")
    await _sign_in(page, clinic.ann)
    cards = page.locator("#cards .card")
    await expect(cards).to_have_count(1)
    await expect(cards.locator(".title")).to_have_text(TITLE)
    await expect(cards.locator(".facts")).to_contain_text("Dr Okafor")
    await expect(cards.locator(".length")).to_have_text("0:12")
    still = cards.locator("img")
    await expect(still).to_be_visible()
    await page.wait_for_function("() => document.querySelector('#cards img').naturalWidth >= 640")
    await page.screenshot(path=tmp_path / "2-library.png")
    await cards.click()
    await _wait(page, "v.currentTime > 1 && v.videoWidth > 0 && !v.paused")
    assert await page.evaluate("document.getElementById('player').poster.endsWith('/poster.jpg')")
    await page.screenshot(path=tmp_path / "3-theatre.png")
    await _seek(page, 9)
    await _wait(page, "v.currentTime > 9.5")
    await _seek(page, 2)
    await _wait(page, "v.currentTime > 2.5")
    assert await _now_s(page) < 7
    await _seek(page, LENGTH_S - 1.5)
    await _wait(page, "v.ended")
    assert await _now_s(page) == pytest.approx(LENGTH_S, abs=0.25)
    assert await page.evaluate("document.getElementById('player').error") is None
    await expect(page.locator("#theatre-notice")).to_be_hidden()
    await page.get_by_role("button", name="Close").click()
    await expect(page.locator("#theatre")).to_be_hidden()


async def test_the_movie_plays_as_a_plain_video(clinic: Clinic, page: Page) -> None:
    await _sign_in(page, clinic.ann)
    await expect(page.locator("#cards .card")).to_have_count(1)
    await page.evaluate(
        "at => { const v = document.getElementById('player'); v.muted = true; v.src = at; v.play(); }",
        f"/v1/recordings/{clinic.hers}/replay.mp4",
    )
    await _wait(page, "v.currentTime > 0.5 && v.videoWidth > 0")
    assert await page.evaluate("document.getElementById('player').duration") == pytest.approx(
        LENGTH_S, abs=0.25
    )
    await _seek(page, 8)
    await _seek(page, LENGTH_S - 1)
    await _wait(page, "v.ended")


async def test_a_recording_of_sound_only_plays(clinic: Clinic, page: Page, tmp_path: Path) -> None:
    await _sign_in(page, clinic.ben)
    await page.locator("#cards .card").click()
    await _wait(page, "v.currentTime > 1")
    await page.screenshot(path=tmp_path / "4-sound.png")
    await _seek(page, 6.5)
    await _wait(page, "v.ended")


async def test_a_wrong_session_shows_a_plain_sentence(page: Page, tmp_path: Path) -> None:
    await expect(page.locator("#entrance")).to_be_visible()
    await page.get_by_label("Session").fill("rvs_" + "A" * 43)
    await page.get_by_role("button", name="Sign in").click()
    fault = page.locator("#session-fault")
    await expect(fault).to_be_visible()
    await expect(fault).to_contain_text("does not open anything")
    await expect(page.locator("#library")).to_be_hidden()
    await page.screenshot(path=tmp_path / "5-wrong.png")
    await page.get_by_label("Session").fill("hello")
    await page.get_by_role("button", name="Sign in").click()
    await expect(fault).to_contain_text("should start with rvs_")


async def test_another_patient_sees_only_his_own(clinic: Clinic, page: Page) -> None:
    await _sign_in(page, clinic.ben)
    titles = page.locator("#cards .title")
    await expect(titles).to_have_text(["Telephone call"])
    asked = "async at => (await fetch(at)).status"
    assert await page.evaluate(asked, f"/v1/recordings/{clinic.hers}/master.m3u8") == 404
    assert await page.evaluate(asked, f"/v1/recordings/{clinic.his}/master.m3u8") == 200
    await page.get_by_role("button", name="Sign out").click()
    await expect(page.locator("#entrance")).to_be_visible()
    await expect(titles).to_have_count(0)
    assert await page.evaluate(asked, f"/v1/recordings/{clinic.his}/master.m3u8") == 401


async def test_the_browser_keeps_no_token_and_no_media(clinic: Clinic, page: Page) -> None:
    await _sign_in(page, clinic.ann)
    await page.locator("#cards .card").click()
    await _wait(page, "v.currentTime > 0.5")
    kept = "() => [document.cookie, localStorage.length, sessionStorage.length, location.search]"
    assert await page.evaluate(kept) == ["", 0, 0, ""]
    assert await asyncio.wait_for(page.evaluate("async () => (await caches.keys()).length"), 5) == 0


async def test_a_list_that_is_stopped_says_so_and_what_plays_goes_on(clinic: Clinic, page: Page) -> None:
    backend = await clinic.world.backend("clinic")
    await _sign_in(page, await backend.sign_in("patient-b"))
    await page.locator("#cards .card").click()
    await _wait(page, "v.currentTime > 0.5")
    await open_breaker(clinic.world.settings, reason="a test", warn=pytest.fail)
    try:
        await _seek(page, 6.5)
        await _wait(page, "v.ended")
        await page.reload()
        await expect(page.locator("#notice")).to_contain_text(
            "The list is stopped while an operator looks into"
        )
    finally:
        await clinic.world.close_breaker()
    await page.reload()
    await expect(page.locator("#cards .title")).to_have_text(["Telephone call"])
