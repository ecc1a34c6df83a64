"""The data path to an S3-compatible service: ranges and parts over presigned URLs, on reused connections.

Invariants:
- attempts and time are bounded; every attempt of an upload sends the same bytes object, start to end;
- a body that is shorter or longer than announced is never returned;
- no redirect is followed and no proxy of the environment is used: a presigned URL goes where it was signed for;
- no error message or chained exception holds a URL.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Final, TypeVar

import aiohttp
from aiohttp.abc import AbstractStreamWriter
from yarl import URL

from vault.objects.errors import ObjectChanged, ObjectExists, ObjectsError, StoreUnavailable
from vault.objects.s3_replies import error_code, failure, object_size
from vault.objects.store import Fetched

# Before the second, third and fourth attempt; each is varied by half, so that callers do not come in step.
RETRY_PAUSES_S: Final = (0.1, 0.4, 1.2)
_CONNECT_TIMEOUT_S: Final = 5.0
# No byte for that long means that nothing will come.
_IDLE_TIMEOUT_S: Final = 20.0
# One attempt may take this long plus the body's size over the slowest rate that is still worth waiting for.
_ATTEMPT_TIMEOUT_S: Final = 30.0
_SLOWEST_BYTES_PER_S: Final = 256 * 1024
_WRITE_BYTES: Final = 256 * 1024
_ERROR_BYTES: Final = 4096
_CONNECTIONS: Final = 64

T = TypeVar("T")


class Carrier:
    """One pool of connections. Make it inside the event loop that uses it."""

    def __init__(self) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=_CONNECTIONS),
            auto_decompress=False,
            skip_auto_headers=("User-Agent",),
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def get(self, url: str, *, first_byte: int, last_byte: int, pin: str | None) -> Fetched:
        """The bytes from `first_byte` to `last_byte`; raises as `ObjectStore.read` says."""
        headers = {"Range": f"bytes={first_byte}-{last_byte}", "Accept-Encoding": "identity"}
        if pin is not None:
            headers["If-Match"] = pin
        size_bytes = last_byte - first_byte + 1

        async def attempt() -> Fetched:
            async with self._session.get(
                URL(url, encoded=True), headers=headers, allow_redirects=False, timeout=_timeout(size_bytes)
            ) as reply:
                await _require(reply, HTTPStatus.PARTIAL_CONTENT, precondition=ObjectChanged)
                total = object_size(
                    reply.headers.get("Content-Range", ""), first_byte=first_byte, last_byte=last_byte
                )
                data = await _exactly(reply.content, size_bytes)
                return Fetched(data=data, pin=_etag(reply), object_size_bytes=total)

        return await _retried(attempt)

    async def put(self, url: str, body: bytes | bytearray | memoryview, *, headers: Mapping[str, str]) -> str:
        """Store `body`; returns the ETag. Raises `ObjectExists` (If-None-Match) or `StoreUnavailable`."""

        async def attempt() -> str:
            async with self._session.put(
                URL(url, encoded=True),
                data=Ciphertext(body),
                headers=headers,
                allow_redirects=False,
                timeout=_timeout(len(body)),
            ) as reply:
                await _require(reply, HTTPStatus.OK, precondition=ObjectExists)
                return _etag(reply)

        return await _retried(attempt)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._session.close()


class Ciphertext(aiohttp.Payload):
    """A body that is written from its beginning as often as it is asked for, and never copied whole."""

    # Nothing to close: the bytes belong to the upload.
    _autoclose = True
    _value: memoryview

    def __init__(self, body: bytes | bytearray | memoryview) -> None:
        super().__init__(memoryview(body).cast("B"), content_type="application/octet-stream")
        self._size = len(self._value)

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:  # noqa: ARG002 - aiohttp's signature
        """Ciphertext is not text."""
        raise TypeError("ciphertext is not text")

    async def write(self, writer: AbstractStreamWriter) -> None:
        """All of it, slice by slice: `write` of the connection waits while the service is slow."""
        for at in range(0, len(self._value), _WRITE_BYTES):
            await writer.write(self._value[at : at + _WRITE_BYTES])


async def _retried(attempt: Callable[[], Awaitable[T]]) -> T:
    for pause_s in RETRY_PAUSES_S:
        try:
            return await _mapped(attempt)
        except StoreUnavailable as error:
            if type(error) is not StoreUnavailable:  # refused: asking again changes nothing
                raise
        await asyncio.sleep(pause_s * random.uniform(0.5, 1.5))  # noqa: S311 - no secret
    return await _mapped(attempt)


async def _mapped(attempt: Callable[[], Awaitable[T]]) -> T:
    try:
        return await attempt()
    except TimeoutError:
        raise StoreUnavailable("the object store does not answer in time") from None
    except (aiohttp.ClientError, OSError) as error:
        # The type alone: messages and arguments may hold the presigned URL.
        raise StoreUnavailable(f"the object store cannot be reached ({type(error).__name__})") from None


async def _require(reply: aiohttp.ClientResponse, status: int, *, precondition: type[ObjectsError]) -> None:
    if reply.status == status:
        return
    body = bytearray()
    while len(body) < _ERROR_BYTES and (piece := await reply.content.read(_ERROR_BYTES)):
        body += piece
    if HTTPStatus.OK <= reply.status < HTTPStatus.MULTIPLE_CHOICES:
        raise StoreUnavailable(f"the object store answers {reply.status} where {int(status)} is due")
    raise failure(reply.status, error_code(bytes(body)), precondition=precondition)


async def _exactly(content: aiohttp.StreamReader, size_bytes: int) -> bytearray:
    data = bytearray()
    async for piece in content.iter_any():
        data += piece
        if len(data) > size_bytes:
            raise StoreUnavailable("the object store sends more than it was asked for")
    if len(data) != size_bytes:
        raise StoreUnavailable("the object store sends less than it was asked for")
    return data


def _etag(reply: aiohttp.ClientResponse) -> str:
    etag = reply.headers.get("ETag", "")
    if not etag:
        raise StoreUnavailable("the object store answers without an ETag")
    return etag


def _timeout(size_bytes: int) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(
        total=_ATTEMPT_TIMEOUT_S + size_bytes / _SLOWEST_BYTES_PER_S,
        sock_connect=_CONNECT_TIMEOUT_S,
        sock_read=_IDLE_TIMEOUT_S,
    )
