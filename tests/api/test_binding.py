"""What the table promises is what the server does: access, queries, bodies, answers."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from tests.api.house import (
    BEARER_SERVICE,
    BEARER_SESSION,
    RECORDING,
    ROUTES,
    House,
    running,
)
from vault.api import dispatch
from vault.api.binding import AccessKind
from vault.api.dispatch import MAX_JSON_BYTES, install

Json = dict[str, object]


@pytest.fixture
async def house() -> AsyncIterator[House]:
    async with running() as started:
        yield started


async def get(house: House, path: str, *, expect: int, headers: dict[str, str] | None = None) -> Json:
    async with house.client.get(path, headers=headers) as answer:
        assert answer.status == expect, await answer.text()
        body: Json = await answer.json(content_type=None)
        return body


async def post(house: House, body: bytes, *, expect: int, content_type: str = "application/json") -> Json:
    headers = {**BEARER_SERVICE, "Content-Type": content_type}
    async with house.client.post("/v1/notes", data=body, headers=headers) as answer:
        assert answer.status == expect, await answer.text()
        document: Json = await answer.json(content_type=None)
        return document


async def test_the_kind_of_credential_picks_the_row(house: House) -> None:
    path = f"/v1/recordings/{RECORDING}"
    assert (await get(house, path, expect=200, headers=BEARER_SESSION))["who"] == "session:None"
    assert (await get(house, path, expect=200, headers=BEARER_SERVICE))["who"] == "service:read"


async def test_no_credential_or_one_of_another_kind_is_one_and_the_same_401(house: House) -> None:
    missing = await get(house, "/v1/recordings", expect=401)
    other = await get(house, "/v1/recordings", expect=401, headers=BEARER_SERVICE)
    wrong = await get(house, "/v1/recordings", expect=401, headers={"Authorization": "Bearer rvs_guess"})
    assert missing == other == wrong
    assert missing["code"] == "unauthenticated"


async def test_an_open_route_asks_nobody(house: House) -> None:
    async with house.client.delete("/v1/nothing", headers=BEARER_SESSION) as answer:
        assert answer.status == 204
        assert await answer.read() == b""
    assert house.doorkeeper.admitted == []


async def test_a_query_is_parsed_and_has_defaults(house: House) -> None:
    seen = await get(house, "/v1/recordings?limit=5&state=failed", expect=200, headers=BEARER_SESSION)
    assert seen["what"] == "5 failed"
    assert (await get(house, "/v1/recordings", expect=200, headers=BEARER_SESSION))["what"] == "20 None"


@pytest.mark.parametrize(
    ("query", "fault"),
    [
        ("limit=Lovelace", {"field": "limit", "rule": "int_parsing", "limits": {}}),
        ("limit=0", {"field": "limit", "rule": "greater_than_equal", "limits": {"ge": 1}}),
        (
            "state=Lovelace",
            {"field": "state", "rule": "literal_error", "limits": {"expected": "'published' or 'failed'"}},
        ),
        ("Lovelace=1", {"field": "*", "rule": "extra_forbidden", "limits": {}}),
        ("limit=1&limit=2", {"field": "limit", "rule": "int_type", "limits": {}}),
    ],
)
async def test_a_bad_query_names_field_and_rule_and_never_the_input(
    house: House, query: str, fault: Json
) -> None:
    problem = await get(house, f"/v1/recordings?{query}", expect=400, headers=BEARER_SESSION)
    assert problem["code"] == "invalid-query"
    assert problem["faults"] == [fault]
    assert "Lovelace" not in json.dumps(problem)


async def test_nobody_learns_the_schema_without_a_credential(house: House) -> None:
    await get(house, "/v1/recordings?limit=Lovelace", expect=401)


async def test_a_body_is_parsed_and_the_handler_may_add_headers(house: House) -> None:
    async with house.client.post("/v1/notes", json={"title": "ok"}, headers=BEARER_SERVICE) as answer:
        assert (answer.status, answer.headers["Location"]) == (201, "/v1/notes/1")
        assert await answer.json() == {"who": "service:write", "what": "ok"}


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({"title": "Lovelace" * 2}, [("title", "string_too_long")]),
        ({}, [("title", "missing")]),
        ({"title": 5}, [("title", "string_type")]),
        ({"title": "a", "tags": ["ok", "LOVELACE"]}, [("tags.1", "string_pattern_mismatch")]),
        ({"title": "a", "Lovelace": 1}, [("*", "extra_forbidden")]),
        (["Lovelace"], [("", "model_type")]),
    ],
)
async def test_a_bad_body_names_fields_and_rules(
    house: House, body: object, fields: list[tuple[str, str]]
) -> None:
    problem = await post(house, json.dumps(body).encode(), expect=422)
    faults = problem["faults"]
    assert isinstance(faults, list)
    assert [(each["field"], each["rule"]) for each in faults] == fields
    assert "lovelace" not in json.dumps(problem).lower()


async def test_a_thousand_faults_are_answered_by_twenty(house: House) -> None:
    body = json.dumps({"title": "a", "tags": ["A"] * 1000}).encode()
    faults = (await post(house, body, expect=422))["faults"]
    assert isinstance(faults, list)
    assert len(faults) == 20


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff\xfe", b'{"title": "\xff"}', b"[" * 5000, b'{"title":"a"}x', b"Lovelace"]
)
async def test_what_is_not_json_is_malformed(house: House, body: bytes) -> None:
    problem = await post(house, body, expect=400)
    assert problem["code"] == "malformed-json"
    assert "faults" not in problem


@pytest.mark.parametrize("kind", ["text/plain", "application/jsonx", "application/xml", "*/*", "rubbish"])
async def test_another_content_type_is_415(house: House, kind: str) -> None:
    assert (await post(house, b'{"title":"a"}', expect=415, content_type=kind))[
        "code"
    ] == "unsupported-media-type"


async def test_a_charset_does_not_matter_to_json(house: House) -> None:
    await post(house, b'{"title":"a"}', expect=201, content_type="Application/JSON; charset=utf-8")


async def test_an_encoded_body_is_refused_so_that_nothing_inflates(house: House) -> None:
    headers = {**BEARER_SERVICE, "Content-Type": "application/json", "Content-Encoding": "gzip"}
    async with house.client.post("/v1/notes", data=b"not gzip", headers=headers) as answer:
        assert answer.status == 415


async def test_a_large_body_is_refused_with_a_length_and_without(house: House) -> None:
    large = b" " * (MAX_JSON_BYTES + 1)
    assert (await post(house, large, expect=413))["code"] == "body-too-large"

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(80):
            yield b" " * 1024

    headers = {**BEARER_SERVICE, "Content-Type": "application/json"}
    async with house.client.post("/v1/notes", data=pieces(), headers=headers) as answer:
        assert answer.status == 413


async def test_the_largest_body_is_taken(house: House) -> None:
    await post(house, b'{"title":"a"}'.ljust(MAX_JSON_BYTES), expect=201)


async def test_a_body_that_dribbles_is_cut_off(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "JSON_READ_TIMEOUT_S", 0.2)
    head = (
        b"POST /v1/notes HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: " + bearer() + b"\r\n"
        b"Content-Type: application/json\r\nContent-Length: 50\r\n\r\n{"
    )
    assert (await house.raw(head)).startswith(b"HTTP/1.1 408 ")


def bearer() -> bytes:
    return BEARER_SERVICE["Authorization"].encode()


@pytest.mark.parametrize(("kind", "status"), [("video/webm", 200), ("audio/webm", 415), ("", 200)])
async def test_a_media_body_reaches_the_handler_as_a_stream(house: House, kind: str, status: int) -> None:
    headers = {**BEARER_SERVICE, **({"Content-Type": kind} if kind else {})}
    path = f"/v1/recordings/{RECORDING}/source"
    async with house.client.put(
        path, data=b"x" * 100_000, headers=headers, skip_auto_headers=["Content-Type"]
    ) as answer:
        assert answer.status == status
        if status == 200:
            assert (await answer.json())["what"] == "100000"


@pytest.mark.parametrize(
    "recording",
    ["no-such-form", RECORDING.upper(), RECORDING.replace("-", ""), "%2e%2e", "a%2Fb", f"%7B{RECORDING}%7D"],
)
async def test_an_id_that_is_not_of_its_form_is_not_there(house: House, recording: str) -> None:
    raw = await house.raw(
        f"GET /v1/recordings/{recording} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        f"Authorization: {BEARER_SESSION['Authorization']}\r\n\r\n".encode()
    )
    absent = await get(house, "/v1/no-such-path", expect=404)
    assert raw.startswith(b"HTTP/1.1 404 ")
    assert json.loads(raw.partition(b"\r\n\r\n")[2]) == absent


async def test_head_has_the_headers_of_get_and_no_body(house: House) -> None:
    path = f"/v1/recordings/{RECORDING}"
    async with house.client.get(path, headers=BEARER_SESSION) as answer:
        length = answer.headers["Content-Length"]
    async with house.client.head(path, headers=BEARER_SESSION) as answer:
        assert (answer.status, answer.headers["Content-Length"]) == (200, length)
        assert answer.content_type == "application/json"
        assert await answer.read() == b""


async def test_head_exists_only_where_a_row_says_so(house: House) -> None:
    async with house.client.head("/v1/undeclared") as answer:
        assert (answer.status, answer.headers["Allow"]) == (405, "GET")
    async with house.client.head(f"/v1/recordings/{RECORDING}", headers=BEARER_SERVICE) as answer:
        assert answer.status == 401


async def test_100_continue_comes_after_admission(house: House) -> None:
    head = (
        b"PUT /v1/recordings/" + RECORDING.encode() + b"/source HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    )
    size = b"Content-Length: 5\r\nExpect: 100-continue\r\n"
    refused = await house.raw(head + size + b"\r\n")
    assert refused.startswith(b"HTTP/1.1 401 ")
    welcome = await house.raw(head + size + b"Authorization: " + bearer() + b"\r\n\r\nhello")
    assert welcome.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 ")
    wrong_type = await house.raw(
        head + size + b"Content-Type: text/html\r\nAuthorization: " + bearer() + b"\r\n\r\n"
    )
    assert wrong_type.startswith(b"HTTP/1.1 415 ")


async def test_an_answer_that_the_row_does_not_declare_is_a_bug_and_is_not_sent(house: House) -> None:
    assert (await get(house, "/v1/undeclared", expect=500))["code"] == "internal"


def test_two_rows_for_one_call_are_refused_at_start() -> None:
    app = web.Application()
    with pytest.raises(ValueError, match="GET /v1/recordings stands twice in the table for session"):
        install(app, routes=(ROUTES[0], ROUTES[0]), authenticator=NoDoor())


class NoDoor:
    def kind(self, request: web.Request) -> AccessKind | None:
        raise AssertionError(request)

    async def admit(self, request: web.Request, access: object) -> object:
        raise AssertionError(request, access)
