"""Failures on the wire and in the log: one shape, no echo, and never a clean end of a short stream."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import aiohttp
import pytest
import structlog
from aiohttp import web
from structlog.testing import capture_logs

from tests.api.house import BEARER_SESSION, TICKET_TOKEN, House, running
from vault.api import dispatch
from vault.api.problems import TABLE, Code, Problem

CANARY = "Lovelace"


@pytest.fixture
async def house() -> AsyncIterator[House]:
    async with running() as started:
        yield started


async def test_every_code_has_facts_and_a_document_of_rfc_9457() -> None:
    assert set(TABLE) == set(Code)
    for code, facts in TABLE.items():
        document = Problem(code).document()
        assert document["type"] == f"/problems/{code}"
        assert (document["status"], document["title"]) == (facts.status, facts.title)
        assert 400 <= facts.status <= 599


@pytest.mark.parametrize("code", [Code.NOT_FOUND, Code.UNAUTHENTICATED, Code.INTERNAL])
def test_constant_bodies_cannot_be_made_different(code: Code) -> None:
    with pytest.raises(ValueError, match="constant"):
        Problem(code, detail="it belongs to somebody else")


async def test_an_unknown_path_and_method_are_constant_problems(house: House) -> None:
    async with house.client.get(f"/{CANARY}?{CANARY}") as answer:
        assert answer.status == 404
        assert answer.content_type == "application/problem+json"
        assert CANARY not in await answer.text() + str(answer.headers)
    async with house.client.put("/v1/recordings") as answer:
        assert (answer.status, answer.headers["Allow"]) == (405, "GET,HEAD")
        assert (await answer.json(content_type=None))["code"] == "method-not-allowed"


async def test_a_401_says_bearer(house: House) -> None:
    async with house.client.get("/v1/recordings") as answer:
        assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, "Bearer")


async def test_a_registered_exception_is_its_code_and_its_message_stays_inside(house: House) -> None:
    with capture_logs() as lines:
        async with house.client.get("/v1/fails/locked") as answer:
            assert (answer.status, (await answer.json(content_type=None))["code"]) == (409, "conflict")
    assert CANARY not in repr(lines)


async def test_a_problem_may_say_when_to_come_back(house: House) -> None:
    async with house.client.get("/v1/fails/problem") as answer:
        assert (answer.status, answer.headers["Retry-After"]) == (503, "7")
        document = await answer.json(content_type=None)
        assert (document["detail"], document["retry_after_s"]) == ("The key service is away.", 7)


async def test_an_unknown_exception_is_logged_by_class_and_place_only(house: House) -> None:
    with capture_logs() as lines:
        async with house.client.get(f"/v1/fails/{CANARY}") as answer:
            assert answer.status == 500
            assert CANARY not in await answer.text()
            request_id = answer.headers["X-Request-Id"]
    failed = next(line for line in lines if line["event"] == "request failed")
    assert failed["exception"] == "builtins.RuntimeError"
    assert failed["causes"] == ["builtins.ValueError"]
    assert failed["request_id"] == request_id
    assert failed["places"][-1].startswith("api/house.py:")
    assert failed["places"][-1].endswith(" fails")
    assert CANARY not in repr(lines)


async def test_every_answer_is_dressed(house: House) -> None:
    for path in ("/v1/recordings", "/v1/nowhere", "/v1/fails/x", f"/v1/t/{TICKET_TOKEN}/whole"):
        async with house.client.get(path, headers=BEARER_SESSION) as answer:
            assert answer.headers["Cache-Control"] == "no-store"
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
            assert answer.headers["Referrer-Policy"] == "no-referrer"
            assert answer.headers["Server"] == "replayvault"
            assert len(answer.headers["X-Request-Id"]) == 16
            assert "Strict-Transport-Security" not in answer.headers
            assert ("Content-Security-Policy" in answer.headers) == (answer.content_type != "video/mp4")


async def test_https_installations_say_so() -> None:
    async with running(hsts_max_age_s=31_536_000) as house, house.client.get("/v1/nowhere") as answer:
        assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"


async def test_access_lines_hold_patterns_never_paths_tickets_or_queries(house: House) -> None:
    with capture_logs() as lines:
        async with house.client.get(f"/v1/t/{TICKET_TOKEN}/whole?name={CANARY}") as answer:
            assert len(await answer.read()) == 2000
        async with house.client.get(f"/{CANARY}") as answer:
            await answer.read()
        async with house.client.request("PROPFIND", "/v1/recordings") as answer:
            assert answer.status == 405
    seen = [(line["method"], line["route"], line["outcome"]) for line in lines if line["event"] == "request"]
    assert seen == [
        ("GET", "/v1/t/{ticket}/{file}", 200),
        ("GET", "none", 404),
        ("other", "none", 405),
    ]
    assert TICKET_TOKEN not in repr(lines)
    assert CANARY.lower() not in repr(lines).lower()


@pytest.mark.parametrize("how", ["raise", "chunked-raise", "short"])
async def test_a_stream_that_fails_after_its_head_never_ends_cleanly(house: House, how: str) -> None:
    with capture_logs() as lines:
        async with house.client.get(f"/v1/t/{TICKET_TOKEN}/{how}") as answer:
            assert answer.status == 200
            with pytest.raises(aiohttp.ClientError):
                await answer.read()
    assert [line["outcome"] for line in lines if line["event"] == "request"] == ["aborted"]
    assert CANARY not in repr(lines)
    assert sum(line["event"] == "answer cut" for line in lines) == 1


async def test_nothing_is_added_to_a_stream_that_broke(house: House) -> None:
    raw = await house.raw(f"GET /v1/t/{TICKET_TOKEN}/chunked-raise HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert raw.count(b"HTTP/1.1") == 1
    assert b"problem" not in raw
    assert not raw.endswith(b"0\r\n\r\n")


async def test_head_of_a_stream_owes_no_bytes(house: House) -> None:
    async with house.client.head(f"/v1/t/{TICKET_TOKEN}/whole") as answer:
        assert (answer.status, answer.headers["Content-Length"]) == (200, "2000")


async def first_of(lines: list[structlog.typing.EventDict]) -> None:
    for _ in range(250):
        if lines:
            return
        await asyncio.sleep(0.02)


async def test_a_client_that_leaves_in_mid_stream_is_no_error(house: House) -> None:
    with capture_logs() as lines:
        answer = await house.client.get(f"/v1/t/{TICKET_TOKEN}/endless")
        await answer.content.readexactly(1000)
        answer.close()
        await first_of(lines)
    assert [(line["log_level"], line.get("outcome")) for line in lines] == [("info", "aborted")]


MALFORMED = [
    b"LOVELACE\r\n\r\n",
    b"GET /v1/recordings HTTP/9.9\r\nHost: x\r\nAuthorization: Lovelace\r\n\r\n",
    b"GET /Lovelace /Lovelace HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GE\x00T /Lovelace HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nLove lace: 1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer rvs_Lovelace\x00\r\n\r\n",
    b"GET /" + b"Lovelace" * 2000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"Lovelace" * 3000 + b"\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: Lovelace\r\n" * 400 + b"\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: Lovelace\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\nLovelace",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03Lovelace\r\n\r\n",
]


@pytest.mark.parametrize("request_bytes", MALFORMED, ids=range(len(MALFORMED)))
async def test_what_is_not_http_gets_a_constant_problem(
    house: House, request_bytes: bytes, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with capture_logs() as lines:
        answer = await house.raw(request_bytes)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.0 400 "), answer
    assert b"application/problem+json" in head
    assert b"no-store" in head
    assert json.loads(body) == Problem(Code.MALFORMED_REQUEST).document()
    everything = answer + repr([lines, capfd.readouterr(), caplog.text]).encode()
    assert CANARY.encode() not in everything


@pytest.mark.parametrize("path", ["/v1/recordings", "/v1/nowhere"])
async def test_an_unknown_expectation_is_417_and_is_not_repeated(house: House, path: str) -> None:
    answer = await house.raw(
        f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nExpect: {CANARY}\r\n\r\n".encode()
    )
    assert answer.startswith(b"HTTP/1.1 417 ")
    assert b"expectation-failed" in answer
    assert CANARY.encode() not in answer


BROKEN_UPLOAD = (
    b"POST /v1/notes HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    b"Authorization: Bearer rvk_" + b"k" * 43 + b"\r\nTransfer-Encoding: chunked\r\n\r\n"
)


async def test_a_chunked_body_that_turns_to_rubbish_is_timed_out(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "JSON_READ_TIMEOUT_S", 0.2)
    answer = await house.raw(BROKEN_UPLOAD, b"Lovelace\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert CANARY.encode() not in answer


async def test_a_client_that_leaves_in_mid_upload_is_no_error(house: House) -> None:
    _, writer = await asyncio.open_connection(house.host, house.port)
    with capture_logs() as lines:
        writer.write(BROKEN_UPLOAD + b'5\r\n{"ti')
        await asyncio.sleep(0.1)
        writer.transport.abort()
        await first_of(lines)
    assert [(line["log_level"], line.get("outcome")) for line in lines] == [("info", "aborted")]


async def test_a_body_that_does_not_decode_reaches_no_log(
    house: House, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with capture_logs() as lines:
        answer = await house.raw(
            b"POST /v1/notes HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Content-Encoding: gzip\r\nAuthorization: Bearer rvk_" + b"k" * 43 + b"\r\n"
            b"Content-Length: 8\r\n\r\n",
            b"Lovelace",
        )
    assert answer.startswith(b"HTTP/1.1 415 ")
    assert [(line["log_level"], line.get("outcome")) for line in lines] == [("info", 415)]
    assert (caplog.text, capfd.readouterr().err) == ("", "")


async def test_what_fails_outside_the_middleware_is_told_without_its_message(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def breaks(_: web.StreamResponse, __: bytes = b"") -> None:
        raise RuntimeError(CANARY)

    async with running() as house:
        monkeypatch.setattr(web.Response, "write_eof", breaks)
        with capture_logs() as lines:
            await house.raw(b"GET /v1/nowhere HTTP/1.1\r\nHost: x\r\n\r\n")
    assert [line["exception"] for line in lines if line["event"] == "connection failed"] == [
        "builtins.RuntimeError"
    ]
    assert CANARY not in repr(lines) + caplog.text
