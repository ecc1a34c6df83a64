"""What an operator does to rotate keys: status, rotate, rewrap, and the jobs that come of it."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import pwd
import shutil
import sqlite3
from pathlib import Path

import pytest

from keys.master.local import load_master_file
from tests.cli.conftest import Desk
from vault.cli import person
from vault.cli.exits import Exit
from vault.cli.person import operator_name

NOBODY = "2f1d0c4e-8a57-4c1b-9b6e-0d6f5b1f7a21"


def digest(desk: Desk) -> dict[str, str]:
    """Everything in the data folder that a dry run must leave alone; the running server writes its audit log."""
    data = desk.server.data
    moving = [data / "valkey", data / "audit", data / "objects" / "audit-anchors"]
    files = [path for path in data.rglob("*") if path.is_file() and "-shm" not in path.name]
    kept = [path for path in files if not any(path.is_relative_to(each) for each in moving)]
    return {str(path.relative_to(data)): hashlib.sha256(path.read_bytes()).hexdigest() for path in kept}


def test_the_status_counts_keys(desk: Desk, recording: str) -> None:
    del recording
    found = desk.invoke("keys", "status", "--json").json
    assert sum(each["patient_keys"] for each in found["master"]) >= 1
    assert {each["provider"] for each in found["master"]} == {"local"}
    assert sum(each["recordings"] for each in found["patient"]) >= 1
    assert "local" in desk.invoke("keys", "status").out


def test_a_master_key_is_rotated_and_the_recording_plays_on(desk: Desk, recording: str) -> None:
    before = desk.invoke("keys", "status", "--json").json["master"]
    done = desk.run("keys", "rotate", "master", "--yes", "--wait", "--json")
    assert (done.code, done.json["state"], done.json["failed"]) == (Exit.OK, "done", 0)
    assert done.json["done"] == done.json["total"] >= 1
    after = desk.invoke("keys", "status", "--json").json["master"]
    assert [each["version"] for each in after] == [before[-1]["version"] + 1]
    film = desk.folder / "after-rotation.mp4"
    assert desk.run("get", recording, "-o", film, token=desk.session).code == Exit.OK
    again = desk.invoke("keys", "rewrap", "--dry-run", "--json").json["would_rewrap"]
    assert again["new version"] is False
    shown = desk.invoke("jobs", "show", done.json["id"])
    assert done.json["id"] in shown.out
    assert done.json["id"] in {each["id"] for each in desk.invoke("jobs", "ls", "--json").json}
    assert desk.invoke("jobs", "watch", done.json["id"], "--json").json["state"] == "done"


def test_a_patient_s_key_waits_for_her_session_and_can_be_paused(desk: Desk, recording: str) -> None:
    del recording
    words = ("keys", "rotate", "patient", "--tenant", "clinic", "--patient", "p-1")
    started = desk.run(*words, "--yes", "--rate", "100", "--json").json
    job = started["id"]
    assert (started["state"], started["patient"], started["rate_per_s"]) == ("queued", "p-1", 100.0)
    twice = desk.invoke(*words, "--yes")
    assert (twice.code, "under way" in twice.err) == (Exit.REFUSED, True)
    assert desk.invoke("jobs", "pause", job, "--json").json["state"] == "paused"
    assert desk.invoke("jobs", "watch", job).code == Exit.IN_PROGRESS
    assert desk.invoke("jobs", "retry", job).code == Exit.REFUSED
    assert desk.invoke("recordings", "ls", token=desk.session).code == Exit.OK
    assert desk.invoke("jobs", "resume", job, "--json").json["state"] in {"queued", "running"}
    assert desk.invoke("jobs", "abort", job, stdin="no\n").code == Exit.REFUSED
    assert desk.invoke("jobs", "abort", job, "--dry-run", "--json").json["would_abort"]["id"] == job
    assert desk.invoke("jobs", "abort", job, "--json", stdin=f"{job}\n").json["state"] == "aborted"
    assert desk.invoke("jobs", "resume", job).code == Exit.REFUSED
    log = desk.invoke("audit", "tail", "-n", "500").out
    told = [part.split(":")[0] for part in log.split(f"job {job} patient ")[1:]]
    assert sorted(word for word in told if word != "begins") == ["abort", "asked for", "pause", "resume"]


@pytest.mark.parametrize(
    "words",
    [
        ("rotate", "patient"),
        ("rotate", "master"),
        ("rewrap",),
        ("retire", "patient"),
        ("reencrypt", "--tenant", "clinic"),
        ("rotate", "tier-secret"),
    ],
    ids=" ".join,
)
def test_a_dry_run_changes_nothing(desk: Desk, recording: str, words: tuple[str, ...]) -> None:
    del recording
    before = digest(desk)
    told = desk.run("keys", *words, "--dry-run", "--json")
    assert told.code == Exit.OK
    assert next(iter(told.json.values()))
    assert desk.run("keys", *words, "--dry-run").code == Exit.OK
    assert digest(desk) == before
    refused = desk.run("keys", *words, stdin="no\n")
    assert refused.code == Exit.REFUSED
    assert digest(desk) == before


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("keys", "rotate", "patient", "--patient", "p-1"), "--tenant"),
        (("keys", "rotate", "patient", "--tenant", "a b", "--yes"), "tenant reference"),
        (("keys", "reencrypt", "--yes"), "--recording"),
        (("keys", "reencrypt", "--recording", NOBODY, "--tenant", "clinic"), "not both"),
        (("keys", "rotate", "master", "--hours", "22-06", "--yes"), "22:00-06:00"),
        (("keys", "rotate", "master", "--rate", "0"), "--rate"),
        (("jobs", "show", "x"), "id"),
        (("keys", "retire", "patient", "--soak", "59m"), "an hour"),
        (("keys", "retire", "patient", "--patient", "p-1"), "--tenant"),
    ],
)
def test_wrong_words_are_refused(desk: Desk, words: tuple[str, ...], says: str) -> None:
    done = desk.invoke(*words)
    assert (done.code, says in done.err) == (Exit.USAGE, True), done.err


@pytest.mark.parametrize("verb", ["show", "watch", "pause", "resume", "retry", "abort", "approve"])
def test_a_job_that_is_not_there(desk: Desk, verb: str) -> None:
    done = desk.invoke("jobs", verb, NOBODY)
    assert done.code == Exit.FAILED
    assert "jobs ls" in done.err


def test_a_recording_is_encrypted_anew_and_plays_on(desk: Desk, recording: str) -> None:
    told = desk.invoke("keys", "reencrypt", "--recording", recording, "--dry-run", "--json").json
    stored = list((desk.server.data / "objects" / recording).iterdir())
    assert told["would_reencrypt"] == {
        "recordings": 1,
        "objects": len(stored),
        "bytes": sum(path.stat().st_size for path in stored),
        "that wait until they are processed": 0,
    }
    words = ("keys", "reencrypt", "--recording", recording, "--grace", "0s", "--yes", "--wait", "--json")
    done = desk.run(*words)
    assert (done.code, done.json["state"], done.json["done"]) == (Exit.OK, "done", 1)
    assert done.json["recording"] == recording
    assert not [path for path in stored if path.exists()]
    film = desk.folder / "encrypted-anew.mp4"
    assert desk.run("get", recording, "-o", film, token=desk.session).code == Exit.OK
    assert desk.invoke("keys", "reencrypt", "--recording", NOBODY).code == Exit.FAILED


def test_jobs_are_done_without_a_server_too(desk: Desk, recording: str, tmp_path: Path) -> None:
    """On a copy of the data folder, as a machine that only rotates would have it: no server, no Redis."""
    del recording
    copy = tmp_path / "copy"
    shutil.copytree(desk.server.data, copy, ignore=shutil.ignore_patterns("valkey", "audit", "objects"))
    job = desk.run("keys", "rotate", "master", "--yes", "--json", "--data-dir", copy).json["id"]
    done = desk.run("jobs", "run", "--json", "--data-dir", copy)
    assert done.code == Exit.OK
    assert done.json["taken_up"] >= 1
    shown = desk.invoke("jobs", "show", job, "--json", "--data-dir", copy).json
    assert (shown["state"], shown["failed"]) == ("done", 0)


def test_a_master_key_s_old_version_is_retired_and_brought_back(
    desk: Desk, recording: str, tmp_path: Path
) -> None:
    """On a copy of the data folder that no server runs on."""
    del recording
    copy = tmp_path / "copy"
    shutil.copytree(desk.server.data, copy, ignore=shutil.ignore_patterns("valkey", "audit", "objects"))
    [under] = desk.invoke("keys", "status", "--json", "--data-dir", copy).json["master"]
    old, there = under["version"], ("--data-dir", copy)
    words = ("keys", "retire", "master", "--version", str(old), *there)
    refused = desk.invoke(*words, "--dry-run")
    assert (refused.code, "rotate the master key first" in refused.err) == (Exit.REFUSED, True)
    asyncio.run(load_master_file(copy / "master.key").rotate())
    refused = desk.invoke(*words, "--yes")
    assert (refused.code, f"{under['patient_keys']} patient keys" in refused.err) == (Exit.REFUSED, True)
    missing = desk.invoke("keys", "retire", "master", "--version", "99", *there)
    assert (missing.code, "no version 99" in missing.err) == (Exit.FAILED, True)
    desk.invoke("keys", "rewrap", "--yes", *there)
    assert desk.run("jobs", "run", *there).code == Exit.OK
    before = tree(copy)
    told = desk.invoke(*words, "--dry-run", "--json").json["would_retire"]
    assert (told["versions"][-1], told["patient keys"]) == (old, 0)
    assert desk.invoke(*words, stdin="no\n").code == Exit.REFUSED
    assert tree(copy) == before
    job = desk.invoke(*words, "--json", stdin="retire\n").json["id"]
    assert desk.run("jobs", "run", *there).code == Exit.OK
    shown = desk.invoke("jobs", "show", job, "--json", *there).json
    assert (shown["state"], "--undo" in shown["note"]) == ("queued", True)
    assert not desk.invoke("keys", "rewrap", "--dry-run", *there).err
    assert '"retired_at"' in (copy / "master.key").read_text(encoding="ascii")
    assert desk.invoke(*words, "--undo", "--yes", "--json").json == {"restored": told["versions"]}
    assert desk.invoke("jobs", "show", job, "--json", *there).json["state"] == "aborted"
    assert "retired_at" not in (copy / "master.key").read_text(encoding="ascii")


def test_two_persons(desk: Desk, recording: str, tmp_path: Path) -> None:
    del recording
    copy = tmp_path / "copy"
    shutil.copytree(desk.server.data, copy, ignore=shutil.ignore_patterns("valkey", "audit", "objects"))
    there, two = ("--data-dir", copy), {"REPLAYVAULT_TWO_PERSONS": "true"}
    asked = desk.invoke("keys", "retire", "patient", "--yes", "--json", *there, more=two).json
    assert asked["state"] == "awaiting"
    assert asked["requested_by"] == operator_name()
    assert desk.invoke("jobs", "watch", asked["id"], *there, more=two).code == Exit.IN_PROGRESS
    own = desk.invoke("jobs", "approve", asked["id"], *there, more=two)
    assert (own.code, "somebody else" in own.err) == (Exit.REFUSED, True)
    with contextlib.closing(sqlite3.connect(copy / "catalog.sqlite")) as catalog, catalog:
        catalog.execute("UPDATE key_jobs SET requested_by = 'operator:another'")
    approved = desk.invoke("jobs", "approve", asked["id"], "--json", *there, more=two).json
    assert (approved["state"], approved["approved_by"]) == ("queued", operator_name())
    assert desk.invoke("jobs", "approve", asked["id"], *there, more=two).code == Exit.REFUSED
    unclear = {"REPLAYVAULT_TWO_PERSONS": "perhaps"}
    assert desk.invoke("jobs", "approve", asked["id"], *there, more=unclear).code == Exit.USAGE


def tree(folder: Path) -> dict[str, str]:
    """A digest of every file; SQLite's shared memory of readers is no content."""
    files = [
        path for path in folder.rglob("*") if path.is_file() and not path.name.endswith(("-shm", "-wal"))
    ]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_what_is_due_is_told_and_nothing_is_changed(desk: Desk, recording: str) -> None:
    del recording
    before = digest(desk)
    well = desk.run("keys", "due", "--json")
    assert well.code == Exit.OK
    assert (well.json["master"]["is_due"], well.json["tier_secret"]["is_due"]) == (False, False)
    told = desk.invoke("keys", "due", "--master-after", "0s", "--patient-after", "0s", "--tier-after", "0s")
    assert told.code == Exit.OK
    for command in ("keys rotate master", "keys rotate patient", "tier secret"):
        assert command in told.out
    assert digest(desk) == before
    assert desk.invoke("keys", "due", "--master-after", "soon").code == Exit.USAGE


