"""Runners that die: `python -m tests.rotation.mortal`, one request a line on standard input.

A request is JSON: {"catalog", "shares", "master", "audit": where things are, "now": ISO time, "after": n}. For each one
a child process works on key jobs as the control role's runner does, and is gone, by `os._exit`, in the moment in which
its n-th transaction has committed; a change of the master key's file, a finished object and a removal from the store
count as transactions. With n = 0 it works until nothing can be done. The answer is the child's exit code: 9 where it
died on the way, 0 where it came to the end.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import json
import os
import sys
import traceback
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any, NoReturn

from sqlalchemy.ext.asyncio import AsyncConnection

from keys.database import Database, open_database
from keys.master.local import LocalMaster, load_master_file
from tests.rotation.room import Room
from vault.objects.container import FileFacts
from vault.objects.folder import FolderStore
from vault.objects.sealed import SealedWriter
from vault.objects.store import ObjectName

DIED = 9
_writing, _change = Database.writing, LocalMaster._change
_finish, _delete = SealedWriter.finish, FolderStore.delete


def die_after(transactions: int) -> None:
    """Let this process end right after so many commits."""
    left = transactions

    def one_more() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os._exit(DIED)

    @contextlib.asynccontextmanager
    async def mortal(self: Database) -> AsyncIterator[AsyncConnection]:
        async with _writing(self) as connection:
            yield connection
        one_more()

    async def change(self: LocalMaster, *given: Any) -> None:
        await _change(self, *given)
        one_more()

    async def finish(self: SealedWriter) -> FileFacts:
        facts = await _finish(self)
        one_more()
        return facts

    async def delete(self: FolderStore, names: Iterable[ObjectName]) -> None:
        await _delete(self, names)
        one_more()

    SealedWriter.finish = finish  # type: ignore[method-assign]
    FolderStore.delete = delete  # type: ignore[method-assign]
    Database.writing = mortal  # type: ignore[method-assign]
    LocalMaster._change = change  # type: ignore[method-assign, assignment]


async def work(catalog: str, shares: str, master: str, audit: str, now: str) -> None:
    """Run what can be run."""
    databases = open_database(catalog), open_database(shares)
    room = await Room.open(*databases, Path(audit), master=load_master_file(Path(master)))
    room.at = dt.datetime.fromisoformat(now)
    while await room.runner().once():
        pass
    await room.aclose()
    for database in databases:
        await database.aclose()


def child(request: dict[str, Any]) -> NoReturn:
    """Never returns: what it does ends with its process."""
    try:
        os.dup2(2, 1)  # what the product logs is no answer
        die_after(request.pop("after"))
        asyncio.run(work(**request))
    except BaseException:  # noqa: BLE001 - whatever it was, the parent's loop is not this process's to go on with
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


if __name__ == "__main__":
    for line in sys.stdin:
        number = os.fork()
        if number == 0:
            child(json.loads(line))
        print(os.waitstatus_to_exitcode(os.waitpid(number, 0)[1]), flush=True)
