"""The client's pure parts: tokens, errors, documents, events, backoff; and what it leaves alone."""

from __future__ import annotations

import copy
import datetime as dt
import itertools
import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from vault.api import models
from vault.api.problems import Code
from vault.client import Backoff, Token, documents
from vault.client.backoff import parse_retry_after
from vault.client.errors import (
    LEAVES,
    Damaged,
    InvalidToken,
    Problem,
    Refused,
    ServerFailed,
    Unavailable,
    UnexpectedAnswer,
    refusal,
)
from vault.client.events import MAX_EVENT_BYTES, EventParser
from vault.details import Metadata

TEXT = "rvk_" + "Aa0_-" * 8 + "xyz"
NOW = dt.datetime(2026, 3, 1, 12, 0, tzinfo=dt.UTC)


def test_every_code_of_the_service_has_a_leaf() -> None:
    assert set(LEAVES) == {str(code) for code in Code}


@pytest.mark.parametrize(
    ("code", "status", "leaf"),
    [
        ("http-502", 502, Unavailable),
        ("http-504", 504, Unavailable),
        ("damaged", 502, Damaged),
        ("something-newer", 500, ServerFailed),
        ("something-newer", 418, Refused),
    ],
)
def test_codes_that_are_unknown_are_judged_by_their_status(
    code: str, status: int, leaf: type[Refused]
) -> None:
    refused = refusal(Problem(status_code=status, code=code, detail="-", request_id="-"))
    assert type(refused) is leaf


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (documents.RecordingStatus, models.RecordingStatus),
        (documents.StatusPage, models.StatusPage),
        (documents.RecordingView, models.RecordingView),
        (documents.RecordingPage, models.RecordingPage),
        (documents.OpenedSession, models.SessionCreated),
        (documents.SessionView, models.SessionView),
        (documents.SessionList, models.SessionList),
        (documents.Revoked, models.Revoked),
        (documents.Metadata, Metadata),
    ],
)
def test_every_field_that_is_read_is_sent(ours: type[BaseModel], theirs: type[BaseModel]) -> None:
    assert set(ours.model_fields) <= set(theirs.model_fields)


def test_a_field_of_a_newer_service_is_passed_over() -> None:
    page = documents.Revoked.model_validate_json('{"revoked": 3, "newer": {}}')
    assert page.revoked == 3


def test_states_and_scopes_are_the_service_s() -> None:
    assert {each.value for each in documents.State} == set(get_args(models.State))
    scopes = models.NewSession.model_fields["scopes"].default
    assert {each.value for each in documents.SessionScope} == set(scopes)


def test_a_token_leaves_by_its_one_door() -> None:
    token = Token(TEXT)
    assert token.reveal(to="a test") == TEXT
    with pytest.raises(ValueError, match="who receives"):
        token.reveal(to="")
    for use in (copy.copy, copy.deepcopy, pickle.dumps, hash, token.__eq__):
        with pytest.raises(TypeError):
            use(token)
    assert TEXT not in repr(token) + str(token) + f"{token:>80}" + repr([token])


@pytest.mark.parametrize(
    "text", ["", "rvk_short", TEXT + "x", TEXT + "\n", "rvx" + TEXT[3:], TEXT.replace("0", "é")]
)
def test_what_is_no_token_is_refused_and_not_repeated(text: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidToken) as refused:
        Token(text)
    assert not text or text not in str(refused.value)
    file = tmp_path / "token"
    file.write_text(f"{text} {text}")
    with pytest.raises(InvalidToken) as unread:
        Token.from_file(file)
    assert not text or text not in str(unread.value)


def test_a_token_file_that_is_missing_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(InvalidToken, match="No such file"):
        Token.from_file(tmp_path / "none")


@pytest.mark.parametrize(
    ("failed", "waited_s", "asked_s", "wait_s"),
    [
        (1, 0.0, None, 0.75),
        (2, 0.0, None, 1.5),
        (3, 0.0, None, 3.0),
        (3, 0.0, 2.0, 5.0),
        (4, 0.0, None, None),
        (1, 9.5, None, None),
        (1, 0.0, 11.0, None),
    ],
)
def test_waits_grow_and_end(
    failed: int, waited_s: float, asked_s: float | None, wait_s: float | None
) -> None:
    bounds = Backoff(attempts=4, first_wait_s=1.0, longest_wait_s=8.0, total_wait_s=10.0)
    assert bounds.wait_s(failed, waited_s=waited_s, asked_s=asked_s, chance=0.5) == wait_s


@given(st.integers(1, 3), st.floats(0, 1), st.one_of(st.none(), st.floats(0, 5)))
def test_a_wait_is_never_sooner_than_asked_for(failed: int, chance: float, asked_s: float | None) -> None:
    wait_s = Backoff().wait_s(failed, waited_s=0, asked_s=asked_s, chance=chance)
    assert wait_s is not None
    assert wait_s >= (asked_s or 0)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("120", 120.0),
        (" 5 ", 5.0),
        ("Sun, 01 Mar 2026 12:00:30 GMT", 30.0),
        ("Sun, 01 Mar 2026 11:00:00 GMT", 0.0),
        ("soon", None),
        ("-5", None),
        ("9" * 40, 999999999.0),
    ],
)
def test_both_forms_of_retry_after_are_read(header: str | None, seconds: float | None) -> None:
    assert parse_retry_after(header, now=NOW) == seconds


STREAM = (
    b': hello\n\nevent: status\ndata: {"a": 1}\n\nevent: other\ndata: no\n\n'
    b"event: status\r\ndata:x\r\ndata: y\r\n\r\n"
)


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_events_are_found_wherever_the_stream_is_cut_into_pieces(cuts: list[int]) -> None:
    parser, found = EventParser(), []
    edges = [0, *sorted(cuts), len(STREAM)]
    for start, end in itertools.pairwise(edges):
        found += list(parser.feed(STREAM[start:end]))
    assert found == ['{"a": 1}', "x\ny"]


@pytest.mark.parametrize("piece", [b"x" * (MAX_EVENT_BYTES + 1), b"data: xxxxxxxxxx\n" * MAX_EVENT_BYTES])
def test_an_event_without_end_is_not_kept(piece: bytes) -> None:
    with pytest.raises(UnexpectedAnswer):
        list(EventParser().feed(piece))


def test_the_client_stands_by_itself() -> None:
    """It can be shipped apart: nothing of the house is loaded with it."""
    script = "import json, sys, vault.client; print(json.dumps(list(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    loaded = {
        name for name in json.loads(done.stdout) if name.split(".")[0] in {"keys", "transcoder", "vault"}
    }
    assert "vault.client.wire" in loaded
    assert {name for name in loaded if name != "vault" and not name.startswith("vault.client")} == set()