def test_a_patient_past_retention_is_proposed_and_stays(desk: Desk, recording: str) -> None:
    words = ("keys", "retention")
    made = desk.run(*words, "set", "brief", "--tenant", "clinic", "--days", "1", "--json")
    assert (made.code, made.json["days"], made.json["default"]) == (Exit.OK, 1, False)
    assert [each["class"] for each in desk.invoke(*words, "ls", "--json").json] == ["brief"]
    assert desk.run(*words, "assign", "p-1", "--tenant", "clinic", "--class", "brief").code == Exit.OK
    with (
        contextlib.closing(sqlite3.connect(desk.server.data / "catalog.sqlite", timeout=30)) as catalog,
        catalog,
    ):
        made_at = catalog.execute("SELECT created_at FROM recordings").fetchall()
        catalog.execute(
            "UPDATE recordings SET created_at = '2020-01-01 00:00:00.000000' WHERE patient = 'p-1'"
        )
    try:
        proposed = desk.invoke("keys", "due", "--json").json["erasures_proposed"]
        assert [(each["tenant"], each["patient"], each["class"]) for each in proposed] == [
            ("clinic", "p-1", "brief")
        ]
        assert "nothing is erased by itself" in desk.invoke("keys", "due").out
        assert desk.invoke("recordings", "ls", token=desk.session).code == Exit.OK
        assert recording in desk.invoke("recordings", "ls", "--json", token=desk.session).out
    finally:
        with (
            contextlib.closing(sqlite3.connect(desk.server.data / "catalog.sqlite", timeout=30)) as catalog,
            catalog,
        ):
            catalog.execute("UPDATE recordings SET created_at = ? WHERE patient = 'p-1'", made_at[0])
    assert desk.invoke(*words, "assign", "p-1", "--tenant", "clinic", "--default").code == Exit.OK
    assert desk.invoke("keys", "due", "--json").json["erasures_proposed"] == []
    log = desk.invoke("audit", "tail", "-n", "100", "--json").out
    assert "retention.set" in log
    assert "retention.assign" in log
    assert "p-1" not in log


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("set", "a b", "--tenant", "clinic", "--days", "1"), Exit.USAGE),
        (("set", "x", "--tenant", "clinic", "--days", "0"), Exit.USAGE),
        (("assign", "p-1", "--tenant", "clinic"), Exit.USAGE),
        (("assign", "p-1", "--tenant", "clinic", "--class", "x", "--default"), Exit.USAGE),
        (("assign", "p-1", "--tenant", "clinic", "--class", "none"), Exit.FAILED),
        (("assign", "nobody", "--tenant", "clinic", "--default"), Exit.FAILED),
    ],
)
def test_wrong_classes_are_refused(desk: Desk, words: tuple[str, ...], code: Exit) -> None:
    assert desk.invoke("keys", "retention", *words).code == code


