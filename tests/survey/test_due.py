"""What is due, and whose: keys by their age, tokens by their end, patients by their class."""

from __future__ import annotations

import datetime as dt
import os
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from keys.database import Database
from keys.ids import parse_patient, parse_tenant
from keys.master.local import create_master_file, load_master_file
from keys.service_token import ServiceScope, ServiceTokenHash
from keys.tier import create_tier_file
from tests.catalog.rows import NOW, TENANT, add_recording
from tests.rotation.room import Room
from vault.catalog import recordings, retention, service_tokens
from vault.catalog.errors import UnknownClass, UnknownPatient
from vault.catalog.key_jobs import JobKind
from vault.catalog.retention import RetentionClass
from vault.catalog.service_tokens import ServiceTokenRow
from vault.catalog.states import RecordingState
from vault.survey import due as survey
from vault.survey.due import Bounds, Periods, Surveyor

DAY = dt.timedelta(days=1)
OTHER = parse_tenant("other")


@pytest.fixture
async def room(catalog: Database, shares: Database, tmp_path: Path) -> AsyncIterator[Room]:
    """Empty, with a master key in a file."""
    create_master_file(tmp_path / "master.key")
    opened = await Room.open(
        catalog, shares, tmp_path / "audit", master=load_master_file(tmp_path / "master.key")
    )
    yield opened
    await opened.audit.aclose()


@pytest.fixture
def surveyor(room: Room, tmp_path: Path) -> Surveyor:
    """Looks at the room."""
    create_tier_file(tmp_path / "tier.secret")
    for name in ("master.key", "tier.secret"):
        os.utime(tmp_path / name, (NOW.timestamp(), NOW.timestamp()))
    return Surveyor(room.catalog, room.strongroom.master, tmp_path / "tier.secret")


async def test_nothing_is_due_in_a_new_house(room: Room, surveyor: Surveyor) -> None:
    await room.patient("ann", recordings=1)
    found = await surveyor.due(now=NOW + DAY)
    assert found["master"] | {"key": ""} == {
        "provider": "local",
        "key": "",
        "version": 1,
        "made_at": NOW,
        "is_due": False,
        "patient_keys_elsewhere": 0,
    }
    assert found["tier_secret"] == {"made_at": NOW, "is_due": False}
    nothing = {"count": 0, "is_whole": True, "oldest_at": None}
    assert (found["patient_keys"], found["drained"]) == (nothing, nothing)
    assert (found["tokens"], found["erasures_proposed"], found["erasures_whole"]) == ([], [], True)


async def test_keys_become_due_with_time_and_are_not_when_they_were_rotated(
    room: Room, surveyor: Surveyor, tmp_path: Path
) -> None:
    for name in ("ann", "ben"):
        await room.patient(name, recordings=1)
    year = await surveyor.due(now=NOW + 366 * DAY)
    assert (year["master"]["is_due"], year["tier_secret"]["is_due"]) == (True, True)
    assert year["patient_keys"]["count"] == 0
    later = await surveyor.due(now=NOW + 731 * DAY)
    assert (later["patient_keys"]["count"], later["patient_keys"]["oldest_at"]) == (2, room.at)
    assert (await surveyor.due(now=NOW + 731 * DAY, tenant=OTHER))["patient_keys"]["count"] == 0
    strict = await surveyor.due(now=NOW + 8 * DAY, periods=Periods(patient=7 * DAY, master=7 * DAY))
    assert (strict["patient_keys"]["count"], strict["master"]["is_due"]) == (2, True)

    room.at += 700 * DAY
    await room.ask(JobKind.PATIENT, tenant=TENANT, patient=parse_patient("ann"))
    await room.runner().once()
    assert await room.states("ann") == ["draining", "active"]
    found = await surveyor.due(now=NOW + 731 * DAY)
    assert (found["patient_keys"]["count"], found["drained"]["count"]) == (1, 1)
    assert found["drained"]["oldest_at"] == room.at
    await room.strongroom.master.rotate()
    os.utime(tmp_path / "master.key", (room.at.timestamp(), room.at.timestamp()))
    rotated = await surveyor.due(now=NOW + 731 * DAY)
    assert (rotated["master"]["version"], rotated["master"]["is_due"]) == (2, False)
    assert rotated["master"]["patient_keys_elsewhere"] == 3
    (tmp_path / "tier.secret").unlink()
    assert (await surveyor.due(now=NOW))["tier_secret"] == {"made_at": None, "is_due": False}


