"""What a backend does at a shell: put, recordings, sessions."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import uuid
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import COMMAND, TITLE, Desk
from tests.media import Media
from tests.servers.child import free_port
from vault.cli.exits import Exit

_ID = "2f1d0c4e-8a57-4c1b-9b6e-0d6f5b1f7a21"


def test_put_waits_until_it_is_published(stored: dict[str, Any], media: Media) -> None:
    assert stored["state"] == "published"
    assert stored["source_size_bytes"] == media.path("audio.webm").stat().st_size


def test_put_does_not_wait_when_told_so(desk: Desk, media: Media) -> None:
    about = desk.folder / "about.json"
    about.write_text(json.dumps({"title": "From a file", "description": "x", "clinician": None}))
    done = desk.run(
        "put",
        media.path("audio.webm"),
        *(
            "--patient",
            "p-2",
            "--consultation",
            f"c-{uuid.uuid4()}",
            "--metadata-file",
            about,
            "--no-wait",
            "--json",
        ),
    )
    assert done.code == Exit.IN_PROGRESS
    assert done.json["state"] in {"queued", "processing"}
    watched = desk.run("recordings", "watch", done.json["id"], "--json")
    assert watched.code == Exit.OK
    states = [json.loads(line)["state"] for line in watched.out.splitlines()]
    assert states[-1] == "published"
    assert desk.invoke("recordings", "delete", done.json["id"], "--yes").code == Exit.OK


def test_what_cannot_be_played_fails_with_a_reason_and_can_be_tried_again(desk: Desk) -> None:
    notes = desk.folder / "notes.webm"
    notes.write_text("not a film\n" * 100)
    done = desk.run("put", notes, "--patient", "p-2", "--consultation", f"c-{uuid.uuid4()}", "--title", "x")
    assert done.code == Exit.FAILED
    assert "failure" in done.out
    found = [each for each in desk.run("recordings", "ls", "--json").json if each["state"] == "failed"]
    again = desk.run("recordings", "retry", found[0]["id"])
    assert again.code in {Exit.IN_PROGRESS, Exit.FAILED}
    assert desk.invoke("recordings", "watch", found[0]["id"]).code == Exit.FAILED
    assert desk.invoke("recordings", "delete", found[0]["id"], "--yes").code == Exit.OK


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["--title", "x", "--consultation", "c-1", "--patient", "p-9"], Exit.REFUSED, "consultation-taken"),
        (["--title", "x", "--consultation", "c-9", "--patient", "Ada Lovelace"], Exit.USAGE, "patient"),
        (["--consultation", "c-9", "--patient", "p-9"], Exit.USAGE, "title"),
        (
            ["--title", "x", "--metadata-file", "audio.webm", "--consultation", "c", "--patient", "p"],
            Exit.USAGE,
            "--title",
        ),
        (["--metadata-file", "audio.webm", "--consultation", "c", "--patient", "p"], Exit.USAGE, "JSON"),
        (
            ["--title", "x", "--consulted-at", "yesterday", "--consultation", "c", "--patient", "p"],
            Exit.USAGE,
            "zone",
        ),
    ],
)
def test_what_put_refuses(desk: Desk, recording: str, words: list[str], code: Exit, says: str) -> None:
    del recording
    film = desk.folder / "audio.webm"
    film.write_bytes(b"\x1a\x45")
    done = desk.invoke("put", film, *(str(film) if word == "audio.webm" else word for word in words))
    assert done.code == code, done
    assert says in done.err
    assert "Lovelace" not in done.err


def test_the_token_is_in_no_place_that_others_can_see(desk: Desk) -> None:
    pipe = desk.folder / "pipe.webm"
    os.mkfifo(pipe)
    words = [
        COMMAND,
        "put",
        str(pipe),
        "--patient",
        "p-2",
        "--consultation",
        f"c-{uuid.uuid4()}",
        "--title",
        "x",
    ]
    process = subprocess.Popen(
        words,
        env=desk.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
    )
    try:
        with pipe.open("wb") as film:
            film.write(b"x" * 100)
            film.flush()
            seen = [Path(f"/proc/{process.pid}/{name}").read_bytes() for name in ("cmdline", "environ")]
        secret = desk.secret(desk.backend).encode()
        assert b"p-2" in seen[0]
        assert not [each for each in seen if secret in each]
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=10)
        pipe.unlink()


def test_a_token_comes_by_standard_input_too(desk: Desk, recording: str) -> None:
    done = desk.run(
        "recordings", "show", recording, "--token-file", "-", stdin=desk.secret(desk.backend) + "\n"
    )
    assert done.code == Exit.OK


@pytest.mark.parametrize(
    ("token", "says"),
    [
        ("none.token", "No such file"),
        ("-", "not a token"),
        ("rvk_" + "x" * 43, "revoke it"),
        ("notes.txt", "does not hold a token"),
    ],
)
def test_a_token_that_cannot_be_used_is_one_sentence(desk: Desk, token: str, says: str) -> None:
    (desk.folder / "notes.txt").write_text("hello")
    token = str(desk.folder / token) if token == "notes.txt" else token
    done = desk.invoke("recordings", "ls", token=token)
    assert done.code == Exit.USAGE
    assert says in done.err
    assert done.err.count("\n") == 1


def test_a_token_that_opens_nothing_is_refused(desk: Desk) -> None:
    stranger = desk.folder / "stranger.token"
    stranger.write_text("rvk_" + "x" * 43)
    assert desk.invoke("recordings", "ls", token=stranger).code == Exit.REFUSED


@pytest.mark.parametrize(
    "words", [("recordings", "ls"), ("sessions", "ls"), ("put", "a.webm", "--patient", "p")]
)
def test_nobody_there_is_a_dependency_that_is_down(desk: Desk, words: tuple[str, ...]) -> None:
    (desk.folder / "a.webm").write_bytes(b"x")
    given = [str(desk.folder / word) if word == "a.webm" else word for word in words]
    more = ("--consultation", "c", "--title", "x") if words[0] == "put" else ()
    done = desk.invoke(*given, *more, "--url", f"http://127.0.0.1:{free_port()}")
    assert done.code == Exit.DEPENDENCY_DOWN
    assert "cannot connect" in done.err


def test_a_token_goes_nowhere_in_clear(desk: Desk) -> None:
    done = desk.invoke("recordings", "ls", "--url", "http://replay.example.org")
    assert done.code == Exit.USAGE
    assert "https" in done.err


def test_lists_tell_a_backend_states_and_a_patient_titles(desk: Desk, recording: str) -> None:
    backend = desk.run("recordings", "ls")
    assert recording in backend.out
    assert "p-1" in backend.out
    assert TITLE not in backend.out
    patient = desk.run("recordings", "ls", token=desk.session)
    assert recording in patient.out
    assert TITLE in patient.out
    shown = desk.run("recordings", "show", recording, "--json", token=desk.session).json
    assert (shown["title"], shown["clinician"]) == (TITLE, "Dr Osei")
    assert desk.run("recordings", "show", recording, "--json").json["state"] == "published"


def test_a_title_cannot_steer_the_terminal(desk: Desk, media: Media) -> None:
    about = desk.folder / "about.json"
    about.write_text(json.dumps({"title": "[red]\x1b]0;owned\x07 title"}))
    stored = desk.run(
        "put",
        media.path("audio.webm"),
        *("--patient", "p-3", "--consultation", f"c-{uuid.uuid4()}", "--metadata-file", about, "--json"),
    ).json
    session = desk.folder / "p-3.token"
    assert desk.invoke("sessions", "open", "--patient", "p-3", "--save", session).code == Exit.OK
    done = desk.invoke("recordings", "ls", token=session)
    assert "[red]" in done.out
    assert "\x1b" not in done.out
    assert desk.invoke("recordings", "delete", stored["id"], "--yes").code == Exit.OK


def test_an_unknown_recording_is_not_there(desk: Desk) -> None:
    for words in (("show",), ("watch",), ("retry",), ("delete", "--yes")):
        done = desk.invoke("recordings", words[0], str(uuid.uuid4()), *words[1:])
        assert done.code == Exit.FAILED
        assert "not-found" in done.err
    assert desk.invoke("recordings", "show", "2f1d").code == Exit.USAGE


def test_deleting_asks_for_the_id(desk: Desk, recording: str) -> None:
    for typed in ("", "yes\n", f"{uuid.uuid4()}\n"):
        done = desk.invoke("recordings", "delete", recording, stdin=typed)
        assert done.code == Exit.REFUSED
        assert "nothing was done" in done.err
    told = desk.run("recordings", "delete", recording, "--dry-run", "--json")
    assert told.code == Exit.OK
    assert told.json["would_delete"]["id"] == recording
    assert desk.invoke("recordings", "show", recording).code == Exit.OK


def test_deleting_what_was_typed(desk: Desk) -> None:
    notes = desk.folder / "notes.webm"
    notes.write_text("not a film\n")
    words = ("--patient", "p-2", "--consultation", f"c-{uuid.uuid4()}", "--title", "x", "--no-wait", "--json")
    made = desk.run("put", notes, *words).json["id"]
    done = desk.run("recordings", "delete", made, "--json", stdin=f"{made}\n")
    assert (done.code, done.json) == (Exit.OK, {"deleted": made})
    assert desk.invoke("recordings", "show", made).code == Exit.FAILED


def test_a_session_s_life(desk: Desk, recording: str) -> None:
    del recording
    opened = desk.run("sessions", "open", "--patient", "p-1", "--scope", "list", shows_token=True)
    token = desk.folder / "life.token"
    token.write_text(opened.out)
    assert desk.invoke("recordings", "ls", token=token).code == Exit.OK
    listed = desk.invoke("sessions", "ls", "--patient", "p-1", "--json").json
    assert all("token" not in each for each in listed)
    assert all(re.fullmatch("[0-9a-f]{64}", each["id"]) for each in listed), (
        "an id that no shell reads as an option"
    )
    saved = desk.folder / "next.token"
    refreshed = desk.run("sessions", "refresh", "--ttl", "20m", "--save", saved, "--json", token=token)
    assert refreshed.code == Exit.OK
    assert "token" not in refreshed.json
    assert saved.stat().st_mode & 0o777 == 0o600
    ended = desk.run("sessions", "revoke", refreshed.json["id"], "--json")
    assert (ended.code, ended.json) == (Exit.OK, {"revoked": 1})
    assert desk.invoke("recordings", "ls", token=saved).code == Exit.REFUSED
    assert desk.invoke("sessions", "revoke", refreshed.json["id"]).code == Exit.FAILED


def test_revoking_everybody_asks_first(desk: Desk, recording: str) -> None:
    del recording
    live = desk.invoke("sessions", "ls", "--json").json
    assert live
    assert desk.invoke("sessions", "revoke", "--all", stdin="no\n").code == Exit.REFUSED
    told = desk.invoke("sessions", "revoke", "--all", "--dry-run", "--json").json
    assert {each["id"] for each in told["would_revoke"]} == {each["id"] for each in live}
    assert desk.invoke("sessions", "ls", "--json").json == live
    assert desk.invoke("sessions", "revoke").code == Exit.USAGE
    assert desk.invoke("sessions", "revoke", "x", "--all").code == Exit.USAGE
    assert desk.invoke("sessions", "revoke", "--patient", "p-3", "--json").json["revoked"] >= 0


@pytest.mark.parametrize("words", [("sessions", "open", "--patient", "p-1"), ("recordings", "watch", _ID)])
def test_a_session_token_is_not_enough_for_a_backend_s_calls(
    desk: Desk, recording: str, words: tuple[str, ...]
) -> None:
    del recording
    done = desk.invoke(*words, token=desk.session)
    assert done.code == Exit.USAGE
    assert "service token" in done.err
