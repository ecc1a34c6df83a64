"""The published document is valid OpenAPI 3.1 and says what the server does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from tests.api.house import BEARER_SERVICE, BEARER_SESSION, RECORDING, ROUTES, TICKET_TOKEN, House, running
from vault.api.binding import Route
from vault.api.openapi import document, openapi_route
from vault.api.problems import Code

DOCUMENT = document(ROUTES, version="1.2.3")


@pytest.fixture
async def house() -> AsyncIterator[House]:
    async with running((*ROUTES, openapi_route(ROUTES, version="1.2.3"))) as started:
        yield started


def operation(path: str, method: str) -> dict[str, Any]:
    found: dict[str, Any] = DOCUMENT["paths"][path][method]
    return found


def test_it_is_valid_openapi() -> None:
    assert list(OpenAPIV31SpecValidator(DOCUMENT).iter_errors()) == []


async def test_it_is_served_to_anybody(house: House) -> None:
    async with house.client.get("/openapi.json") as answer:
        assert (answer.status, answer.content_type) == (200, "application/json")
        assert await answer.json() == DOCUMENT


def test_every_row_is_in_it_and_nothing_else() -> None:
    described = {(method, path) for path, methods in DOCUMENT["paths"].items() for method in methods}
    assert described == {(method.lower(), row.path) for row in ROUTES for method in row.methods()}


def test_operation_ids_are_unique() -> None:
    ids = [each["operationId"] for methods in DOCUMENT["paths"].values() for each in methods.values()]
    assert len(ids) == len(set(ids))


def test_a_call_open_to_two_credentials_lists_both() -> None:
    assert operation("/v1/recordings/{recording_id}", "get")["security"] == [
        {"sessionBearer": []},
        {"sessionCookie": []},
        {"serviceBearer": ["read"]},
    ]
    assert operation("/v1/recordings/{recording_id}", "head")["security"] == [
        {"sessionBearer": []},
        {"sessionCookie": []},
    ]
    assert operation("/v1/nothing", "delete")["security"] == [{}]


def test_path_parameters_have_types() -> None:
    recording, *_ = operation("/v1/recordings/{recording_id}", "get")["parameters"]
    assert recording["schema"] == {"type": "string", "format": "uuid"}
    ticket, file = operation("/v1/t/{ticket}/{file}", "get")["parameters"]
    assert (ticket["schema"]["pattern"], file["schema"]) == ("^rvt_[A-Za-z0-9_-]{43}$", {"type": "string"})


def test_a_pattern_in_a_path_is_a_pattern_in_the_document() -> None:
    play = next(row for row in ROUTES if "{file}" in row.path)
    row = Route("GET", r"/v1/{file:thumbs-[0-9]{3}\.jpg}", play.handler, play.access, "Sprite", play.answers)
    made = document((row,), version="1")
    ((path, methods),) = made["paths"].items()
    assert path == "/v1/{file}"
    assert methods["get"]["parameters"][0]["schema"]["pattern"] == r"^(?:thumbs-[0-9]{3}\.jpg)$"
    assert list(OpenAPIV31SpecValidator(made).iter_errors()) == []


def test_query_bodies_and_answers_are_described() -> None:
    limit, state = operation("/v1/recordings", "get")["parameters"]
    assert (limit["name"], limit["required"], limit["schema"]["maximum"]) == ("limit", False, 100)
    assert state["name"] == "state"
    note = operation("/v1/notes", "post")
    assert note["requestBody"]["content"]["application/json"]["schema"]["$ref"].endswith("/Note")
    assert set(note["responses"]) >= {"201", "400", "401", "403", "408", "413", "415", "422", "500"}
    upload = operation("/v1/recordings/{recording_id}/source", "put")
    assert set(upload["requestBody"]["content"]) == {"video/*", "application/octet-stream"}
    assert set(operation("/v1/t/{ticket}/{file}", "get")["responses"]["200"]["content"]) == {"video/mp4"}
    assert "content" not in operation("/v1/t/{ticket}/{file}", "head")["responses"]["200"]


def test_declared_problems_are_named() -> None:
    responses = operation("/v1/fails/{how}", "get")["responses"]
    assert str(Code.UNAVAILABLE) in responses["503"]["description"]
    assert set(responses["503"]["content"]) == {"application/problem+json"}


CALLS = [
    ("GET", "/v1/recordings", "/v1/recordings", BEARER_SESSION, None),
    ("GET", "/v1/recordings", "/v1/recordings?limit=x", BEARER_SESSION, None),
    ("GET", "/v1/recordings/{recording_id}", f"/v1/recordings/{RECORDING}", BEARER_SERVICE, None),
    ("GET", "/v1/recordings/{recording_id}", "/v1/recordings/x", BEARER_SESSION, None),
    ("POST", "/v1/notes", "/v1/notes", BEARER_SERVICE, {"title": "a"}),
    ("POST", "/v1/notes", "/v1/notes", BEARER_SERVICE, {"title": 1}),
    ("POST", "/v1/notes", "/v1/notes", BEARER_SESSION, {"title": "a"}),
    ("GET", "/v1/t/{ticket}/{file}", f"/v1/t/{TICKET_TOKEN}/whole", {}, None),
    ("DELETE", "/v1/nothing", "/v1/nothing", {}, None),
    ("GET", "/v1/fails/{how}", "/v1/fails/problem", {}, None),
]


@pytest.mark.parametrize(("method", "path", "url", "headers", "body"), CALLS)
async def test_what_the_server_answers_is_what_the_document_says(
    house: House, *, method: str, path: str, url: str, headers: dict[str, str], body: object
) -> None:
    async with house.client.request(method, url, headers=headers, json=body) as answer:
        described = operation(path, method.lower())["responses"][str(answer.status)]
        if "content" not in described:
            assert await answer.read() == b""
            return
        media = described["content"][answer.content_type]
        if "schema" in media:
            schema = {**media["schema"], "components": DOCUMENT["components"]}
            OAS31Validator(schema).validate(await answer.json(content_type=None))
