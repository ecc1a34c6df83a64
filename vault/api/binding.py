"""The vocabulary of routes: one table of `Route` rows is the truth for the router and for the OpenAPI document.

Invariants:
- a handler sees only what its row declares: an admitted principal, a parsed query, a parsed body;
- it returns a model that its row declares (JSON with that status), None (an empty answer), or a response of its own;
- the same method and path may stand in the table once for each kind of credential.

A handler and its row:

    async def show(call: Call[Reader, None, None]) -> RecordingView:
        recording = call.parsed("recording_id", by=parse_recording_id)
        return await library.show(call.principal, recording=recording)

    Route(
        method="GET",
        path="/v1/recordings/{recording_id}",
        handler=show,
        access=SESSION,
        summary="One recording of the session's patient",
        answers={200: RecordingView},
        problems=(Code.NOT_FOUND,),
        head=True,
    )
"""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic, Protocol, TypeAlias, TypeVar

from aiohttp import web
from pydantic import BaseModel

from keys.errors import MalformedId
from vault.api.problems import Code, Problem

P = TypeVar("P")
Q = TypeVar("Q")
B = TypeVar("B")
T = TypeVar("T")


class AccessKind(enum.Enum):
    """The kinds of credential a request can present."""

    OPEN = "open"
    SESSION = "session"
    TICKET = "ticket"
    SERVICE = "service"


@dataclass(frozen=True, slots=True)
class Access:
    """Who may call a route: a kind of credential and, for service tokens, the scope it must have."""

    kind: AccessKind
    scope: str | None = None


OPEN: Final = Access(AccessKind.OPEN)
SESSION: Final = Access(AccessKind.SESSION)
TICKET: Final = Access(AccessKind.TICKET)


def service(scope: str) -> Access:
    """Access by a service token that has `scope`."""
    return Access(AccessKind.SERVICE, scope)


class Authenticator(Protocol):
    """Who is calling; the wiring supplies it."""

    def kind(self, request: web.Request) -> AccessKind | None:
        """The kind of credential presented, by its place and prefix only; None where there is none."""

    async def admit(self, request: web.Request, access: Access) -> object:
        """The principal whose credential satisfies `access`; raises `Problem` or a registered exception."""


@dataclass(frozen=True, slots=True)
class MediaBody:
    """A streamed request body: the handler reads `call.request.content`. Types may end in `/*`."""

    content_types: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MediaAnswer:
    """An answer that is not JSON: the handler makes the response itself."""

    content_types: tuple[str, ...]


Answer: TypeAlias = BaseModel | web.StreamResponse | None


@dataclass(frozen=True, slots=True, repr=False)
class Call(Generic[P, Q, B]):
    """One admitted, parsed request. It has no repr: paths hold tickets and headers hold tokens."""

    request: web.Request
    principal: P
    query: Q
    body: B

    def param(self, name: str) -> str:
        """A path parameter as text."""
        return self.request.match_info[name]

    def parsed(self, name: str, *, by: Callable[[str], T]) -> T:
        """A path parameter through a strict parser of `keys.ids`; a malformed id is just not there: 404."""
        try:
            return by(self.param(name))
        except MalformedId:
            raise Problem(Code.NOT_FOUND) from None


@dataclass(frozen=True, slots=True)
class Route(Generic[P, Q, B]):
    """One row: what is asked for, by whom, and everything that can come back (status to type).

    `form` is a second kind of body beside a JSON `body`: the handler reads it itself, and `call.body` is None then.
    """

    method: str
    path: str
    handler: Callable[[Call[P, Q, B]], Awaitable[Answer]]
    access: Access
    summary: str
    answers: Mapping[int, type[BaseModel] | MediaAnswer | None]
    query: type[Q] | None = None
    body: type[B] | MediaBody | None = None
    form: MediaBody | None = None
    problems: tuple[Code, ...] = ()
    head: bool = False

    def methods(self) -> tuple[str, ...]:
        """The methods this row serves: HEAD too where the row says so."""
        return (self.method, "HEAD") if self.head else (self.method,)


AnyRoute: TypeAlias = Route[Any, Any, Any]


def json_response(
    model: BaseModel, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    """A model as a JSON answer, for handlers that add headers of their own."""
    body = model.model_dump_json(by_alias=True).encode()
    return web.Response(status=status, body=body, content_type="application/json", headers=headers)
