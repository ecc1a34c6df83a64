"""Erasures over HTTP: whose token may ask for, see, approve and cancel which, and the certificate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from keys.service_token import HOUSE, ServiceScope
from tests.adversary.press import PICTURE, pressing
from tests.world import Answer, Backend, Engine, World, embedded_settings, open_world

NOBODY = "2f1d0c4e-8a57-4c1b-9b6e-0d6f5b1f7a21"


async def ask(backend: Backend, patient: str, **more: Any) -> Answer:
    body = {"patient": patient, "reason": "asked on 3 May", **more}
    return await backend.send("POST", "/v1/keys/erasures", json=body)


async def do(backend: Backend, erasure: str, verb: str) -> Answer:
    return await backend.send("POST", f"/v1/keys/erasures/{erasure}/{verb}")


async def approve(backend: Backend, job: str) -> Answer:
    return await backend.send("POST", f"/v1/keys/jobs/{job}/approve")


async def test_every_kind_that_can_be_asked_for_can_be_planned(world: World) -> None:
    clinic = await world.backend("clinic")
    await clinic.announce("ann")
    for kind in ("patient", "retire", "reencrypt"):
        told = await clinic.send("POST", "/v1/keys/jobs", json={"kind": kind, "dry_run": True})
        assert (told.status, told.json["kind"]) == (200, kind)
    refused = await clinic.send("POST", "/v1/keys/jobs", json={"kind": "retire-master"})
    assert (refused.status, refused.json["code"]) == (422, "invalid-body")


async def test_a_token_decides_about_its_own_tenant_s_patients(world: World) -> None:
    clinic, other = await world.backend("clinic"), await world.backend("other")
    house = await world.backend(HOUSE, ServiceScope.KEYS)
    weak = await world.backend("clinic", ServiceScope.INGEST)
    async with pressing(world) as press:
        film = await press.publish(clinic, "ann", sizes=PICTURE)
    app = await clinic.sign_in("ann")
    assert (await ask(weak, "ann")).status == 403
    assert (await ask(clinic, "nobody")).status == 404
    assert (await ask(other, "ann", tenant="clinic")).status == 403
    assert (await ask(house, "ann")).status == 422
    assert (await ask(clinic, "ann", reason="two\nlines")).status == 422
    asked = await ask(clinic, "ann", hold_s=3600)
    assert (asked.status, asked.json["state"]) == (201, "held")
    assert asked.json["requested_by"].startswith("service:")
    erasure = asked.json["id"]
    twice = await ask(clinic, "ann")
    assert (twice.status, twice.json["code"]) == (409, "conflict")
    assert "clinic" not in twice.json.get("detail", "")
    for backend, seen in ((clinic, [erasure]), (other, []), (house, [erasure])):
        listed = (await backend.json("/v1/keys/erasures"))["erasures"]
        assert [each["id"] for each in listed] == seen
    for path in (f"/v1/keys/erasures/{erasure}", f"/v1/keys/erasures/{NOBODY}"):
        assert (await other.get(path)).status == 404
    assert (await do(other, erasure, "cancel")).status == 404
    early = await clinic.get(f"/v1/keys/erasures/{erasure}/certificate")
    assert (early.status, early.json["code"]) == (409, "not-ready")
    assert (await do(clinic, erasure, "approve")).status == 409
    assert (await do(house, erasure, "cancel")).json["state"] == "cancelled"
    assert (await do(clinic, erasure, "cancel")).status == 409
    assert (await app.get(f"{film.url}/poster.jpg")).status == 200


async def lift(backend: Backend) -> Answer:
    return await backend.send("POST", "/v1/keys/holds/lift", json={"patient": "ann"})


async def test_legal_holds(world: World) -> None:
    clinic, other = await world.backend("clinic"), await world.backend("other")
    await clinic.announce("ann")
    placed = await clinic.send("POST", "/v1/keys/holds", json={"patient": "ann", "reason": "court order 12"})
    assert (placed.status, placed.json["tenant"]) == (201, "clinic")
    refused = await ask(clinic, "ann")
    assert (refused.status, refused.json["code"]) == (409, "conflict")
    assert [each["patient"] for each in (await clinic.json("/v1/keys/holds"))["holds"]] == ["ann"]
    assert (await other.json("/v1/keys/holds"))["holds"] == []
    assert (await lift(other)).status == 404
    assert (await lift(clinic)).status == 204
    assert (await lift(clinic)).status == 404
    assert (await ask(clinic, "ann")).status == 201


async def test_two_tokens_are_two_persons(tmp_path: Path) -> None:
    settings = {**embedded_settings(tmp_path / "data"), "two_persons": True}
    async with open_world(Engine.EMBEDDED, settings) as world:
        clinic, colleague = await world.backend("clinic"), await world.backend("clinic")
        await clinic.announce("ann")
        erasure = (await ask(clinic, "ann", hold_s=3600)).json["id"]
        assert (await clinic.json(f"/v1/keys/erasures/{erasure}"))["state"] == "requested"
        alone = await do(clinic, erasure, "approve")
        assert (alone.status, alone.json["code"]) == (409, "conflict")
        agreed = await do(colleague, erasure, "approve")
        assert (agreed.status, agreed.json["state"]) == (200, "held")
        assert agreed.json["approved_by"] not in {None, agreed.json["requested_by"]}
        job = await clinic.send("POST", "/v1/keys/jobs", json={"kind": "retire"})
        assert (job.status, job.json["state"]) == (201, "awaiting")
        assert (await approve(clinic, job.json["id"])).json["code"] == "conflict"
        approved = await approve(colleague, job.json["id"])
        assert (approved.status, approved.json["state"]) == (200, "queued")
        assert (await approve(colleague, job.json["id"])).status == 409
        noted = [entry["actor"] for entry in world.audit() if entry["action"].startswith("erase.")]
        assert len(set(noted)) == 2
