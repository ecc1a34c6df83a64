"""E5: the reports say what the clients themselves counted."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from keys.notes import load_public_keys
from tests.adversary.conftest import EMBEDDED_ALONE, Scene
from tests.adversary.evidence import assert_constant
from tests.adversary.replica import program
from tests.adversary.test_b3_b4_revoked import views_of
from vault.audit.incident import incident
from vault.audit.testimony import gather
from vault.audit.verifying import verify
from vault.audit.viewing import Log, Span
from vault.audit.who_saw import who_saw
from vault.objects.anchors import AnchorName
from vault.objects.location import make_store

SIZES = {"360p.mp4": 3 * 16384 + 5, "poster.jpg": 600}


async def told(scene: Scene, *words: str) -> Any:
    """What a command says in JSON; the log is in order."""
    process = await asyncio.create_subprocess_exec(
        program(),
        "audit",
        *words,
        env={"PATH": "/usr/bin:/bin", "REPLAYVAULT_DATA_DIR": str(scene.world.settings.data_dir)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err
    return json.loads(out)


@EMBEDDED_ALONE
async def test_who_saw_it_is_what_the_clients_counted(scene: Scene) -> None:
    mine = await scene.press.publish(scene.clinic, "patient-a", sizes=SIZES)
    got: Counter[str] = Counter()
    for headers in ({}, {"Range": "bytes=0-99"}, {"Range": "bytes=-5000"}):
        answer = await scene.a.send("GET", f"{mine.url}/360p.mp4", headers=headers)
        got["a"] += len(answer.body)
    other = await scene.clinic.sign_in("patient-a")
    got["other"] += len((await other.get(f"{mine.url}/poster.jpg")).body)
    await other.json(mine.url)
    refused = 4
    for _ in range(refused):
        assert_constant(await scene.b.get(f"{mine.url}/360p.mp4"), status=404)
    ticket = (await scene.a.send("POST", "/v1/tickets", json={"recording": str(mine.recording_id)})).json
    got["ticket"] += len((await scene.world.anyone.get(f"/v1/t/{ticket['ticket']}/poster.jpg")).body)
    await views_of(scene).close_idle(all_of_them=True)

    said = await told(scene, "who-saw", str(mine.recording_id), "--json")
    sessions = {each["session"]: each for each in said["sessions"]}
    assert len(sessions) == 4
    assert sessions[scene.a.session_id]["views"] == 1
    assert sessions[scene.a.session_id]["bytes"] == got["a"]
    assert sessions[other.session_id]["bytes"] == got["other"]
    assert sessions[other.session_id]["details"] == 1
    b = sessions[scene.b.session_id]
    assert (b["views"], b["bytes"], b["denials"]) == (0, 0, {"NOT_YOURS": refused})
    (by_ticket,) = [each for each in said["sessions"] if each["actor"] == "ticket"]
    assert by_ticket["bytes"] == got["ticket"]
    assert [each["session"] for each in said["tickets"]] == [by_ticket["session"]]
    assert all(each["first"] <= each["last"] for each in said["sessions"])
    assert said["broken"] == []


@EMBEDDED_ALONE
async def test_an_incident_is_what_the_clients_counted(
    scene: Scene, without_checks: Callable[[], None]
) -> None:
    """A release lets every check say yes; B asks for three recordings of A."""
    theirs = [await scene.press.publish(scene.clinic, "patient-a", sizes=SIZES) for _ in range(3)]
    before = dt.datetime.now(dt.UTC)
    for each in theirs[:2]:
        assert (await scene.a.get(f"{each.url}/poster.jpg")).status == 200
    await views_of(scene).close_idle(all_of_them=True)
    await asyncio.sleep(0.01)
    since = dt.datetime.now(dt.UTC)
    without_checks()
    for number, each in enumerate(theirs, start=1):
        for _ in range(number):
            assert_constant(await scene.b.get(f"{each.url}/360p.mp4"), status=404)
    await asyncio.sleep(0.01)
    until = dt.datetime.now(dt.UTC)
    assert (await scene.a.get(f"{theirs[0].url}/poster.jpg")).status == 200
    await views_of(scene).close_idle(all_of_them=True)

    words = ("incident", "--since", since.isoformat(), "--until", until.isoformat(), "--json")
    said = await told(scene, *words, "--release", scene.world.settings.release)
    (session,) = said["sessions"]
    assert session["session"] == scene.b.session_id
    assert session["watched"] == {}
    expected = {str(each.recording_id): {"KEY_MISMATCH": n} for n, each in enumerate(theirs, start=1)}
    assert session["refused"] == expected
    (mismatch,) = said["mismatches"]
    assert (mismatch["count"], mismatch["place"]) == (6, "view.open")
    assert mismatch["release"] == scene.world.settings.release
    assert mismatch["count"] == scene.world.metric("replayvault_key_mismatch_total")
    owner = {each["recording"]: each["owner"] for each in said["affected"]}
    assert owner.keys() == expected.keys()
    # Of the third nobody ever watched anything: the log does not know whose it is.
    assert owner[str(theirs[0].recording_id)] == owner[str(theirs[1].recording_id)] is not None
    assert owner[str(theirs[2].recording_id)] is None
    assert len(said["patients"]) == 2
    assert (await told(scene, *words, "--release", "another"))["sessions"] == []

    folders: tuple[Path, ...] = (scene.world.settings.audit_folder,)
    everything = await asyncio.to_thread(incident, Log(folders), Span(before, None))
    assert everything.sessions[scene.a.session_id].views == 3
    assert everything.sessions[scene.a.session_id].watched == {
        str(theirs[0].recording_id): 1200,
        str(theirs[1].recording_id): 600,
    }
    assert (await asyncio.to_thread(who_saw, Log(folders), "none")).watchers == {}


async def test_the_log_of_a_running_house_is_anchored_in_its_store(scene: Scene) -> None:
    """On every engine: the anchor of the beginning stands within a second or two, and the log verifies."""
    settings = scene.world.settings
    (own,) = settings.audit_folder.glob("*-all-*.jsonl")
    async with contextlib.aclosing(make_store(settings.objects)) as store, asyncio.timeout(10):
        while not [name async for name in store.list_anchors(AnchorName) if name.writer == own.stem]:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
        keys = await asyncio.to_thread(load_public_keys, settings.audit_public)
        gathered = await gather([settings.audit_folder], {"store": store}, keys)
    verdicts = await asyncio.to_thread(lambda: list(verify([settings.audit_folder], gathered)))
    assert gathered.unread == []
    assert {verdict.writer: verdict.faults for verdict in verdicts}[own.stem] == []
    assert next(verdict for verdict in verdicts if verdict.writer == own.stem).anchored > 0
