"""Leaks and single recordings over HTTP: whose token may declare and answer what, step by step, on both engines."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

from sqlalchemy import update

from keys.database import Database
from keys.service_token import HOUSE, ServiceScope
from tests.adversary.press import PICTURE, pressing
from tests.api.test_keys import NOBODY, ask, do, ended, not_now
from tests.world import Answer, Backend, World
from vault.api.leaks import MOST_UNANSWERED
from vault.catalog.key_job_states import JobState
from vault.catalog.tables import key_jobs

LEAKS = "/v1/keys/compromises"


async def declare(backend: Backend, leak: str, **body: Any) -> Answer:
    return await backend.send("POST", LEAKS, json={"leak": leak, "reason": "ticket 4711", **body})


async def go_on(backend: Backend, leak_id: str) -> Answer:
    return await backend.send("POST", f"{LEAKS}/{leak_id}/next")


def states(plan: Any) -> dict[str, str]:
    return {each["step"]: each["state"] for each in plan["steps"]}


async def token_id(backend: Backend) -> str:
    """The id of a backend's own token, as the leaks that it declares have it."""
    made = (await declare(backend, "patient", patient="ann")).json["declared_by"]
    return str(made).removeprefix("service:")


async def test_a_tenant_answers_a_leak_of_its_own_patient(world: World) -> None:
    clinic, other = await world.backend("clinic"), await world.backend("other")
    async with pressing(world) as press:
        film = await press.publish(clinic, "ann", sizes=PICTURE)
    app = await clinic.sign_in("ann")
    drafted = await declare(clinic, "patient", patient="ann", dry_run=True)
    assert (drafted.status, (await clinic.json(LEAKS))["compromises"]) == (200, [])
    declared = await declare(clinic, "patient", patient="ann")
    assert (declared.status, declared.json["tenant"]) == (201, "clinic")
    leak = declared.json["id"]
    assert states(declared.json) == states(drafted.json)
    assert states(declared.json)["end-sessions"] == "to do"
    assert (await go_on(clinic, leak)).json["steps"][0]["state"] == "done"
    assert (await app.get("/v1/recordings")).status == 401

    rotating = (await asyncio.gather(*[go_on(clinic, leak) for _ in range(6)]))[0]
    job = rotating.json["steps"][1]["job"]
    assert len((await clinic.json("/v1/keys/jobs"))["jobs"]) == 1
    await ended(clinic, job)
    sealing = await go_on(clinic, leak)
    assert (sealing.status, states(sealing.json)["rotate-patients"]) == (200, "done")
    await ended(clinic, sealing.json["steps"][2]["job"])
    over = await go_on(clinic, leak)
    assert over.json["answered_at"] is not None
    assert (await go_on(clinic, leak)).json == over.json == await clinic.json(f"{LEAKS}/{leak}")
    fresh = await clinic.sign_in("ann")
    assert (await fresh.get(f"{film.url}/poster.jpg")).status == 200
    assert (await other.json(LEAKS))["compromises"] == []

    entries = await asyncio.to_thread(world.audit)
    told = [each for each in entries if each["action"].startswith("compromise.")]
    assert [each["note"].rsplit(": ", 1)[1] for each in told] == [
        "ticket 4711",
        "end-sessions",
        "rotate-patients",
        "reencrypt",
    ]
    assert {each["actor"] for each in told} == {declared.json["declared_by"]}
    assert all(each["request"] for each in told)


async def test_what_is_another_tenant_s_is_not_there(world: World) -> None:
    clinic, other = await world.backend("clinic"), await world.backend("other")
    recording = (await clinic.announce("ann"))["id"]
    theirs = await token_id(clinic)
    leak = (await declare(clinic, "recording", recording=recording)).json["id"]
    job = (await ask(clinic, kind="reencrypt", recording=recording, hours=not_now())).json["id"]
    absent = (await other.get(f"{LEAKS}/{NOBODY}")).body
    refused = {
        "a recording's job": await ask(other, kind="reencrypt", recording=recording),
        "its plan": await ask(other, kind="reencrypt", recording=recording, dry_run=True),
        "the job": await other.get(f"/v1/keys/jobs/{job}"),
        "a recording's leak": await declare(other, "recording", recording=recording),
        "a draft of it": await declare(other, "recording", recording=recording, dry_run=True),
        "a token's leak": await declare(other, "token", token_id=theirs),
        "the plan": await other.get(f"{LEAKS}/{leak}"),
        "the next step": await go_on(other, leak),
    }
    assert {name: (each.status, each.body) for name, each in refused.items()} == dict.fromkeys(
        refused, (404, absent)
    )
    entries = await asyncio.to_thread(world.audit)
    assert len([each for each in entries if each["reason"] == "NOT_YOURS"]) == len(refused)
    for answer in (
        await ask(other, kind="reencrypt", recording=NOBODY),
        await declare(other, "recording", recording=NOBODY),
        await declare(other, "token", token_id=NOBODY),
        await declare(other, "patient", patient="ann"),
    ):
        assert (answer.status, answer.body) == (404, absent)
    assert (await declare(other, "patient", tenant="clinic", patient="ann")).status == 403
    assert states(await clinic.json(f"{LEAKS}/{leak}"))["reencrypt"] == "to do"


