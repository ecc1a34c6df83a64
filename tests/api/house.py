"""A small house with a real server: a dozen routes that show everything the binder promises.

`async with running(ROUTES) as house:` starts it on loopback. `house.client` is an aiohttp session with its base
URL set, `house.raw(b"GET / HTTP/1.1...")` sends bytes as they are and returns what came back until the end.
The doorkeeper knows one token of each kind; `admitted` counts how often it was asked.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Annotated, Literal

import aiohttp
from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from keys.ids import parse_recording_id
from vault.api.binding import (
    OPEN,
    SESSION,
    TICKET,
    Access,
    AccessKind,
    AnyRoute,
    Call,
    MediaAnswer,
    MediaBody,
    Route,
    json_response,
    service,
)
from vault.api.dispatch import install
from vault.api.middleware import guard
from vault.api.problems import Code, Problem, Translator
from vault.api.server import Runner

SESSION_TOKEN = "rvs_" + "s" * 43
SERVICE_TOKEN = "rvk_" + "k" * 43
TICKET_TOKEN = "rvt_" + "t" * 43
RECORDING = str(uuid.UUID("2f1d0c4e-8a57-4c1b-9b6e-0d6f5b1f7a21"))
BEARER_SESSION = {"Authorization": f"Bearer {SESSION_TOKEN}"}
BEARER_SERVICE = {"Authorization": f"Bearer {SERVICE_TOKEN}"}


class Locked(Exception):
    """A domain error that the wiring registered."""


class Hidden(Locked):
    """A subclass that nobody registered by itself."""


class Page(BaseModel):
    model_config = ConfigDict(extra="forbid")
    limit: int = Field(default=20, ge=1, le=100)
    state: Literal["published", "failed"] | None = None


class Note(BaseModel):
    model_config = ConfigDict(extra="forbid")
    title: str = Field(max_length=10)
    tags: list[Annotated[str, Field(pattern="^[a-z]+$")]] = Field(default_factory=list)


class Seen(BaseModel):
    who: str
    what: str


@dataclass
class Doorkeeper:
    """Knows one token of each kind; `admitted` holds what it was asked."""

    admitted: list[Access] = field(default_factory=list)

    def kind(self, request: web.Request) -> AccessKind | None:
        bearer = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if "ticket" in request.match_info:
            return AccessKind.TICKET
        return {"rvs_": AccessKind.SESSION, "rvk_": AccessKind.SERVICE}.get(bearer[:4])

    async def admit(self, request: web.Request, access: Access) -> str:
        self.admitted.append(access)
        bearer = request.headers.get("Authorization", "").removeprefix("Bearer ")
        shown = request.match_info.get("ticket", bearer)
        if shown not in {SESSION_TOKEN, SERVICE_TOKEN, TICKET_TOKEN}:
            raise Problem(Code.UNAUTHENTICATED)
        return f"{access.kind.value}:{access.scope}"


async def listing(call: Call[str, Page, None]) -> Seen:
    return Seen(who=call.principal, what=f"{call.query.limit} {call.query.state}")


async def show(call: Call[str, None, None]) -> Seen:
    return Seen(who=call.principal, what=str(call.parsed("recording_id", by=parse_recording_id)))


async def note(call: Call[str, None, Note]) -> web.Response:
    return json_response(
        Seen(who=call.principal, what=call.body.title), status=201, headers={"Location": "/v1/notes/1"}
    )


async def upload(call: Call[str, None, None]) -> Seen:
    size = 0
    async for piece in call.request.content.iter_any():
        size += len(piece)
    return Seen(who=call.principal, what=str(size))


async def nothing(_: Call[None, None, None]) -> None:
    return None


async def undeclared(_: Call[None, None, None]) -> BaseModel:
    return Page()


async def fails(call: Call[None, None, None]) -> None:
    secret = call.param("how")
    if secret == "locked":
        raise Hidden("the patient is Ada Lovelace")
    if secret == "problem":
        raise Problem(Code.UNAVAILABLE, detail="The key service is away.", retry_after_s=7)
    try:
        int("inner Ada Lovelace")
    except ValueError as inner:
        raise RuntimeError(f"Ada Lovelace {secret}") from inner


async def streams(call: Call[str, None, None]) -> web.StreamResponse:
    """What goes wrong after the head is sent: nothing, a raise, a short body, with and without a length."""
    how = call.param("file")
    response = web.StreamResponse(headers={"Content-Type": "video/mp4"})
    if how not in {"chunked-raise", "endless"}:
        response.content_length = 2000
    await response.prepare(call.request)
    if call.request.method == "HEAD":
        return response
    await response.write(b"x" * 1000)
    if how.endswith("raise"):
        await asyncio.sleep(0.05)
        raise Locked("Ada Lovelace")
    while how == "endless":
        await response.write(b"x" * 1000)
        await asyncio.sleep(0.01)
    if how == "whole":
        await response.write(b"x" * 1000)
    return response


MEDIA = MediaAnswer(("video/mp4",))

ROUTES: tuple[AnyRoute, ...] = (
    Route("GET", "/v1/recordings", listing, SESSION, "List", {200: Seen}, query=Page, head=True),
    Route(
        "GET",
        "/v1/recordings/{recording_id}",
        show,
        SESSION,
        "Show",
        {200: Seen},
        problems=(Code.NOT_FOUND,),
        head=True,
    ),
    Route("GET", "/v1/recordings/{recording_id}", show, service("read"), "Show a state", {200: Seen}),
    Route("POST", "/v1/notes", note, service("write"), "Note", {201: Seen}, body=Note),
    Route(
        "PUT",
        "/v1/recordings/{recording_id}/source",
        upload,
        service("ingest"),
        "Upload",
        {200: Seen},
        body=MediaBody(("video/*", "application/octet-stream")),
    ),
    Route("GET", "/v1/t/{ticket}/{file}", streams, TICKET, "Play", {200: MEDIA}, head=True),
    Route("DELETE", "/v1/nothing", nothing, OPEN, "Nothing", {204: None}),
    Route("GET", "/v1/undeclared", undeclared, OPEN, "A bug", {200: Seen}),
    Route("GET", "/v1/fails/{how}", fails, OPEN, "Fails", {204: None}, problems=(Code.UNAVAILABLE,)),
)


@dataclass
class House:
    """A running server."""

    client: aiohttp.ClientSession
    doorkeeper: Doorkeeper
    host: str
    port: int

    async def raw(self, *pieces: bytes) -> bytes:
        """Everything the server sends to these packets until it closes, or for two seconds."""
        reader, writer = await asyncio.open_connection(self.host, self.port)
        answer = bytearray()
        try:
            for piece in pieces:
                writer.write(piece)
                await asyncio.sleep(0.05)
            async with asyncio.timeout(2):
                while received := await reader.read(65_536):
                    answer += received
        except TimeoutError:
            pass
        finally:
            writer.close()
        return bytes(answer)


@asynccontextmanager
async def running(
    routes: Iterable[AnyRoute] = ROUTES, *, hsts_max_age_s: int | None = None
) -> AsyncIterator[House]:
    """Start a server with these routes on a free port of loopback; stop it in the end."""
    app = web.Application()
    doorkeeper = Doorkeeper()
    guard(app, translator=Translator({Locked: Code.CONFLICT}), hsts_max_age_s=hsts_max_age_s)
    install(app, routes=routes, authenticator=doorkeeper)
    runner = Runner(app, shutdown_timeout_s=0.5)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0]
        async with aiohttp.ClientSession(f"http://{host}:{port}") as client:
            yield House(client, doorkeeper, host, port)
    finally:
        await runner.cleanup()
