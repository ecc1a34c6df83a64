"""One service, one token: requests out, documents or errors back.

Invariants:
- the token travels in the Authorization header alone, over https or on loopback, and never after a redirect;
- only what the caller calls safe is repeated, within the bounds of `Backoff`;
- every wait is bounded; foreign exceptions become ours, without the request that they hold.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import ipaddress
import json
import random
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import aiohttp
import yarl
from pydantic import BaseModel, ValidationError

from vault.client.backoff import Backoff, parse_retry_after
from vault.client.errors import (
    Busy,
    InvalidAddress,
    Misused,
    Problem,
    Refused,
    UnexpectedAnswer,
    Unreachable,
    refusal,
)
from vault.client.token import Token

CONNECT_TIMEOUT_S: Final = 5.0
# The service answers what it cannot do within two seconds; a proxy may take longer to notice.
ANSWER_TIMEOUT_S: Final = 30.0
MAX_DOCUMENT_BYTES: Final = 8 * 1024 * 1024
_FIRST_PROBLEM: Final = 400
_FIRST_REDIRECT: Final = 300
# Neither empty nor only dots: a path must not lead to another resource than the one that is meant.
_SEGMENT: Final = re.compile(r"(?!\.+$)[A-Za-z0-9._-]{1,128}", re.ASCII)
_PROBLEM_TYPE: Final = "application/problem+json"

D = TypeVar("D", bound=BaseModel)
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Ask:
    """One request. `path` holds one segment each; `data` is a streamed body, `document` a JSON one."""

    method: str
    path: tuple[str, ...]
    query: Mapping[str, str] | None = None
    document: Any = None
    data: Any = None
    headers: Mapping[str, str] | None = None
    answer_timeout_s: float = ANSWER_TIMEOUT_S
    expect_continue: bool = False

    def __post_init__(self) -> None:
        if not all(_SEGMENT.fullmatch(segment) for segment in self.path):
            raise Misused("an id or a file's name has letters, digits, dots, hyphens and underscores only")


class Wire:
    """Use as a context manager; shares one pool of connections."""

    def __init__(self, url: str, token: Token, *, backoff: Backoff, plain_http: bool) -> None:
        """Raises `InvalidAddress`. `plain_http` allows it off this machine, for networks that encrypt themselves."""
        self._base = parse_address(url, plain_http=plain_http)
        self._token = token
        self._backoff = backoff
        self._http: aiohttp.ClientSession | None = None

    @property
    def origin(self) -> str:
        """Scheme, host and port."""
        return str(self._base.origin())

    async def open(self) -> None:
        """Make the pool; no connection yet."""
        if self._http is None:
            self._http = aiohttp.ClientSession(
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"User-Agent": "replayvault-client", "Accept-Encoding": "identity"},
            )

    async def aclose(self) -> None:
        """Close every connection."""
        if self._http is not None:
            await self._http.close()
            self._http = None

    async def document(self, ask: Ask, kind: type[D], *, safe: bool) -> D:
        """The answer as a document; raises `Refused`, `Unreachable` or `UnexpectedAnswer`."""

        async def once() -> D:
            async with self.answer(ask) as answer:
                return _parse(await _read(answer, limit_bytes=MAX_DOCUMENT_BYTES), kind)

        return await (self.repeating(once) if safe else once())

    async def done(self, ask: Ask) -> None:
        """An answer without a body; raises as `document` does."""
        async with self.answer(ask) as answer:
            await answer.read()

    @contextlib.asynccontextmanager
    async def answer(self, ask: Ask) -> AsyncIterator[aiohttp.ClientResponse]:
        """The answer's head, its body still to come; raises `Refused` for a problem, and maps what reading raises."""
        if self._http is None:
            raise RuntimeError("use the client as a context manager")
        with self._mapped():
            async with self._http.request(
                ask.method,
                self._base.joinpath(*ask.path),
                params=ask.query,
                json=ask.document,
                data=ask.data,
                headers={
                    **(ask.headers or {}),
                    "Authorization": f"Bearer {self._token.reveal(to='the Authorization header')}",
                },
                timeout=aiohttp.ClientTimeout(
                    total=None, connect=CONNECT_TIMEOUT_S, sock_read=ask.answer_timeout_s
                ),
                allow_redirects=False,
                expect100=ask.expect_continue,
            ) as response:
                if response.status >= _FIRST_PROBLEM:
                    raise await _refused(response)
                if response.status >= _FIRST_REDIRECT:
                    raise UnexpectedAnswer(
                        f"a redirect (status {response.status}) is not followed: check the address"
                    )
                yield response

    async def repeating(self, call: Callable[[], Awaitable[T]]) -> T:
        """`call`, again while the service is away and the bounds allow."""
        waited_s, failed = 0.0, 0
        while True:
            try:
                return await call()
            except (Unreachable, Busy) as error:
                failed += 1
                asked_s = error.retry_after_s if isinstance(error, Refused) else None
                chance = random.random()  # noqa: S311 - spreads load, hides nothing
                wait_s = self._backoff.wait_s(failed, waited_s=waited_s, asked_s=asked_s, chance=chance)
                if wait_s is None:
                    raise
            await asyncio.sleep(wait_s)
            waited_s += wait_s

    @contextlib.contextmanager
    def _mapped(self) -> Iterator[None]:
        try:
            yield
        except aiohttp.ClientConnectorCertificateError:
            raise Unreachable(f"{self.origin} shows a certificate that is not trusted here") from None
        except aiohttp.ClientConnectorError as error:
            raise Unreachable(
                f"cannot connect to {self.origin}: {error.strerror or 'no connection'}"
            ) from None
        except TimeoutError:
            raise Unreachable(f"{self.origin} did not answer in time") from None
        except aiohttp.ClientError as error:
            raise Unreachable(f"the connection to {self.origin} was cut ({type(error).__name__})") from None


