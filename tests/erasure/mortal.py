"""Erasers that die: `python -m tests.erasure.mortal`, one request a line on standard input, as tests.rotation.mortal.

A request is JSON: {"catalog", "shares", "objects", "redis", "master", "audit": where things are, "after": n}. For each
one a child takes erasures as far as they go, lets the backups run out, and takes them to their end; it is gone, by
`os._exit`, in the moment in which its n-th step has taken effect: a transaction, a tombstone, objects or records that
were removed, a log that was cut. With n = 0 it works until nothing can be done.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, NoReturn

from sqlalchemy.ext.asyncio import AsyncConnection

from keys.database import Database, open_database
from keys.master.local import load_master_file
from keys.notes import load_audit_key
from keys.shares import ShareStore
from keys.strongroom import Strongroom
from tests.erasure.office import BACKUP_DAYS, Office
from tests.rotation.mortal import DIED
from vault.app.ground import utc_now
from vault.audit.log import AuditLog
from vault.objects.folder import FolderStore
from vault.redis_client import connect_redis
from vault.sessions.records import RecordStore

_writing = Database.writing


def die_after(steps: int) -> None:
    """Let this process end right after so many steps."""
    left = steps

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

    def counted(work: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def counting(*given: Any, **named: Any) -> Any:
            done = await work(*given, **named)
            one_more()
            return done

        return counting

    Database.writing = mortal  # type: ignore[method-assign]
    for owner, name in (
        (FolderStore, "put_anchor"),
        (FolderStore, "delete"),
        (FolderStore, "purge"),
        (RecordStore, "drop"),
        (Database, "scrub"),
    ):
        setattr(owner, name, counted(getattr(owner, name)))


async def work(**place: str) -> None:
    """Take every erasure as far as it goes, and once more when backups have run out."""
    databases = open_database(place["catalog"]), open_database(place["shares"])
    redis = connect_redis(place["redis"])
    store = FolderStore(Path(place["objects"]))
    audit = await AuditLog.open(Path(place["audit"]), role="control", release="test", clock=utc_now)
    strongroom = Strongroom(databases[0], load_master_file(Path(place["master"])), ShareStore(databases[1]))
    key = load_audit_key(Path(place["audit"]) / "audit.key")
    office = Office(strongroom, store, RecordStore(redis), audit, key)
    await office.replay()
    await office.work()
    for days in (1, BACKUP_DAYS):  # a hold that ended while nobody ran lasts a day longer
        office.later(days=days, hours=1)
        await office.work()
    await audit.aclose()
    await redis.aclose()
    for database in databases:
        await database.aclose()


def child(request: dict[str, Any]) -> NoReturn:
    """Never returns: what it does ends with its process."""
    try:
        os.dup2(2, 1)
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
