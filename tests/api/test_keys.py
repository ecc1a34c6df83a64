"""Keys over HTTP: whose token may see and do what, on both engines, and what the audit log keeps of it."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from keys.service_token import HOUSE, ServiceScope
from tests.adversary.press import PICTURE, pressing
from tests.world import Answer, Backend, Engine, World, embedded_settings, open_world
from vault.api.keys import MOST_UNDER_WAY

NOBODY = "2f1d0c4e-8a57-4c1b-9b6e-0d6f5b1f7a21"


async def ask(backend: Backend, **body: Any) -> Answer:
    return await backend.send("POST", "/v1/keys/jobs", json=body)


async def do(backend: Backend, job: str, verb: str) -> Answer:
    return await backend.send("POST", f"/v1/keys/jobs/{job}/{verb}")


def not_now() -> str:
    """A part of the day that is half a day away."""
    hour = (dt.datetime.now(tz=dt.UTC).hour + 12) % 24
    return f"{hour:02}:00-{hour:02}:01"


async def ended(backend: Backend, job: str) -> Any:
    """The job once it is over."""
    async with asyncio.timeout(60):
        while True:
            found = await backend.json(f"/v1/keys/jobs/{job}")
            if found["state"] in {"done", "incomplete", "aborted"}:
                return found
            await asyncio.sleep(0.1)


async def test_a_token_sees_and_rotates_its_own_tenant_and_the_house_sees_all(world: World) -> None:
    clinic, other = await world.backend("clinic"), await world.backend("other")
    house = await world.backend(HOUSE, ServiceScope.KEYS)
    for backend, patient in ((clinic, "ann"), (clinic, "ben"), (other, "cleo")):
        await backend.announce(patient)

    counts = [
        sum(each["patient_keys"] for each in (await it.json("/v1/keys"))["master"])
        for it in (clinic, other, house)
    ]
    assert counts == [2, 1, 3]
    assert (await clinic.json("/v1/keys"))["patient"] == [{"state": "active", "keys": 2, "recordings": 2}]

    planned = await ask(clinic, kind="patient", dry_run=True)
    assert (planned.status, planned.json["would"]["patients"]) == (200, 2)
    assert (await house.json("/v1/keys/jobs"))["jobs"] == []
    asked = await ask(clinic, kind="patient", patient="ann", rate_per_s=50, hours="00:00-00:00")
    assert (asked.status, asked.json["tenant"], asked.json["patient"]) == (201, "clinic", "ann")
    job = asked.json["id"]
    done = await ended(clinic, job)
    assert (done["state"], done["done"], done["total"], done["errors"]) == ("done", 1, 1, [])
    assert {each["state"]: each["keys"] for each in (await clinic.json("/v1/keys"))["patient"]} == {
        "active": 2,
        "draining": 1,
    }

    await _another_tenant_s_job_is_not_there(other, job)
    await _what_concerns_all_needs_the_house(clinic, house)
    await asyncio.to_thread(_everything_is_on_record, world, clinic, job)


async def _another_tenant_s_job_is_not_there(other: Backend, job: str) -> None:
    assert (await other.json("/v1/keys/jobs"))["jobs"] == []
    absent = await other.get(f"/v1/keys/jobs/{NOBODY}")
    assert absent.status == 404
    for answer in (
        await other.get(f"/v1/keys/jobs/{job}"),
        await other.get("/v1/keys/jobs/x"),
        *[await do(other, job, verb) for verb in ("pause", "resume", "retry", "abort")],
    ):
        assert (answer.status, answer.body) == (404, absent.body)


async def _what_concerns_all_needs_the_house(clinic: Backend, house: Backend) -> None:
    for kind in ("master", "rewrap"):
        assert (await ask(clinic, kind=kind)).status == 403
        assert (await ask(clinic, kind=kind, dry_run=True)).status == 403
        assert (await ask(house, kind=kind, tenant="clinic")).status == 422
    assert (await ask(clinic, kind="patient", tenant="other")).status == 403
    assert (await ask(house, kind="patient", patient="ann")).status == 422
    assert (await ask(house, kind="patient", tenant="*")).status == 422
    rotated = await ask(house, kind="master")
    assert (rotated.status, rotated.json["tenant"]) == (201, None)
    job = rotated.json["id"]
    assert (await clinic.get(f"/v1/keys/jobs/{job}")).status == 404
    assert (await do(clinic, job, "pause")).status == 404
    assert (await ended(house, job))["state"] == "done"
    assert {each["version"] for each in (await clinic.json("/v1/keys"))["master"]} == {2}
    assert (await do(house, job, "retry")).json["code"] == "conflict"
    one = await ask(house, kind="patient", tenant="other", hours=not_now())
    assert (one.status, one.json["tenant"]) == (201, "other")


def _everything_is_on_record(world: World, clinic: Backend, job: str) -> None:
    entries = [each for each in world.audit() if each["action"] == "key.job"]
    own = [each for each in entries if job in each["note"] and each["decision"] == "allow"]
    assert [each["note"].split()[3] for each in own] == ["asked", "begins:", "done:"]
    assert len({each["actor"] for each in own}) == 1
    assert own[0]["actor"].startswith("service:")
    assert own[0]["patient"]
    assert "ann" not in str(entries)
    denied = [each for each in entries if each["decision"] == "deny"]
    assert {each["reason"] for each in denied} == {"NOT_YOURS"}
    assert len(denied) == 7
    assert clinic.token is not None
    assert clinic.token not in str(entries)


async def test_a_job_is_paused_resumed_and_aborted(world: World) -> None:
    clinic = await world.backend("clinic", ServiceScope.KEYS)
    job = (await ask(clinic, kind="patient", hours=not_now())).json["id"]
    assert (await ask(clinic, kind="patient")).json["code"] == "conflict"
    assert (await do(clinic, job, "pause")).json["state"] == "paused"
    assert (await do(clinic, job, "pause")).status == 409
    assert (await do(clinic, job, "resume")).json["state"] == "queued"
    assert (await do(clinic, job, "abort")).json["state"] == "aborted"
    assert (await do(clinic, job, "resume")).status == 409
    entries = await asyncio.to_thread(world.audit)
    notes = [each["note"] for each in entries if each["action"] == "key.job" and job in each["note"]]
    words = [note.split()[3].rstrip(":") for note in notes if "begins" not in note]
    assert words == ["asked", "pause", "resume", "abort"]


async def test_one_tenant_s_tool_cannot_fill_the_line(embedded: World) -> None:
    clinic = await embedded.backend("clinic", ServiceScope.KEYS)
    house = await embedded.backend(HOUSE, ServiceScope.KEYS)
    for number in range(MOST_UNDER_WAY):
        asked = await ask(clinic, kind="patient", patient=f"p-{number}", hours=not_now())
        assert asked.status == 201
    refused = await ask(clinic, kind="patient")
    assert (refused.status, refused.headers["Retry-After"]) == (429, "60")
    assert (await ask(clinic, kind="patient", dry_run=True)).status == 200
    assert (await ask(house, kind="patient", tenant="clinic")).status == 201
    assert (await do(clinic, asked.json["id"], "abort")).status == 200


async def test_what_is_not_understood_is_refused(embedded: World) -> None:
    clinic = await embedded.backend("clinic", ServiceScope.KEYS)
    for body in (
        {"kind": "nonsense"},
        {"kind": "patient", "hours": "22-06"},
        {"kind": "patient", "hours": "22:00-06:00\n"},
        {"kind": "patient", "rate_per_s": 0},
        {"kind": "patient", "rate_per_s": "NaN"},
        {"kind": "patient", "patient": "a b"},
        {"kind": "patient", "requested_by": "somebody"},
    ):
        assert (await ask(clinic, **body)).status == 422, body


async def test_scopes_and_the_house(world: World) -> None:
    nosy = await world.backend("clinic", ServiceScope.INGEST, ServiceScope.AUDIT)
    for path in ("/v1/keys", "/v1/keys/census", "/v1/keys/due", "/v1/keys/jobs"):
        assert (await nosy.get(path)).status == 403
        assert (await world.anyone.get(path)).status == 401
    # A row that somebody wrote by hand: a token of the house with every scope still opens nobody.
    forged = await world.backend(HOUSE)
    assert (await forged.get("/v1/recordings")).status == 403
    assert (await forged.send("POST", "/v1/sessions", json={"patient": "ann"})).status == 403
    assert (await forged.get("/v1/keys")).status == 200


async def test_the_census_names_what_is_wrong_and_due_tells_whose_it_is(world: World) -> None:
    clinic, other = await world.backend("clinic"), await world.backend("other")
    house = await world.backend(HOUSE, ServiceScope.KEYS)
    async with pressing(world) as press:
        film = await press.publish(clinic, "ann", sizes=PICTURE)
        await press.publish(other, "cleo", tenant="other", sizes=PICTURE)
        whole = await house.json("/v1/keys/census?sample=200")
        assert (whole["sample"]["looked_at"], whole["sample"]["wrong"]) == (6, 0)
        await press.store.delete([film.name("poster.jpg")])
    for backend, wrong in ((clinic, 1), (other, 0), (house, 1)):
        found = (await backend.json("/v1/keys/census"))["sample"]
        assert found["wrong"] == wrong
    assert found["objects"] == [{"object": str(film.name("poster.jpg")), "fault": "MISSING"}]
    assert (await clinic.json("/v1/keys/census?sample=0"))["sample"]["looked_at"] == 0
    assert (await clinic.get("/v1/keys/census?sample=201")).status == 400
    assert (await clinic.json("/v1/keys/due"))["master"] is None
    everybody = await house.json("/v1/keys/due")
    assert (everybody["master"]["is_due"], everybody["tier_secret"]["is_due"]) == (False, False)
    assert everybody["patient_keys"] == {"count": 0, "is_whole": True, "oldest_at": None}


@pytest.fixture
async def embedded(tmp_path: Path) -> AsyncIterator[World]:
    """For what does not depend on an engine."""
    async with open_world(Engine.EMBEDDED, embedded_settings(tmp_path)) as opened:
        yield opened
