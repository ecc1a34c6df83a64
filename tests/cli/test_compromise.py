"""What an operator does when a key leaked: declare it, look at the plan, run it, and run it again."""

from __future__ import annotations

import pytest

from tests.cli.conftest import Desk
from vault.cli.exits import Exit

NOBODY = "2f1d0c4e-8a57-4c1b-9b6e-0d6f5b1f7a21"
DECLARE = ("keys", "compromise", "declare")


def steps(document: dict[str, list[dict[str, str]]]) -> dict[str, str]:
    return {each["step"]: each["state"] for each in document["steps"]}


def test_a_recording_s_key_leaked(desk: Desk, recording: str) -> None:
    words = (*DECLARE, "recording", "--recording", recording, "--reason", "seen in a paste")
    assert desk.invoke(*words, "--dry-run", "--json").json["would_declare"]["leak"] == "recording"
    assert desk.invoke(*words, stdin="no\n").code == Exit.REFUSED
    assert desk.invoke("keys", "compromise", "ls", "--json").json == []
    declared = desk.run(*words, "--yes", "--json").json
    leak = declared["id"]
    assert [each["id"] for each in desk.invoke("keys", "compromise", "ls", "--json").json] == [leak]
    planned = desk.invoke("keys", "compromise", "plan", leak, "--json").json
    assert steps(planned) == {"reencrypt": "to do", "review": "by hand"}
    assert planned["steps"][0]["command"] == f"replayvault keys reencrypt --recording {recording} --grace 0s"
    assert all(each["against"] for each in planned["steps"])
    shown = desk.run("keys", "compromise", "run", leak, "--dry-run", "--json").json
    assert shown["would_run"]["steps"] == planned["steps"]
    objects = list((desk.server.data / "objects" / recording).iterdir())
    done = desk.run("keys", "compromise", "run", leak, "--yes", "--json")
    assert (done.code, steps(done.json)) == (Exit.OK, {"reencrypt": "done", "review": "by hand"})
    assert done.json["answered_at"] is not None
    assert not [path for path in objects if path.exists()]
    again = desk.run("keys", "compromise", "run", leak, "--yes", "--json")
    assert (again.code, again.json) == (Exit.OK, done.json)
    assert "reencrypt" in desk.invoke("keys", "compromise", "plan", leak).out
    film = desk.folder / "after-the-leak.mp4"
    assert desk.run("get", recording, "-o", film, token=desk.session).code == Exit.OK
    assert leak in desk.invoke("audit", "tail", "--json").out


def test_a_leak_is_not_answered_by_rotating(desk: Desk, recording: str) -> None:
    del recording
    words = ("keys", "rotate", "patient", "--tenant", "clinic", "--patient", "p-1", "--reason", "compromise")
    for more in (("--yes",), ("--dry-run",)):
        refused = desk.invoke(*words, *more)
        assert refused.code == Exit.REFUSED
        assert "keys compromise declare patient" in refused.err
        assert "keys compromise run" in refused.err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("patient", "--tenant", "clinic"), "--tenant and --patient"),
        (("vault", "--tenant", "clinic"), "no other option"),
        (("master",), "--version"),
        (("token",), "--token-id"),
        (("patient", "--tenant", "a b", "--patient", "p"), "tenant reference"),
    ],
)
def test_wrong_words_are_refused(desk: Desk, words: tuple[str, ...], says: str) -> None:
    done = desk.invoke(*DECLARE, *words, "--reason", "x", "--yes")
    assert (done.code, says in done.err) == (Exit.USAGE, True), done.err


def test_what_is_not_there(desk: Desk) -> None:
    assert "compromise ls" in desk.invoke("keys", "compromise", "plan", NOBODY).err
    assert desk.invoke("keys", "compromise", "run", NOBODY, "--yes").code == Exit.FAILED
    for words in (("recording", "--recording", NOBODY), ("token", "--token-id", NOBODY)):
        assert desk.invoke(*DECLARE, *words, "--reason", "x", "--yes").code == Exit.FAILED
