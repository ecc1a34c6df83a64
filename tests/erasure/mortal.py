"""Erasers that die (tests.mortality): `python -m tests.erasure.mortal`.

Steps are transactions, tombstones, objects and records that were removed, and logs that were cut.
"""

from __future__ import annotations

from pathlib import Path

from keys.database import Database, open_database
from keys.master.local import load_master_file
from keys.notes import load_audit_key
from keys.shares import ShareStore
from keys.strongroom import Strongroom
from tests.erasure.office import BACKUP_DAYS, Office
from tests.mortality import serve
from vault.app.ground import utc_now
from vault.audit.log import AuditLog
from vault.objects.folder import FolderStore
from vault.redis_client import connect_redis
from vault.sessions.records import RecordStore

COUNTED = [
    (FolderStore, "put_anchor"),
    (FolderStore, "delete"),
    (FolderStore, "purge"),
    (RecordStore, "drop"),
    (Database, "scrub"),
]


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


if __name__ == "__main__":
    serve(work, COUNTED)