def parse_address(url: str, *, plain_http: bool) -> yarl.URL:
    """The base of all requests; raises `InvalidAddress`."""
    try:
        base = yarl.URL(url)
        host, _ = base.host, base.port
    except ValueError:
        raise InvalidAddress("the service's address is not a URL") from None
    if base.scheme not in ("http", "https") or not host:
        raise InvalidAddress("the service's address starts with https://, or http:// on this machine")
    if base.user is not None or base.password is not None or base.query_string or base.fragment:
        raise InvalidAddress("the service's address holds no credentials, no question mark and no #")
    if base.scheme == "http" and not plain_http and not _is_loopback(host):
        raise InvalidAddress(
            "plain http off this machine shows the token to everyone on the way: use https "
            "(or plain_http where the network itself encrypts)"
        )
    return base


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


async def _read(response: aiohttp.ClientResponse, *, limit_bytes: int) -> bytes:
    data = bytearray()
    async for piece in response.content.iter_any():
        data += piece
        if len(data) > limit_bytes:
            raise UnexpectedAnswer("the answer is larger than any document of the service")
    return bytes(data)


def _parse(data: bytes, kind: type[D]) -> D:
    try:
        return kind.model_validate_json(data)
    except ValidationError:
        raise UnexpectedAnswer(f"the answer is not the {kind.__name__} that was asked for") from None


async def _refused(response: aiohttp.ClientResponse) -> Refused:
    members: dict[str, Any] = {}
    if response.content_type == _PROBLEM_TYPE:
        with contextlib.suppress(ValueError, UnexpectedAnswer):
            found = json.loads(await _read(response, limit_bytes=MAX_DOCUMENT_BYTES))
            members = found if isinstance(found, dict) else {}
    now = dt.datetime.now(tz=dt.UTC)
    faults = members.get("faults")
    return refusal(
        Problem(
            status_code=response.status,
            code=str(members.get("code", f"http-{response.status}")),
            detail=str(members.get("detail", "The answer does not come from Replay Vault itself.")),
            request_id=response.headers.get("X-Request-Id", "-"),
            retry_after_s=parse_retry_after(response.headers.get("Retry-After"), now=now),
            faults=tuple(map(_fault, faults)) if isinstance(faults, list) else (),
        )
    )


def _fault(fault: Any) -> str:
    return f"{fault.get('field')}: {fault.get('rule')}" if isinstance(fault, dict) else "-"