async def test_what_concerns_every_tenant_needs_the_house(world: World) -> None:
    clinic = await world.backend("clinic")
    house = await world.backend(HOUSE, ServiceScope.KEYS)
    await clinic.announce("ann")
    for leak, body in (("master", {"version": 1}), ("vault", {}), ("tier", {})):
        for more in ({}, {"dry_run": True}):
            assert (await declare(clinic, leak, **body, **more)).status == 403
        declared = await declare(house, leak, **body)
        assert declared.status == 201
        assert (await clinic.get(f"{LEAKS}/{declared.json['id']}")).status == 404
        assert (await go_on(clinic, declared.json["id"])).status == 404
    early = await go_on(house, declared.json["id"])
    assert (early.status, "tier secret" in early.json["detail"]) == (409, True)
    assert (await clinic.json(LEAKS))["compromises"] == []
    assert (await clinic.get("/v1/keys/tier-secret")).status == 403
    secret = (await house.json("/v1/keys/tier-secret"))["secrets"][0]
    path = "/v1/keys/tier-secret/rotate"
    assert (await clinic.send("POST", path, json={"secret": secret})).status == 403


async def test_a_step_whose_job_stopped_is_a_conflict(world: World) -> None:
    clinic = await world.backend("clinic")
    await clinic.announce("ann")
    busy = (await ask(clinic, kind="patient", patient="ann", hours=not_now())).json["id"]
    leak = (await declare(clinic, "patient", patient="ann")).json["id"]
    assert (await go_on(clinic, leak)).status == 200
    assert (await go_on(clinic, leak)).json["code"] == "conflict"
    await do(clinic, busy, "abort")
    job = (await go_on(clinic, leak)).json["steps"][1]["job"]
    assert (await ended(clinic, job))["state"] == "done"
    async with pressing(world) as press:
        for state, says in (("paused", "is paused"), ("incomplete", "failed"), ("awaiting", "an approval")):
            await mark(press.catalog, job, state)
            stopped = await go_on(clinic, leak)
            assert (stopped.status, says in stopped.json["detail"]) == (409, True)
            assert states(await clinic.json(f"{LEAKS}/{leak}"))["reencrypt"] == "to do"
        await mark(press.catalog, job, "done")
    assert states((await go_on(clinic, leak)).json)["rotate-patients"] == "done"


async def mark(catalog: Database, job: str, state: str) -> None:
    """Say that a job is in a state, whatever became of it."""
    async with catalog.writing() as connection:
        await connection.execute(
            update(key_jobs).where(key_jobs.c.id == uuid.UUID(job)).values(state=JobState(state).value)
        )


async def test_a_tenant_leaves_no_more_leaks_unanswered_than_the_line_holds(world: World) -> None:
    clinic, other = await world.backend("clinic"), await world.backend("other")
    await clinic.announce("ann")
    await other.announce("ben")
    for _ in range(MOST_UNANSWERED):
        declared = await declare(clinic, "patient", patient="ann")
        assert declared.status == 201
    refused = await declare(clinic, "patient", patient="ann")
    assert (refused.status, "Retry-After" in refused.headers) == (429, True)
    assert len((await clinic.json(LEAKS))["compromises"]) == MOST_UNANSWERED
    assert (await declare(clinic, "patient", patient="ann", dry_run=True)).status == 200
    assert (await declare(other, "patient", patient="ben")).status == 201


async def test_one_recording_is_encrypted_anew(world: World) -> None:
    clinic = await world.backend("clinic")
    async with pressing(world) as press:
        film = await press.publish(clinic, "ann", sizes=PICTURE)
        await press.publish(clinic, "ann", sizes=PICTURE)
    recording = str(film.recording_id)
    planned = await ask(clinic, kind="reencrypt", recording=recording, dry_run=True)
    assert planned.json["would"]["recordings"] == 1
    asked = await ask(clinic, kind="reencrypt", recording=recording, grace_s=0)
    assert (asked.status, asked.json["tenant"], asked.json["recording"]) == (201, "clinic", recording)
    assert asked.json["options"] == {"grace_s": 0}
    done = await ended(clinic, asked.json["id"])
    assert (done["state"], done["done"]) == ("done", 1)
    for body in (
        {"kind": "patient", "recording": recording},
        {"kind": "patient", "grace_s": 5},
        {"kind": "reencrypt", "recording": recording, "patient": "ann"},
        {"kind": "reencrypt", "recording": recording, "tenant": "clinic"},
        {"kind": "reencrypt", "recording": "x"},
    ):
        assert (await ask(clinic, **body)).status == 422, body


async def test_a_leak_that_is_not_understood(world: World) -> None:
    clinic = await world.backend("clinic", ServiceScope.KEYS)
    bodies: tuple[tuple[str, dict[str, Any]], ...] = (
        ("patient", {}),
        ("recording", {}),
        ("recording", {"recording": NOBODY, "patient": "ann"}),
        ("token", {"version": 1}),
        ("patient", {"patient": "ann", "reason": "two\nlines"}),
        ("nonsense", {}),
    )
    for leak, body in bodies:
        assert (await declare(clinic, leak, **body)).status == 422, body


async def test_a_leaked_token_is_revoked(world: World) -> None:
    clinic, mate = await world.backend("clinic"), await world.backend("clinic")
    await clinic.announce("ann")
    leak = (await declare(mate, "token", token_id=await token_id(clinic))).json["id"]
    assert states((await go_on(mate, leak)).json)["revoke-token"] == "done"
    assert (await clinic.get(LEAKS)).status == 401
    assert (await go_on(mate, leak)).status == 200
    assert (await go_on(mate, leak)).json["answered_at"] is not None
