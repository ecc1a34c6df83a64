"""Takes every erasure that is due one step forward, for ever; whatever is down is tried again.

Invariant: one erasure that cannot go on holds up no other.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import structlog

from keys import erasures
from keys.erasures import ErasureId, ErasureRow
from keys.errors import DatabaseUnavailable, ErasureRefused, KeysError
from keys.shares import ShareStore
from vault.audit.errors import AuditError
from vault.catalog.errors import CatalogError
from vault.erasure.errors import ErasureError
from vault.erasure.steps import Eraser
from vault.objects.errors import ObjectsError
from vault.sessions.errors import SessionsError

POLL_S: Final = 2.0
AGAIN_AFTER: Final = dt.timedelta(seconds=30)
_PAGE: Final = 100

_log = structlog.get_logger("replayvault.erasure")


@dataclass(slots=True)
class ErasureRunner:
    """Sits beside the control role."""

    shares: ShareStore
    eraser: Eraser
    clock: Callable[[], dt.datetime]
    _waits: dict[ErasureId, dt.datetime] = field(default_factory=dict)

    async def run(self) -> None:
        """Take steps for ever."""
        while True:
            if not await self.once():
                await asyncio.sleep(POLL_S)

    async def once(self) -> int:
        """One step of every erasure that is due; how many were taken."""
        now = self.clock()
        try:
            async with self.shares.database.reading() as connection:
                waiting = [each for each, until in self._waits.items() if until > now]
                due = await erasures.due(connection, now=now, but=waiting, limit=_PAGE)
        except DatabaseUnavailable:
            return 0
        return sum([await self._taken(row) for row in due])

    async def _taken(self, row: ErasureRow) -> bool:
        try:
            await self.eraser.advance(row)
        except ErasureRefused:
            return False  # another replica was faster, or a legal hold came between
        except (
            KeysError,
            ObjectsError,
            SessionsError,
            CatalogError,
            AuditError,
            ErasureError,
            OSError,
        ) as error:
            self._waits[row.erasure_id] = self.clock() + AGAIN_AFTER
            _log.error(
                "an erasure waits", erasure=str(row.erasure_id), state=row.state.value, reason=str(error)
            )
            return False
        self._waits.pop(row.erasure_id, None)
        return True
