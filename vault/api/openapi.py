"""The OpenAPI 3.1 document, made from the table of routes and from nothing else.

Invariants:
- what the router serves is what the document says: paths, methods, credentials, types and problems come from the
  same rows;
- schemas are pydantic's JSON Schema (2020-12, as OpenAPI 3.1 takes it), each model once under `components`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from http import HTTPStatus
from typing import Any, Final, assert_never

from aiohttp import web
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from vault.api.binding import OPEN, AccessKind, AnyRoute, Call, MediaAnswer, MediaBody, Route
from vault.api.components import PROBLEM_SCHEMA, SCHEMES, Json
from vault.api.problems import MEDIA_TYPE, TABLE, Code

# aiohttp's `{name}` and `{name:pattern}`; a pattern may hold counted repeats such as `[0-9]{3}`.
_PARAMETER: Final = re.compile(r"\{(\w+)(?::([^{}]*(?:\{[^{}]*\}[^{}]*)*))?\}")
_Refs = Mapping[Any, Any]


def document(routes: Iterable[AnyRoute], *, version: str) -> Json:
    """The whole document for these rows; `version` is the product's."""
    rows = tuple(routes)
    refs, schemas = _schemas(rows)
    paths: dict[str, Json] = {}
    for (method, path), claims in _by_operation(rows).items():
        operation = _operation(claims, method=method, refs=refs, schemas=schemas)
        paths.setdefault(_PARAMETER.sub(r"{\1}", path), {})[method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {"title": "Replay Vault", "version": version, "license": {"name": "Apache-2.0"}},
        "paths": paths,
        "components": {"schemas": {**schemas, "Problem": PROBLEM_SCHEMA}, "securitySchemes": SCHEMES},
    }


def openapi_route(routes: Iterable[AnyRoute], *, version: str) -> AnyRoute:
    """A row that serves the document of `routes` at `/openapi.json`; made once, at start."""
    body = json.dumps(document(routes, version=version)).encode()

    async def serve(_: Call[None, None, None]) -> web.StreamResponse:
        return web.Response(body=body, content_type="application/json")

    return Route(
        method="GET",
        path="/openapi.json",
        handler=serve,
        access=OPEN,
        summary="This document",
        answers={200: MediaAnswer(("application/json",))},
        head=True,
    )


def _schemas(rows: tuple[AnyRoute, ...]) -> tuple[_Refs, Json]:
    """References by (model, mode), and the component schemas that they point to."""
    taken = {(model, "validation") for row in rows for model in (row.query, row.body) if _is_model(model)}
    given = {(model, "serialization") for row in rows for model in row.answers.values() if _is_model(model)}
    ordered: list[Any] = sorted(taken | given, key=lambda pair: (str(pair[0]), pair[1]))
    refs, found = models_json_schema(ordered, ref_template="#/components/schemas/{model}")
    schemas: Json = found.get("$defs", {})
    return refs, schemas


def _is_model(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, BaseModel)


def _by_operation(rows: tuple[AnyRoute, ...]) -> dict[tuple[str, str], list[AnyRoute]]:
    """Rows that differ only in their credential are one operation to OpenAPI."""
    operations: dict[tuple[str, str], list[AnyRoute]] = {}
    for row in rows:
        for method in row.methods():
            operations.setdefault((method, row.path), []).append(row)
    return operations


def _operation(rows: list[AnyRoute], *, method: str, refs: _Refs, schemas: Json) -> Json:
    path = rows[0].path
    operation: Json = {
        "operationId": "_".join([method.lower(), *re.findall(r"\w+", _PARAMETER.sub(r"\1", path))]),
        "summary": "; or: ".join(row.summary for row in rows),
        "security": [need for row in rows for need in _security(row)],
        "parameters": _path_parameters(path) + _query_parameters(rows, refs=refs, schemas=schemas),
        "responses": {**_answers(rows, refs=refs, bodiless=method == "HEAD"), **_problems(rows)},
    }
    body = _request_body(rows, refs=refs)
    return operation if body is None else {**operation, "requestBody": body}