def kept_objects(desk: Desk, more: str = "") -> int:
    """Objects that a recording points at, by the catalog."""
    with contextlib.closing(sqlite3.connect(desk.server.data / "catalog.sqlite", timeout=30)) as catalog:
        question = "SELECT count(*) FROM objects JOIN recordings ON id = recording_id WHERE kept = 1 "
        return int(catalog.execute(question + more).fetchone()[0])


def test_the_census_holds_objects_against_the_catalog(desk: Desk, recording: str) -> None:
    before = digest(desk)
    well = desk.run("keys", "census", "--orphans", "--json")
    assert (well.code, well.json["sample"]["wrong"], well.json["orphans"]["wrong"]) == (Exit.OK, 0, 0)
    # The sample looks at what is published; a recording that failed, of another test, has its source kept as well.
    assert well.json["sample"]["looked_at"] == kept_objects(desk, "AND state = 'published'") > 3
    assert well.json["orphans"]["looked_at"] == kept_objects(desk)
    stray = desk.server.data / "objects" / recording / NOBODY
    stray.write_bytes(b"x")
    try:
        assert desk.invoke("keys", "census").code == Exit.OK
        found = desk.invoke("keys", "census", "--orphans", "--json")
        assert found.code == Exit.PARTLY_FAILED
        assert found.json["orphans"]["objects"] == [{"object": f"{recording}/{NOBODY}", "fault": "NO_ROW"}]
        told = desk.invoke("keys", "census", "--orphans")
        assert (told.code, NOBODY in told.out) == (Exit.PARTLY_FAILED, True)
    finally:
        stray.unlink()
    assert digest(desk) == before


