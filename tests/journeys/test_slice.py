"""The main job, end to end, on each engine: upload, transcode, list, play."""

from __future__ import annotations

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