def _security(row: AnyRoute) -> list[Json]:
    scopes = [] if row.access.scope is None else [row.access.scope]
    match row.access.kind:
        case AccessKind.SESSION:
            return [{"sessionBearer": []}, {"sessionCookie": []}]
        case AccessKind.SERVICE:
            return [{"serviceBearer": scopes}]
        case AccessKind.OPEN | AccessKind.TICKET:
            return [{}]  # OpenAPI has no scheme for a credential in the path: the parameter `ticket` says it
        case _:
            assert_never(row.access.kind)


def _path_parameters(path: str) -> list[Json]:
    return [
        {"name": name, "in": "path", "required": True, "schema": _path_schema(name, pattern=pattern)}
        for name, pattern in _PARAMETER.findall(path)
    ]


def _path_schema(name: str, *, pattern: str) -> Json:
    if name == "ticket":
        return {"type": "string", "pattern": "^rvt_[A-Za-z0-9_-]{43}$"}
    if name.endswith("_id"):
        return {"type": "string", "format": "uuid"}
    return {"type": "string", "pattern": f"^(?:{pattern})$"} if pattern else {"type": "string"}


def _query_parameters(rows: list[AnyRoute], *, refs: _Refs, schemas: Json) -> list[Json]:
    found: dict[str, Json] = {}
    for row in rows:
        if row.query is None:
            continue
        model = schemas[refs[row.query, "validation"]["$ref"].rpartition("/")[2]]
        for name, schema in model.get("properties", {}).items():
            required = name in model.get("required", [])
            found[name] = {"name": name, "in": "query", "required": required, "schema": schema}
    return list(found.values())


def _request_body(rows: list[AnyRoute], *, refs: _Refs) -> Json | None:
    content: Json = {}
    for row in rows:
        if isinstance(row.body, MediaBody):
            content.update({kind: {} for kind in row.body.content_types})
        elif row.body is not None:
            content["application/json"] = {"schema": refs[row.body, "validation"]}
        if row.form is not None:
            content.update({kind: {} for kind in row.form.content_types})
    return {"required": True, "content": content} if content else None


def _answers(rows: list[AnyRoute], *, refs: _Refs, bodiless: bool) -> Json:
    content: dict[int, Json] = {}
    for row in rows:
        for status, answer in row.answers.items():
            here = content.setdefault(status, {})
            if isinstance(answer, MediaAnswer):
                here.update({kind: {} for kind in answer.content_types})
            elif answer is not None:
                before = here.get("application/json", {"schema": {"anyOf": []}})["schema"]["anyOf"]
                here["application/json"] = {"schema": {"anyOf": [*before, refs[answer, "serialization"]]}}
    return {
        str(status): {"description": HTTPStatus(status).phrase}
        | ({} if bodiless or not here else {"content": here})
        for status, here in content.items()
    }


def _problems(rows: list[AnyRoute]) -> Json:
    by_status: dict[int, list[str]] = {}
    for code in sorted({code for row in rows for code in (*row.problems, *_implied(row))}):
        by_status.setdefault(TABLE[code].status, []).append(str(code))
    return {
        str(status): {
            "description": f"{HTTPStatus(status).phrase}: {', '.join(codes)}",
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for status, codes in sorted(by_status.items())
    }


def _implied(row: AnyRoute) -> Iterator[Code]:
    """Problems that the binder itself can answer for a row."""
    yield from (Code.MALFORMED_REQUEST, Code.EXPECTATION_FAILED, Code.INTERNAL)
    if row.access.kind is not AccessKind.OPEN:
        yield Code.UNAUTHENTICATED
    if row.access.kind is AccessKind.SERVICE:
        yield Code.FORBIDDEN
    if "{" in row.path:
        yield Code.NOT_FOUND
    if row.query is not None:
        yield Code.INVALID_QUERY
    if row.body is not None:
        yield Code.UNSUPPORTED_MEDIA_TYPE
    if row.body is not None and not isinstance(row.body, MediaBody):
        yield from (Code.MALFORMED_JSON, Code.INVALID_BODY, Code.BODY_TOO_LARGE, Code.REQUEST_TIMEOUT)
