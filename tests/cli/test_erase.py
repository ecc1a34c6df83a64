"""What an operator does when a patient asks to be forgotten: request, look, cancel, hold, and the certificate."""

from __future__ import annotations

import json
import shutil
import sqlite3
import time
from pathlib import Path

import pytest

from tests.cli.conftest import Desk
from tests.cli.test_keys import digest
from tests.media import Media
from vault.app.databases import database_name
from vault.cli.exits import Exit

NOBODY = "2f1d0c4e-8a57-4c1b-9b6e-0d6f5b1f7a21"


@pytest.fixture(scope="module")
def stored(desk: Desk, media: Media) -> str:
    """A recording of a patient of this module's own."""
    words = ("--patient", "p-erase", "--consultation", "c-erase", "--title", "To be forgotten", "--json")
    done = desk.run("put", media.path("audio.webm"), *words)
    assert done.code == 0, done
    return str(done.json["id"])


def request(*more: str) -> list[str]:
    whose = ["--tenant", "clinic", "--patient", "p-erase", "--reason", "asked on 3 May"]
    return ["keys", "erase", "request", *whose, *more]


def test_a_request_can_be_looked_at_first_and_taken_back(desk: Desk, stored: str) -> None:
    del stored
    before = digest(desk)
    told = desk.invoke(*request("--dry-run", "--json")).json["would_erase"]
    assert (told["keys"], told["recordings"]) == (1, 1)
    assert told["objects"] >= 3
    assert digest(desk) == before
    assert desk.invoke(*request(), stdin="no\n").code == Exit.REFUSED
    asked = desk.invoke(*request("--json"), stdin="p-erase\n").json
    assert asked["state"] == "held"
    assert desk.invoke("keys", "erase", "certificate", asked["id"]).code == Exit.IN_PROGRESS
    assert desk.invoke(*request("--yes")).code == Exit.REFUSED
    refused = desk.invoke(
        "keys", "erase", "prove", asked["id"], "--catalog", str(desk.server.data / "catalog.sqlite")
    )
    assert refused.code == Exit.REFUSED
    assert asked["id"] in desk.invoke("keys", "erase", "status").out
    assert desk.invoke("keys", "erase", "cancel", asked["id"], "--json").json["state"] == "cancelled"
    assert desk.invoke("keys", "erase", "status", asked["id"], "--json").json["state"] == "cancelled"
    assert desk.invoke("keys", "erase", "cancel", asked["id"]).code == Exit.REFUSED


def test_a_legal_hold(desk: Desk, stored: str) -> None:
    del stored
    whose = ("--tenant", "clinic", "--patient", "p-erase")
    placed = desk.invoke("keys", "hold", "place", *whose, "--reason", "court order 12", "--json").json
    assert placed["placed_by"].startswith("operator:")
    assert desk.invoke("keys", "hold", "place", *whose, "--reason", "again").code == Exit.REFUSED
    assert [each["patient"] for each in desk.invoke("keys", "hold", "ls", "--json").json] == ["p-erase"]
    assert "court order 12" in desk.invoke("keys", "hold", "ls").out
    refused = desk.invoke(*request("--yes"))
    assert (refused.code, "legal hold" in refused.err) == (Exit.REFUSED, True)
    assert desk.invoke("keys", "hold", "lift", *whose, "--json").json == {"lifted": True}
    assert desk.invoke("keys", "hold", "lift", *whose).code == Exit.FAILED


def test_a_second_person_is_asked_for(desk: Desk, stored: str) -> None:
    del stored
    two = {"REPLAYVAULT_TWO_PERSONS": "true"}
    asked = desk.invoke(*request("--yes", "--json"), more=two).json
    assert asked["state"] == "requested"
    refused = desk.invoke("keys", "erase", "approve", asked["id"], more=two)
    assert (refused.code, "second person" in refused.err) == (Exit.REFUSED, True)
    assert desk.invoke("keys", "erase", "cancel", asked["id"]).code == Exit.OK


def test_a_patient_is_forgotten_and_a_backup_opens_nothing(desk: Desk, stored: str, tmp_path: Path) -> None:
    backup = tmp_path / "catalog.sqlite"
    with sqlite3.connect(desk.server.data / "catalog.sqlite") as live, sqlite3.connect(backup) as copy:
        live.backup(copy)
    asked = desk.run(*request("--hold", "0s", "--yes", "--json")).json
    until_s = time.monotonic() + 30
    while desk.invoke("keys", "erase", "status", asked["id"], "--json").json["state"] != "deleted":
        assert time.monotonic() < until_s
        time.sleep(0.3)
    proved = desk.run("keys", "erase", "prove", asked["id"], "--catalog", str(backup), "--json")
    assert proved.code == Exit.OK
    assert proved.json["tried"] | {"errors": None} == {
        "attempts": 1,
        "errors": None,
        "halves": 1,
        "halves_unwrapped": 1,
        "opened": 0,
        "wraps": 1,
    }
    waits = desk.invoke("keys", "erase", "certificate", asked["id"])
    assert (waits.code, waits.out) == (Exit.IN_PROGRESS, "")
    assert desk.invoke("recordings", "show", stored).code == Exit.FAILED
    again = desk.invoke("sessions", "open", "--patient", "p-erase")
    assert again.code == Exit.REFUSED
    found = desk.invoke("doctor", "--json").json["findings"]
    assert [each["verdict"] for each in found if each["name"] == "erased patients"] == ["ok"]
    # The backup in the place of the catalog: doctor names what the control role will do about it.
    house = tmp_path / "house"
    shutil.copytree(desk.server.data, house, ignore=shutil.ignore_patterns("valkey", "catalog.sqlite*"))
    shutil.copyfile(backup, house / "catalog.sqlite")
    found = desk.invoke("doctor", "--json", "--data-dir", str(house)).json["findings"]
    assert [each["verdict"] for each in found if each["name"] == "erased patients"] == ["wrong"]


def test_what_is_no_certificate_is_refused(desk: Desk, tmp_path: Path) -> None:
    for number, text in enumerate(("", "{}", json.dumps({"certificate": {}, "signature": ""}), "[1]")):
        file = tmp_path / f"{number}.json"
        file.write_text(text, encoding="utf-8")
        done = desk.invoke("keys", "erase", "verify", str(file))
        assert (done.code, "not a certificate" in done.err) == (Exit.PARTLY_FAILED, True)


@pytest.mark.parametrize("verb", ["status", "cancel", "approve", "certificate"])
def test_an_erasure_that_is_not_there(desk: Desk, verb: str) -> None:
    done = desk.invoke("keys", "erase", verb, NOBODY)
    assert (done.code, "keys erase status" in done.err) == (Exit.FAILED, True)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("postgresql+asyncpg://vault:secret@db.example:5432/old?password=secret", "old"),
        ("postgresql+asyncpg://vault:secret@db.example", ""),
        ("sqlite+aiosqlite:////secret/catalog.sqlite", "catalog.sqlite"),
    ],
)
def test_a_certificate_names_no_password_of_a_catalog(url: str, name: str) -> None:
    assert database_name(url) == name


def test_a_catalog_that_is_no_database(desk: Desk) -> None:
    refused = desk.invoke("keys", "erase", "prove", NOBODY, "--catalog", "://secret")
    assert (refused.code, "secret" in refused.err) == (Exit.USAGE, False)
