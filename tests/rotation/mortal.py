"""Runners of key jobs that die (tests.mortality): `python -m tests.rotation.mortal`.

Steps are transactions, changes of the master key's file, finished objects and removals from the store.
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from keys.database import open_database
from keys.master.local import LocalMaster, load_master_file
from tests.mortality import serve
from tests.rotation.room import Room
from vault.objects.folder import FolderStore
from vault.objects.sealed import SealedWriter


async def work(catalog: str, shares: str, master: str, audit: str, now: str) -> None:
    """Run what can be run, as the control role's runner does at that time."""
    databases = open_database(catalog), open_database(shares)
    room = await Room.open(*databases, Path(audit), master=load_master_file(Path(master)))
    room.at = dt.datetime.fromisoformat(now)
    while await room.runner().once():
        pass
    await room.aclose()
    for database in databases:
        await database.aclose()


if __name__ == "__main__":
    serve(work, [(LocalMaster, "_change"), (SealedWriter, "finish"), (FolderStore, "delete")])
