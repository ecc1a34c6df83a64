"""`replayvault audit`: verified while the service runs, and what is said where something is away."""

from __future__ import annotations

import json
import re
import stat
from pathlib import Path

import pytest

from tests.cli.conftest import Desk
from vault.cli.exits import Exit


def test_a_running_service_verifies(desk: Desk, recording: str) -> None:
    del recording
    done = desk.run("audit", "verify", "--json")
    assert done.code == Exit.OK, done.err
    assert done.json["ok"] is True
    states = {each["writer"].split("-")[1]: each for each in done.json["writers"]}
    assert states["operator"]["state"] == "anchored"
    assert states["all"]["anchored"] >= 1
    assert not states["all"]["closed"]
    people = desk.run("audit", "verify")
    assert people.code == Exit.OK
    assert "anchored" in people.out


def test_public_keys_are_printed_and_verify(desk: Desk, tmp_path: Path) -> None:
    keys = tmp_path / "keys.pub"
    keys.write_text(desk.invoke("audit", "public-key").out, encoding="ascii")
    assert re.fullmatch(r"replayvault-audit\+[0-9a-f]{8}\+\S{44}\n", keys.read_text(encoding="ascii"))
    assert desk.invoke("audit", "public-key", "--json").json == {"public_keys": [keys.read_text().strip()]}
    assert desk.invoke("audit", "verify", "--public-key", keys).code == Exit.OK
    other = "replayvault-audit+eb1f54f4+AQECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g\n"
    keys.write_text(other, encoding="ascii")
    done = desk.invoke("audit", "verify", "--public-key", keys)
    assert done.code in {Exit.USAGE, Exit.PARTLY_FAILED}
    assert desk.invoke("audit", "verify", "--public-key", tmp_path / "none").code == Exit.USAGE


def test_a_place_that_cannot_be_asked_is_told(desk: Desk, tmp_path: Path) -> None:
    more = {"REPLAYVAULT_AUDIT_ANCHOR_DIR": str(tmp_path / "not-mounted")}
    done = desk.invoke("audit", "verify", "--json", more=more)
    assert done.code == Exit.PARTLY_FAILED
    assert json.loads(done.out)["unread"] == [
        f"the anchors in the second place could not be read: the anchors' folder {tmp_path}/not-mounted is not there"
    ]


def test_a_place_that_is_away_does_not_stand_in_a_token_s_file(desk: Desk, tmp_path: Path) -> None:
    more = {"REPLAYVAULT_AUDIT_ANCHOR_DIR": str(tmp_path / "not-mounted")}
    words = ("tokens", "create", "--tenant", "clinic", "--scope", "ingest")
    done = desk.run(*words, more=more, shows_token=True)
    assert done.code == Exit.OK
    assert re.fullmatch(r"rvk_[A-Za-z0-9_-]{43}\n", done.out)
    assert "cannot be anchored" in done.err


@pytest.mark.parametrize(("form", "first"), [("jsonl", '{"action"'), ("csv", "at,role"), ("fhir", "")])
def test_an_export_is_a_new_private_file(
    desk: Desk, recording: str, tmp_path: Path, form: str, first: str
) -> None:
    del recording
    target = tmp_path / "export"
    done = desk.invoke("audit", "export", "--format", form, "-o", target, "--json")
    assert done.code == Exit.OK, done.err
    assert done.json["lines"] == len(target.read_bytes().splitlines())
    assert target.read_text(encoding="utf-8").startswith(first)
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert desk.invoke("audit", "export", "--format", form, "-o", target).code == Exit.DEPENDENCY_DOWN
    piped = desk.invoke("audit", "export", "--format", form, "--until", "2001-01-01T00:00Z")
    assert piped.code == Exit.OK
    assert len(piped.out.splitlines()) == (1 if form == "csv" else 0)
    assert desk.invoke("audit", "export", "--format", form, "--json").code == Exit.USAGE


def test_reports_of_what_never_was_are_empty(desk: Desk) -> None:
    done = desk.invoke("audit", "who-saw", "6f9619ff-8b86-4d01-b42d-00cf4fc964ff", "--json")
    assert (done.code, done.json["sessions"]) == (Exit.OK, [])
    assert desk.invoke("audit", "incident", "--since", "2999-01-01T00:00Z").code == Exit.OK
    assert desk.invoke("audit", "incident", "--since", "yesterday").code == Exit.USAGE
