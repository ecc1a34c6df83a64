"""Processes that die at a step: how a test shows that whoever is killed anywhere ends as if he had not been.

A module serves with `serve(work, counted)` under `if __name__ == "__main__"`. Each request is a line of JSON on its
standard input, the arguments of `work` and `after`: a child does the work and is gone, by `os._exit`, in the moment in
which its n-th step has taken effect: a transaction, or the end of one of the `counted` methods. With 0 it works to the
end. The answer is the child's exit code: `DIED` where it died on the way, 0 where it came to the end.

    with Runners("tests.rotation.mortal") as runners:
        code = runners.run(after=3, catalog=url, …)
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn, Self

from sqlalchemy.ext.asyncio import AsyncConnection

from keys.database import Database

DIED = 9
ROOT = Path(__file__).parent.parent

Work = Callable[..., Awaitable[None]]
Counted = Sequence[tuple[type, str]]


class Runners:
    """The process whose children work and die."""

    def __init__(self, module: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", module],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=20)

    def run(self, **request: Any) -> int:
        """How a child ended."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


def serve(work: Work, counted: Counted) -> None:
    """Answer requests until standard input ends."""
    for line in sys.stdin:
        number = os.fork()
        if number == 0:
            _child(work, counted, json.loads(line))
        print(os.waitstatus_to_exitcode(os.waitpid(number, 0)[1]), flush=True)


def _child(work: Work, counted: Counted, request: dict[str, Any]) -> NoReturn:
    """Never returns: what it does ends with its process."""

    async def do() -> None:
        await work(**request)

    try:
        os.dup2(2, 1)  # what the product logs is no answer
        _die_after(request.pop("after"), counted)
        asyncio.run(do())
    except BaseException:  # noqa: BLE001 - whatever it was, the parent's loop is not this process's to go on with
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def _die_after(steps: int, counted: Counted) -> None:
    left, writing = steps, Database.writing

    def one_more() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os._exit(DIED)

    @contextlib.asynccontextmanager
    async def mortal(self: Database) -> AsyncIterator[AsyncConnection]:
        async with writing(self) as connection:
            yield connection
        one_more()

    def counting(method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def call(*given: Any, **named: Any) -> Any:
            done = await method(*given, **named)
            one_more()
            return done

        return call

    Database.writing = mortal  # type: ignore[method-assign]
    for owner, name in counted:
        setattr(owner, name, counting(getattr(owner, name)))
