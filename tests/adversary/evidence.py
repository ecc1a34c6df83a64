"""What an attacker could have learnt, all of it: answers, logs, metrics, Redis, the catalog, every file on the disk.

    evidence.ask …                                   # a request whose answer is kept
    await evidence.says_nothing_of(stem)             # raises AssertionError with the place where `stem` was found

Words are searched as they are, in upper and lower case, in hexadecimal and in base64 at each of its three offsets.
"""

from __future__ import annotations

import asyncio
import base64
import io
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from sqlalchemy import select

import vault.catalog.tables
from keys.database import open_database
from keys.tables import catalog_metadata
from tests.adversary.vandal import redis_of
from tests.world import Answer, Client, World

assert vault.catalog.tables.recordings.metadata is catalog_metadata


def forms(word: str) -> tuple[bytes, ...]:
    """How a word may look in a log, a cursor or a dump."""
    raw = word.encode()
    # What stands before and after the word decides the first and last characters of its base64.
    inner = [base64.b64encode(bytes(shift) + raw).rstrip(b"=")[4:-3] for shift in range(3)]
    urlsafe = [each.replace(b"+", b"-").replace(b"/", b"_") for each in inner]
    return (raw, raw.lower(), raw.upper(), raw.hex().encode(), *inner, *urlsafe)


def found(word: str, body: bytes) -> bool:
    """Whether `body` holds `word` in any form."""
    return any(form in body for form in forms(word))


@dataclass(slots=True)
class Evidence:
    """Everything that left the house, or stayed behind, during a test."""

    world: World
    log: io.StringIO
    caplog: pytest.LogCaptureFixture
    answers: list[tuple[str, Answer]] = field(default_factory=list)

    async def ask(self, who: Client, method: str, path: str, **options: Any) -> Answer:
        """Send a request and keep its answer."""
        answer = await who.send(method, path, **options)
        self.answers.append((f"{method} {path}", answer))
        return answer

    @property
    def logs(self) -> bytes:
        """The product's log lines, and those of the libraries."""
        return (self.log.getvalue() + self.caplog.text).encode()

    async def audited(self, **fields: object) -> list[dict[str, Any]]:
        """Audit entries with these fields."""
        entries = await asyncio.to_thread(self.world.audit)
        return [entry for entry in entries if fields.items() <= entry.items()]

    async def mismatches(self, **fields: object) -> list[dict[str, Any]]:
        """Audit entries with the reason KEY_MISMATCH and these fields."""
        return await self.audited(reason="KEY_MISMATCH", decision="deny", **fields)

    async def says_nothing_of(self, *words: str) -> None:
        """No trace of these words anywhere; raises AssertionError with the first place that has one."""
        for place, body in await self.everything():
            for word in words:
                assert not found(word, body), f"{word!r} stands in {place}"

    def answers_say_nothing_of(self, *words: str) -> None:
        """No trace of these words in any answer."""
        for place, body in self._answers():
            for word in words:
                assert not found(word, body), f"{word!r} stands in {place}"

    async def everything(self) -> list[tuple[str, bytes]]:
        """Every place and what stands in it."""
        return [*self._answers(), *[each async for each in self._house()]]

    def _answers(self) -> Iterator[tuple[str, bytes]]:
        for asked, answer in self.answers:
            yield f"the body of {asked}", answer.body
            yield f"the headers of {asked}", repr(list(answer.headers.items())).encode()

    async def _house(self) -> AsyncIterator[tuple[str, bytes]]:
        yield "the log", self.logs
        yield "the metrics", self.world.served.metrics.render()
        async with redis_of(self.world) as redis:
            for place, value in [each async for each in _redis(redis)]:
                yield place, value
        async for place, value in _catalog(self.world):
            yield place, value
        for place, value in await asyncio.to_thread(_files, self.world.settings.data_dir):
            yield place, value


async def _redis(redis: Redis) -> AsyncIterator[tuple[str, bytes]]:
    readers: dict[bytes, Any] = {
        b"string": redis.get,
        b"hash": redis.hgetall,
        b"set": redis.smembers,
        b"list": lambda name: redis.lrange(name, 0, -1),
        b"zset": lambda name: redis.zrange(name, 0, -1),
    }
    async for name in redis.scan_iter():
        value = await readers[await redis.type(name)](name)
        yield f"Redis, {name!r}", name + (value if isinstance(value, bytes) else repr(value).encode())


async def _catalog(world: World) -> AsyncIterator[tuple[str, bytes]]:
    database = await asyncio.to_thread(open_database, world.settings.catalog)
    async with database.reading() as connection:
        for table in catalog_metadata.sorted_tables:
            for row in await connection.execute(select(table)):
                values = (each if isinstance(each, bytes) else str(each).encode() for each in row)
                yield f"the catalog, {table.name}", b"\0".join(values)
    await database.aclose()


def _files(folder: Path) -> list[tuple[str, bytes]]:
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return [(f"the file {path.relative_to(folder)}", path.read_bytes()) for path in paths]


def body_of(code: str) -> bytes:
    """The one body of a constant problem."""
    texts = {
        "not-found": (404, "Not found", "There is nothing here for you."),
        "unauthenticated": (401, "Not signed in", "Sign in again, or send a valid bearer token."),
    }
    status, title, detail = texts[code]
    document = {"type": f"/problems/{code}", "title": title, "status": status, "code": code, "detail": detail}
    return json.dumps(document).encode()


def assert_constant(answer: Answer, *, status: int, method: str = "GET") -> None:
    """The answer is the constant one of its status, and its headers differ in nothing but the request id."""
    code = {401: "unauthenticated", 404: "not-found"}[status]
    assert answer.status == status, answer.body
    assert answer.body == (b"" if method == "HEAD" else body_of(code))
    names = {name.lower() for name in answer.headers}
    assert names <= _HEADERS, names - _HEADERS
    assert answer.headers["Content-Length"] == str(len(body_of(code)))


_HEADERS = {
    "cache-control",
    "connection",
    "content-length",
    "content-security-policy",
    "content-type",
    "cross-origin-resource-policy",
    "date",
    "referrer-policy",
    "server",
    "www-authenticate",
    "x-content-type-options",
    "x-request-id",
}
