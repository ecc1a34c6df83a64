"""The main job, end to end, on each engine: upload, transcode, list, play."""

from __future__ import annotations

import asyncio
import json

import aiohttp
import pytest

from tests.media import Media
from tests.world import World


async def test_a_patient_lists_and_plays_what_the_clinic_uploaded(world: World, media: Media) -> None:
    clinic = await world.backend()
    recording = await clinic.upload("patient-a", media.path("vp8.webm"), title="Knee, follow-up")
    ann = await clinic.sign_in("patient-a")
    entries = (await ann.json("/v1/recordings"))["recordings"]
    assert [(entry["id"], entry["title"]) for entry in entries] == [(recording, "Knee, follow-up")]
    for name in ("master.m3u8", "360p.mp4", "audio.mp4", "replay.mp4", "poster.jpg", "thumbs.vtt"):
        answer = await ann.get(f"/v1/recordings/{recording}/{name}")
        assert answer.status == 200, (name, answer.body)


async def test_one_form_stores_a_recording_with_curl(world: World, media: Media) -> None:
    clinic = await world.backend()
    announcement = json.dumps({"patient": "p", "consultation": "c-1", "metadata": {"title": "In one go"}})
    curl = await asyncio.create_subprocess_exec(
        *("curl", "--silent", "--show-error", "--write-out", "\n%{http_code}", world.url + "/v1/recordings"),
        *("-H", f"Authorization: Bearer {clinic.token}"),
        *("-F", f"recording={announcement};type=application/json"),
        *("-F", f"source=@{media.path('audio.webm')};type=audio/webm"),
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await curl.communicate()
    body, code = output.decode().rsplit("\n", 1)
    assert code == "202", body
    status = await clinic.final(json.loads(body)["id"])
    assert (status["state"], status["source_size_bytes"]) == (
        "published",
        media.path("audio.webm").stat().st_size,
    )


@pytest.mark.parametrize(
    "parts",
    [
        [("source", "film"), ("recording", "{}")],
        [("recording", "{}")],
        [("recording", "not json"), ("source", "film")],
        [("recording", "x" * 70_000), ("source", "film")],
    ],
    ids=["wrong order", "no film", "not JSON", "too long"],
)
async def test_a_form_that_is_not_in_order_is_refused(world: World, parts: list[tuple[str, str]]) -> None:
    clinic = await world.backend()
    form = aiohttp.FormData()
    for name, value in parts:
        form.add_field(name, value, filename=f"{name}.bin")
    answer = await clinic.send("POST", "/v1/recordings", data=form)
    assert answer.status in {400, 413, 422}, answer.body
    assert (await clinic.json("/v1/recordings"))["recordings"] == []