async def test_tokens_that_end_soon_are_named(surveyor: Surveyor) -> None:
    ends = {"over": -DAY, "soon": DAY, "later": 31 * DAY, "never": None, "revoked": DAY}
    for name, after in ends.items():
        await _token(surveyor.catalog, name, None if after is None else NOW + after)
    async with surveyor.catalog.writing() as connection:
        every = await service_tokens.every(connection)
        revoked = next(each.token_id for each in every if each.name == "revoked")
        await service_tokens.revoke(connection, revoked, now=NOW)
    found = await surveyor.due(now=NOW)
    assert [(each["name"], each["expires_at"]) for each in found["tokens"]] == [("soon", NOW + DAY)]
    assert (await surveyor.due(now=NOW, tenant=OTHER))["tokens"] == []
    patient = await surveyor.due(now=NOW, periods=Periods(token_notice=40 * DAY))
    assert [each["name"] for each in patient["tokens"]] == ["soon", "later"]


async def test_patients_past_their_retention_are_proposed(
    surveyor: Surveyor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(survey, "_PAGE", 2)
    catalog = surveyor.catalog
    for name, ages in {
        "old": [400, 500],
        "fresh": [400, 10],
        "deleted": [],
        "empty": [],
        "child": [400],
        "short": [40],
    }.items():
        await _patient(catalog, name, ages)
    await _recording(catalog, "deleted", 400, RecordingState.DELETED)
    await _patient(catalog, "elsewhere", [4000], tenant=OTHER)
    assert await _proposed(surveyor) == []  # nobody said how long

    async with catalog.writing() as connection:
        await retention.set_class(connection, RetentionClass(TENANT, "adults", 9999, is_default=True))
        await retention.set_class(connection, RetentionClass(TENANT, "usual", 365, is_default=True))
        await retention.set_class(connection, RetentionClass(TENANT, "children", 3650, is_default=False))
        await retention.set_class(connection, RetentionClass(TENANT, "brief", 60, is_default=False))
        await retention.set_class(connection, RetentionClass(TENANT, "brief", 30, is_default=False))
        await retention.assign(connection, TENANT, parse_patient("child"), "children")
        await retention.assign(connection, TENANT, parse_patient("short"), "brief")
        kept = await retention.classes(connection, tenant=TENANT)
        assert [(each.name, each.keep_days) for each in kept if each.is_default] == [("usual", 365)]
        with pytest.raises(UnknownClass):
            await retention.assign(connection, TENANT, parse_patient("child"), "none")
        with pytest.raises(UnknownPatient):
            await retention.assign(connection, TENANT, parse_patient("nobody"), "brief")
        with pytest.raises(UnknownClass):
            await retention.assign(connection, OTHER, parse_patient("elsewhere"), "brief")

    assert await _proposed(surveyor) == [("old", "usual"), ("short", "brief")]
    assert await _proposed(surveyor, tenant=OTHER) == []
    assert (await surveyor.due(now=NOW))["erasures_proposed"][0]["newest_at"] == NOW - 400 * DAY
    few = await surveyor.due(now=NOW, bounds=Bounds(named=1))
    assert (len(few["erasures_proposed"]), few["erasures_whole"]) == (1, False)
    one_page = await surveyor.due(now=NOW, bounds=Bounds(pages=1))
    assert (one_page["erasures_proposed"], one_page["erasures_whole"]) == ([], False)

    async with catalog.writing() as connection:
        await retention.assign(connection, TENANT, parse_patient("child"), None)
    assert await _proposed(surveyor) == [("child", "usual"), ("old", "usual"), ("short", "brief")]


async def _proposed(surveyor: Surveyor, **narrowed: Any) -> list[tuple[str, str]]:
    found = await surveyor.due(now=NOW, **narrowed)
    return [(each["patient"], each["class"]) for each in found["erasures_proposed"]]


async def _patient(catalog: Database, name: str, ages: list[int], **whose: Any) -> None:
    async with catalog.writing() as connection:
        await recordings.ensure_patient(connection, whose.get("tenant", TENANT), parse_patient(name), now=NOW)
    for age in ages:
        await _recording(catalog, name, age, **whose)


async def _recording(
    catalog: Database, name: str, age: int, state: RecordingState = RecordingState.PUBLISHED, **whose: Any
) -> None:
    await add_recording(catalog, state, patient=parse_patient(name), created_at=NOW - age * DAY, **whose)


async def _token(catalog: Database, name: str, expires_at: dt.datetime | None) -> None:
    row = ServiceTokenRow(
        token_id=uuid.uuid4(),
        tenant=TENANT,
        name=name,
        scopes=frozenset({ServiceScope.INGEST}),
        created_at=NOW,
        expires_at=expires_at,
        revoked_at=None,
    )
    async with catalog.writing() as connection:
        await service_tokens.add(connection, row, ServiceTokenHash(os.urandom(32)))
