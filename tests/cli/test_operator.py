"""What an operator does at a shell: tokens, the audit log, and a look at what is stored."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import COMMAND, TITLE, Desk
from tests.media import Media
from vault.cli.exits import Exit

_ID = "2f1d0c4e-8a57-4c1b-9b6e-0d6f5b1f7a21"


def test_a_token_s_life(desk: Desk) -> None:
    made = desk.run(
        "tokens",
        "create",
        *("--tenant", "other", "--name", "uploader", "--scope", "ingest", "--expires", "90d", "--json"),
        shows_token=True,
    )
    assert made.code == Exit.OK
    file = desk.folder / "other.token"
    file.write_text(made.json["token"])
    assert made.json["scopes"] == ["ingest"]
    assert made.json["expires_at"] > made.json["created_at"]
    assert desk.invoke("recordings", "ls", "--json", token=file).json == []
    assert desk.invoke("sessions", "ls", token=file).code == Exit.REFUSED
    [listed] = desk.invoke("tokens", "ls", "--tenant", "other", "--json").json
    assert listed["id"] == made.json["id"]
    assert "token" not in listed
    told = desk.invoke("tokens", "revoke", listed["id"], "--dry-run", "--json").json
    assert told["would_revoke"]["name"] == "uploader"
    assert desk.invoke("tokens", "revoke", listed["id"], stdin="no\n").code == Exit.REFUSED
    assert desk.invoke("recordings", "ls", token=file).code == Exit.OK
    assert desk.run("tokens", "revoke", listed["id"], stdin=listed["id"] + "\n").code == Exit.OK
    assert desk.invoke("recordings", "ls", token=file).code == Exit.REFUSED
    assert desk.invoke("tokens", "revoke", listed["id"], "--yes").code == Exit.FAILED
    noted = [
        each
        for each in desk.invoke("audit", "tail", "-n", "100", "--json").out.splitlines()
        if "other" in each
    ]
    assert [json.loads(line)["action"] for line in noted] == ["token.create", "token.revoke"]


def test_a_token_printed_once_is_all_there_is_on_standard_output(desk: Desk) -> None:
    made = desk.run("tokens", "create", "--tenant", "t", "--scope", "ingest", shows_token=True)
    assert made.out.startswith("rvk_")
    assert made.out.count("\n") == 1
    assert made.out.strip() not in made.err


@pytest.mark.parametrize(
    "words",
    [
        ("--tenant", "t"),
        ("--tenant", "t", "--scope", "everything"),
        ("--scope", "ingest"),
        ("--tenant", "t", "--scope", "ingest", "--expires", "soon"),
        ("--tenant", "t", "--scope", "ingest", "--name", "x" * 200),
        ("--tenant", "t", "--scope", "ingest", "--name", "a\x1bb"),
        ("--tenant", "no such tenant", "--scope", "ingest"),
    ],
    ids=["no scope", "unknown scope", "no tenant", "no time", "long name", "odd name", "odd tenant"],
)
def test_a_token_is_not_made_by_mistake(desk: Desk, tmp_path: Path, words: tuple[str, ...]) -> None:
    done = desk.invoke("tokens", "create", *words, "--data-dir", tmp_path / "data")
    assert done.code in {Exit.USAGE, Exit.FAILED}
    assert "no catalog" not in done.err
    assert not (tmp_path / "data").exists()


def test_a_catalog_that_is_not_there_is_not_made(desk: Desk, tmp_path: Path) -> None:
    done = desk.invoke("tokens", "ls", "--data-dir", tmp_path / "none")
    assert done.code == Exit.USAGE
    assert "replayvault serve" in done.err
    assert not (tmp_path / "none").exists()


@pytest.fixture
def audit_copy(desk: Desk, recording: str, tmp_path: Path) -> Path:
    """The audit folder of a house in which something happened."""
    assert desk.invoke("recordings", "ls", token=desk.session).code == Exit.OK
    del recording
    return Path(shutil.copytree(desk.server.data / "audit", tmp_path / "audit"))


def longest(folder: Path) -> Path:
    return max(folder.glob("*.jsonl"), key=lambda path: path.stat().st_size)


def test_the_tail_tells_who_did_what(desk: Desk, audit_copy: Path) -> None:
    done = desk.run("audit", "tail", "-n", "1000", "--json", more={"REPLAYVAULT_AUDIT_DIR": str(audit_copy)})
    assert done.code == Exit.OK
    entries = [json.loads(line) for line in done.out.splitlines()]
    assert {"recording.create", "source.store", "recording.publish", "recording.list"} <= {
        entry["action"] for entry in entries
    }
    assert [entry["at"] for entry in entries] == sorted(entry["at"] for entry in entries)
    assert TITLE not in done.out
    people = desk.invoke("audit", "tail", "-n", "3", more={"REPLAYVAULT_AUDIT_DIR": str(audit_copy)})
    assert len(people.out.splitlines()) == 3
    none = desk.invoke("audit", "tail", "-n", "0", more={"REPLAYVAULT_AUDIT_DIR": str(audit_copy)})
    assert (none.code, none.out) == (Exit.OK, "")


def _alter(lines: list[bytes]) -> list[bytes]:
    return [lines[0], lines[1].replace(b'"allow"', b'"deny"'), *lines[2:]]


def _drop(lines: list[bytes]) -> list[bytes]:
    return [lines[0], *lines[2:]]


def _swap(lines: list[bytes]) -> list[bytes]:
    return [lines[0], lines[2], lines[1], *lines[3:]]


def _garbage(lines: list[bytes]) -> list[bytes]:
    return [lines[0], b"{}\n", *lines[1:]]


@pytest.mark.parametrize("damage", [_alter, _drop, _swap, _garbage])
def test_a_broken_chain_is_told_and_the_rest_is_shown(
    desk: Desk, audit_copy: Path, damage: Callable[[list[bytes]], list[bytes]]
) -> None:
    file = longest(audit_copy)
    file.write_bytes(b"".join(damage(file.read_bytes().splitlines(keepends=True))))
    done = desk.invoke(
        "audit", "tail", "-n", "1000", "--json", more={"REPLAYVAULT_AUDIT_DIR": str(audit_copy)}
    )
    assert done.code == Exit.PARTLY_FAILED
    assert f"the audit log is broken: {file.name}, line 2" in done.err
    entries = [json.loads(line) for line in done.out.splitlines()]
    assert sum(entry["role"] == "all" for entry in entries) == 1
    assert any(entry["role"] == "operator" for entry in entries)


def test_a_line_that_is_being_written_is_not_a_broken_chain(desk: Desk, audit_copy: Path) -> None:
    with longest(audit_copy).open("ab") as file:
        file.write(b'{"action":"view.op')
    assert desk.invoke("audit", "tail", more={"REPLAYVAULT_AUDIT_DIR": str(audit_copy)}).code == Exit.OK


def test_following_shows_what_comes_and_notices_what_is_taken_away(desk: Desk, audit_copy: Path) -> None:
    file = longest(audit_copy)
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(lines[:-1]))
    process = subprocess.Popen(
        [COMMAND, "audit", "tail", "-n", "1", "--follow", "--json"],
        env=desk.environment(more={"REPLAYVAULT_AUDIT_DIR": str(audit_copy)}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        # The last entry of the first look: from here on everything is new.
        assert json.loads(process.stdout.readline())
        (audit_copy / "later.jsonl").write_bytes(lines[0])
        assert json.loads(process.stdout.readline()) == json.loads(lines[0])
        with file.open("ab") as grows:
            grows.write(lines[-1])
        assert json.loads(process.stdout.readline()) == json.loads(lines[-1])
        file.unlink()
        assert f"{file.name}: the file is gone" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == Exit.PARTLY_FAILED
    finally:
        process.kill()
        process.communicate()


def test_no_audit_folder_is_a_sentence(desk: Desk, tmp_path: Path) -> None:
    done = desk.invoke("audit", "tail", more={"REPLAYVAULT_AUDIT_DIR": str(tmp_path / "none")})
    assert done.code == Exit.DEPENDENCY_DOWN
    assert "no audit folder" in done.err


def test_stored_objects_show_a_header_and_nothing_else(desk: Desk, recording: str, media: Media) -> None:
    done = desk.run("inspect", recording, "--bytes", "4096", "--json")
    assert done.code == Exit.OK
    found = done.json
    assert len(found) >= 3
    assert all(each["well_formed"] and each["recording"] == recording for each in found)
    source = media.path("audio.webm").read_bytes()
    originals = [each for each in found if each["plain_bytes"] == len(source)]
    assert len(originals) == 1
    assert originals[0]["chunks"] == len(source) // 16384 + 1
    assert originals[0]["stored_bytes"] == 128 + len(source) + 16 * originals[0]["chunks"]
    stored = b"".join(bytes.fromhex(each["head"]) for each in found)
    assert source[:64] not in stored
    assert TITLE.encode() not in stored
    one = desk.invoke("inspect", found[0]["object"])
    assert one.code == Exit.OK
    assert "89 52 56 4d 0d 0a 1a 0a" in one.out
    local = desk.invoke("inspect", desk.server.data / "objects" / found[0]["object"], "--json").json[0]
    assert (local["file"], local["plain_bytes"]) == (found[0]["file"], found[0]["plain_bytes"])


def test_an_object_in_another_s_place_or_cut_short_is_told(
    desk: Desk, recording: str, tmp_path: Path
) -> None:
    objects = tmp_path / "objects"
    shutil.copytree(desk.server.data / "objects" / recording, objects / recording)
    one, two = sorted((objects / recording).iterdir())[:2]
    shutil.copy(one, two)
    with one.open("r+b") as file:
        file.truncate(128 + 7)
    done = desk.invoke("inspect", recording, "--json", more={"REPLAYVAULT_OBJECTS_URL": str(objects)})
    assert done.code == Exit.FAILED
    faults = {each["object"]: each["fault"] for each in done.json if not each["well_formed"]}
    assert set(faults) == {f"{recording}/{one.name}", f"{recording}/{two.name}"}
    assert "truncated" in faults[f"{recording}/{one.name}"]
    assert "moved or replaced" in faults[f"{recording}/{two.name}"]


@pytest.mark.parametrize(
    "data",
    [b"", b"the patient's secret " * 20, b"\x89RVM\r\n\x1a\n the patient's secret" * 9],
    ids=["empty", "plain", "our signature"],
)
@pytest.mark.parametrize("words", [(), ("--json",)], ids=["people", "json"])
def test_bytes_of_other_files_are_never_shown(
    desk: Desk, tmp_path: Path, data: bytes, words: tuple[str, ...]
) -> None:
    file = tmp_path / "plain"
    file.write_bytes(data)
    done = desk.invoke("inspect", file, *words)
    assert done.code == Exit.FAILED
    assert "secret" not in done.out + done.err
    assert b"secret".hex() not in done.out.replace(" ", "")
    assert "not shown" in done.out


@pytest.mark.parametrize("thing", [_ID, f"{_ID}/{_ID}"], ids=["recording", "object"])
def test_what_is_not_stored_is_a_sentence(desk: Desk, thing: str) -> None:
    done = desk.invoke("inspect", thing)
    assert done.code == Exit.FAILED
    assert "replayvault: " in done.err
