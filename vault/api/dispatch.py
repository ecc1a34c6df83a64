"""Binds the table of routes to aiohttp's router.

Invariants:
- a request is admitted before its query or body is looked at, and its body is asked for (100 Continue) last;
- the *kind* of credential picks the row where a method and path stand more than once; it grants nothing by itself;
- no value that a caller sent appears in a problem: field names come from the schema, rules from pydantic;
- a JSON body is bounded in bytes and in time before it is parsed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Final, TypeAlias, cast

from aiohttp import HttpVersion11, web
from pydantic import BaseModel, ValidationError

from vault.api.binding import (
    AccessKind,
    Answer,
    AnyRoute,
    Authenticator,
    Call,
    MediaBody,
    json_response,
)
from vault.api.faults import faults_of
from vault.api.problems import Code, Problem

MAX_JSON_BYTES: Final = 64 * 1024  # the largest document of the API is a recording's metadata, a few KiB
JSON_READ_TIMEOUT_S: Final = 15.0  # a small document that takes longer is a slow-body attack

_Rows: TypeAlias = dict[AccessKind, AnyRoute]


def install(app: web.Application, *, routes: Iterable[AnyRoute], authenticator: Authenticator) -> None:
    """Add every row to the router, in table order; raises ValueError where two rows claim the same call."""
    for (method, path), rows in _grouped(routes).items():
        handler = _dispatcher(rows, authenticator)
        app.router.add_route(method, path, handler, expect_handler=_no_early_continue)


def _grouped(routes: Iterable[AnyRoute]) -> dict[tuple[str, str], _Rows]:
    groups: dict[tuple[str, str], _Rows] = {}
    for row in routes:
        for method in row.methods():
            rows = groups.setdefault((method, row.path), {})
            if row.access.kind in rows:
                raise ValueError(f"{method} {row.path} stands twice in the table for {row.access.kind.value}")
            rows[row.access.kind] = row
    return groups


def _dispatcher(
    rows: _Rows, authenticator: Authenticator
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def dispatch(request: web.Request) -> web.StreamResponse:
        expects_continue = _expects_continue(request)
        row = _picked(rows, presented=authenticator.kind(request))
        principal = (
            None if row.access.kind is AccessKind.OPEN else await authenticator.admit(request, row.access)
        )
        query = _query(request, row=row)
        _check_body_headers(request, row=row)
        if expects_continue and row.body is not None:
            await _say_continue(request)
        body = await _body(request, row=row)
        return _reply(await row.handler(Call(request, principal, query, body)), row=row)

    return dispatch


def _picked(rows: _Rows, *, presented: AccessKind | None) -> AnyRoute:
    row = rows.get(presented) if presented is not None else None
    row = row or rows.get(AccessKind.OPEN)
    if row is None:
        raise Problem(Code.UNAUTHENTICATED)
    return row


def _query(request: web.Request, *, row: AnyRoute) -> BaseModel | None:
    """The query as the row's model; a parameter given twice becomes a list, which scalar fields refuse."""
    if row.query is None:
        return None
    given = request.query
    values = {name: given.getall(name) if len(given.getall(name)) > 1 else given[name] for name in given}
    model = cast("type[BaseModel]", row.query)
    try:
        return model.model_validate(values)
    except ValidationError as refused:
        raise Problem(Code.INVALID_QUERY, faults=faults_of(refused, model=model)) from None


def _check_body_headers(request: web.Request, *, row: AnyRoute) -> None:
    """Everything that can be refused before a byte of the body is read."""
    if row.body is None:
        return
    accepted = row.body.content_types if isinstance(row.body, MediaBody) else ("application/json",)
    encoding = request.headers.get("Content-Encoding", "identity").lower()
    kind = request.content_type.lower()
    if encoding == "identity" and _is_form(request, row=row):
        return
    if encoding != "identity" or not {kind, f"{kind.partition('/')[0]}/*"} & set(accepted):
        raise Problem(Code.UNSUPPORTED_MEDIA_TYPE)
    if not isinstance(row.body, MediaBody) and (request.content_length or 0) > MAX_JSON_BYTES:
        raise Problem(Code.BODY_TOO_LARGE)


def _is_form(request: web.Request, *, row: AnyRoute) -> bool:
    return row.form is not None and request.content_type.lower() in row.form.content_types


async def _body(request: web.Request, *, row: AnyRoute) -> BaseModel | None:
    if row.body is None or isinstance(row.body, MediaBody) or _is_form(request, row=row):
        return None
    model = cast("type[BaseModel]", row.body)
    text = await _read_bounded(request)
    try:
        return model.model_validate_json(text)
    except ValidationError as refused:
        if refused.errors(include_url=False, include_input=False)[0]["type"] == "json_invalid":
            raise Problem(Code.MALFORMED_JSON) from None
        raise Problem(Code.INVALID_BODY, faults=faults_of(refused, model=model)) from None


async def _read_bounded(request: web.Request) -> bytes:
    data = bytearray()
    try:
        async with asyncio.timeout(JSON_READ_TIMEOUT_S):
            async for piece in request.content.iter_any():
                data += piece
                if len(data) > MAX_JSON_BYTES:
                    raise Problem(Code.BODY_TOO_LARGE)
    except TimeoutError:
        raise Problem(Code.REQUEST_TIMEOUT) from None
    return bytes(data)


def _reply(answer: Answer, *, row: AnyRoute) -> web.StreamResponse:
    if isinstance(answer, web.StreamResponse):
        return answer
    for status, declared in row.answers.items():
        if answer is None and declared is None:
            return web.Response(status=status)
        if isinstance(declared, type) and isinstance(answer, declared):
            return json_response(answer, status=status)
    raise TypeError(
        f"{row.method} {row.path} answered with {type(answer).__name__}, which its row does not declare"
    )


async def _no_early_continue(_: web.Request) -> None:
    """Answer no `Expect` before the caller is admitted (RFC 9110, 10.1.1); `dispatch` does it in its time."""


def _expects_continue(request: web.Request) -> bool:
    expect = request.headers.get("Expect")
    if expect is None or request.version < HttpVersion11:
        return False
    if expect.lower() != "100-continue":
        raise Problem(Code.EXPECTATION_FAILED)
    return True


async def _say_continue(request: web.Request) -> None:
    await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    request.writer.output_size = 0  # aiohttp takes any output for a response that has begun