def test_a_token_of_the_house(desk: Desk) -> None:
    made = desk.run(
        "tokens", "create", "--house", "--scope", "keys", "--save", desk.folder / "house.token", "--json"
    )
    assert (made.code, made.json["tenant"], made.json["scopes"]) == (Exit.OK, "*", ["keys"])
    create = ("tokens", "create", "--scope")
    for words in (
        ("keys",),
        ("keys", "--house", "--tenant", "clinic"),
        ("ingest", "--house"),
        ("keys", "--tenant", "*"),
    ):
        assert desk.invoke(*create, *words).code == Exit.USAGE
    assert desk.invoke("tokens", "revoke", made.json["id"], "--yes").code == Exit.OK


@pytest.mark.parametrize(
    ("login", "number"), [("4242", 4242), (str(2**32 - 1), os.getuid()), ("", os.getuid())]
)
def test_who_types_is_told_by_the_kernel(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, login: str, number: int
) -> None:
    (tmp_path / "loginuid").write_text(login, encoding="ascii")
    monkeypatch.setattr(person, "_LOGIN", tmp_path / "loginuid")
    for name in ("USER", "LOGNAME", "SUDO_USER"):
        monkeypatch.setenv(name, "somebody-else")
    expected = pwd.getpwuid(number).pw_name if number == os.getuid() else number
    assert operator_name() == f"operator:{expected}"
