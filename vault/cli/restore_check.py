"""What `doctor` says after a backup was restored: whether it brought somebody back who was erased."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

from keys.errors import DatabaseUnavailable
from keys.shares import ShareStore
from vault.app.databases import opened, opened_catalog
from vault.catalog.errors import UnknownSchema
from vault.catalog.migrate import Schema
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
    """Looking must make no folder."""
    location = parse_location(settings.objects)
    return not isinstance(location, FolderLocation) or location.path.exists()


async def _finding(settings: ControlSettings) -> Finding:
    async with (
        opened_catalog(settings) as catalog,
        opened(settings.shares, Schema.SHARES) as shares,
        contextlib.aclosing(make_store(settings.objects)) as store,
    ):
        graveyard = Graveyard(catalog, ShareStore(shares), store)
        back = len(await graveyard.forgotten()) + len(await graveyard.brought_back())
    if back:
        says = f"a restored backup brought {back} of them back"
        return wrong(_NAME, says, "restart the control role: it destroys again before it serves")
    return ok(_NAME, "stay erased: no backup brought one back")
