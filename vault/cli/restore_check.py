"""What `doctor` says after a backup was restored: whether it brought somebody back who was erased."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

from keys.database import open_database
from keys.errors import DatabaseUnavailable
from keys.shares import ShareStore
from vault.catalog.errors import UnknownSchema
from vault.catalog.migrate import Schema, require_current
from vault.cli.databases import sqlite_file
from vault.cli.findings import Finding, down, ok, wrong
from vault.erasure.errors import ForeignTombstone
from vault.erasure.tombstones import Graveyard
from vault.objects.errors import StoreMisconfigured, StoreUnavailable
from vault.objects.location import FolderLocation, make_store, parse_location
from vault.settings import ControlSettings, SettingsError

_NAME: Final = "erased patients"
_TIMEOUT_S: Final = 30.0


async def restore_findings(settings: ControlSettings) -> list[Finding]:
    """Whether everybody who was erased still is; nothing where something is missing: that is said elsewhere."""
    try:
        if not await asyncio.to_thread(_is_there, settings):
            return []
        async with asyncio.timeout(_TIMEOUT_S):
            return [await _finding(settings)]
    except ForeignTombstone as error:
        return [wrong(_NAME, str(error), "the control role does not start before it is restored")]
    except TimeoutError:
        return [
            down(_NAME, "could not be looked at in time", "see what is slow: databases or the object store")
        ]
    except (UnknownSchema, DatabaseUnavailable, StoreMisconfigured, StoreUnavailable, SettingsError):
        return []


def _is_there(settings: ControlSettings) -> bool:
    """Looking must make no file and no folder."""
    paths = [sqlite_file(settings.catalog), sqlite_file(settings.shares)]
    location = parse_location(settings.objects)
    paths += [location.path] if isinstance(location, FolderLocation) else []
    return all(path is None or path.exists() for path in paths)


async def _finding(settings: ControlSettings) -> Finding:
    catalog, shares = open_database(settings.catalog), open_database(settings.shares)
    store = make_store(settings.objects)
    async with contextlib.aclosing(catalog), contextlib.aclosing(shares), contextlib.aclosing(store):
        await require_current(catalog, Schema.CATALOG)
        await require_current(shares, Schema.SHARES)
        graveyard = Graveyard(catalog, ShareStore(shares), store)
        back = len(await graveyard.forgotten()) + len(await graveyard.brought_back())
    if back:
        says = f"a restored backup brought {back} of them back"
        return wrong(_NAME, says, "restart the control role: it destroys again before it serves")
    return ok(_NAME, "stay erased: no backup brought one back")
