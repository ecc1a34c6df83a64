"""`replayvault breaker` and what `doctor` and the client say of it, against a running service."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
from redis import Redis

from tests.cli.conftest import Desk
from tests.cli.test_doctor import findings, troubles
from tests.servers.child import free_port
from vault.breaker.shared import STATE
from vault.cli.exits import Exit

WHY = ("--reason", "release 1.4.1 is back")


@pytest.fixture(autouse=True)
def _closed_in_the_end(desk: Desk, recording: str) -> Iterator[None]:
    del recording  # the desk has a session then
    yield
    desk.invoke("breaker", "close", *WHY, "--yes")


def actions(desk: Desk) -> list[str]:
    out = desk.invoke("audit", "tail", "-n", "500").out
    return [line for line in out.splitlines() if "breaker." in line]


def test_an_operator_stops_lists_and_lets_them_go_on(desk: Desk, recording: str) -> None:
    assert desk.run("breaker", "status", "--json").json == {"state": "closed"}
    assert desk.invoke("recordings", "ls", token=desk.session).code == Exit.OK
    opened = desk.run("breaker", "open", "--reason", "a strange title", "--json")
    assert opened.code == Exit.OK
    status = desk.run("breaker", "status", "--json")
    assert status.code == Exit.REFUSED
    assert (status.json["state"], status.json["id"]) == ("open", opened.json["opened"])
    assert (status.json["place"], status.json["count"]) == ("operator", 0)
    refused = desk.invoke("recordings", "ls", token=desk.session)
    assert refused.code == Exit.REFUSED
    assert "operator looks into a problem" in refused.err
    assert "listing-stopped" in refused.err
    film = desk.folder / "own.mp4"
    assert desk.invoke("get", recording, "-o", film, token=desk.session).code == Exit.OK
    assert desk.invoke("breaker", "open", "--reason", "again", "--json").json == {"opened": None}
    closed = desk.run("breaker", "close", *WHY, "--json", stdin=opened.json["opened"] + "\n")
    assert (closed.code, closed.json) == (Exit.OK, {"closed": opened.json["opened"]})
    assert desk.invoke("recordings", "ls", token=desk.session).code == Exit.OK
    assert desk.invoke("breaker", "close", *WHY, "--json").json == {"closed": None}
    *_, told_opening, _again, told_closing = actions(desk)
    assert "breaker.open" in told_opening
    assert "a strange title" in told_opening
    assert "breaker.close" in told_closing
    assert "release 1.4.1 is back" in told_closing


def test_nothing_is_closed_by_mistake(desk: Desk) -> None:
    opening = desk.invoke("breaker", "open", "--reason", "x", "--json").json["opened"]
    assert desk.invoke("breaker", "close", "--yes").code == Exit.USAGE
    assert desk.invoke("breaker", "close", "--reason", " ", "--yes").code == Exit.USAGE
    assert desk.invoke("breaker", "close", "--reason", "a\x1bb", "--yes").code == Exit.USAGE
    assert desk.invoke("breaker", "close", "--reason", "x" * 201, "--yes").code == Exit.USAGE
    assert desk.invoke("breaker", "close", *WHY, stdin="yes\n").code == Exit.REFUSED
    would = desk.invoke("breaker", "close", *WHY, "--dry-run", "--json")
    assert would.json["would_close"]["id"] == opening
    assert desk.invoke("breaker", "status").code == Exit.REFUSED


def test_doctor_finds_it(desk: Desk) -> None:
    assert findings(desk.invoke("doctor", "--json"))["listing breaker"]["verdict"] == "ok"
    desk.invoke("breaker", "open", "--reason", "x")
    done = desk.invoke("doctor", "--json")
    assert (done.code, troubles(done)) == (Exit.PARTLY_FAILED, {"listing breaker"})
    assert "breaker close" in findings(done)["listing breaker"]["todo"]


@pytest.mark.parametrize(
    "spoil",
    [
        ("HSET", STATE, "state", "open", "id", "x"),
        ("HSET", STATE, "at_ms", "soon"),
        ("HSET", STATE, "release", b"\xff\xfe"),
        ("SET", STATE, "open"),
    ],
    ids=["fields missing", "no number", "no text", "no hash"],
)
def test_a_record_that_cannot_be_read_is_cleared(
    desk: Desk, recording: str, spoil: tuple[str | bytes, ...]
) -> None:
    del recording  # the desk has a session since it was stored
    with contextlib.closing(Redis.from_url(f"unix://{desk.server.data / 'valkey' / 'valkey.sock'}")) as redis:
        redis.delete(STATE)
        redis.execute_command(*spoil)  # type: ignore[no-untyped-call]
    status = desk.invoke("breaker", "status")
    assert (status.code, "breaker close" in status.err) == (Exit.DEPENDENCY_DOWN, True)
    assert troubles(desk.invoke("doctor", "--json")) == {"listing breaker"}
    assert desk.invoke("breaker", "close", *WHY, stdin="yes\n").code == Exit.REFUSED
    assert "would_clear" in desk.invoke("breaker", "close", *WHY, "--dry-run", "--json").json
    done = desk.invoke("breaker", "close", *WHY, "--json", stdin="unreadable\n")
    assert (done.code, list(done.json)) == (Exit.OK, ["cleared"])
    told = actions(desk)[-1]
    assert "could not be read" in told
    assert WHY[1] in told
    assert desk.invoke("breaker", "status", "--json").json == {"state": "closed"}
    assert desk.invoke("recordings", "ls", token=desk.session).code == Exit.OK


def test_a_record_that_cannot_be_read_stops_lists(desk: Desk, recording: str) -> None:
    del recording
    with contextlib.closing(Redis.from_url(f"unix://{desk.server.data / 'valkey' / 'valkey.sock'}")) as redis:
        redis.set(STATE, "open")
    assert desk.invoke("recordings", "ls", token=desk.session).code == Exit.DEPENDENCY_DOWN
    assert desk.invoke("breaker", "close", *WHY, "--yes").code == Exit.OK


@pytest.mark.parametrize("words", [("status",), ("open", *WHY), ("close", *WHY)], ids=lambda words: words[0])
def test_a_redis_that_is_away_is_a_sentence(desk: Desk, words: tuple[str, ...]) -> None:
    away = {"REPLAYVAULT_REDIS_URL": f"redis://127.0.0.1:{free_port()}"}
    done = desk.invoke("breaker", *words, more=away)
    assert done.code == Exit.DEPENDENCY_DOWN
    assert "Redis does not answer" in done.err


def test_a_webhook_that_is_away_changes_nothing(desk: Desk) -> None:
    away = {"REPLAYVAULT_ALARM_WEBHOOK_URL": f"http://127.0.0.1:{free_port()}/s3cret"}
    done = desk.invoke("breaker", "open", "--reason", "x", "--json", more=away)
    assert done.code == Exit.OK
    assert "the webhook was not told" in done.err
    assert done.json["opened"]
    assert "s3cret" not in done.out + done.err
