"""Every authorization check replaced, in this process and for the length of a block.

The product has no switch for this and gets none: the demonstration does to its own process what a bad release would
do. What is replaced: each check of `vault.playback.authorize`, and the list's query, which loses its WHERE clause.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, Final
from unittest import mock

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from vault.catalog import recordings
from vault.catalog.rows import RecordingRow, recording_row
from vault.catalog.states import RecordingState
from vault.catalog.tables import recordings as recordings_table
from vault.playback import authorize

CHECKS: Final = ("require_list", "require_play", "require_own", "require_role")


@contextlib.contextmanager
def no_authorization() -> Iterator[None]:
    """Every check answers yes and every list lists everybody's."""
    with contextlib.ExitStack() as stack:
        for name in CHECKS:
            stack.enter_context(mock.patch.object(authorize, name, _yes))
        stack.enter_context(mock.patch.object(recordings, "shelf", _everybodys))
        yield


def _yes(*_: Any) -> None:
    """Let everybody do everything."""


async def _everybodys(
    connection: AsyncConnection, *_: Any, limit: int, **__: Any
) -> tuple[RecordingRow, ...]:
    """The list query as a mistake would write it: no tenant, no patient."""
    question = (
        select(recordings_table)
        .where(recordings_table.c.state == RecordingState.PUBLISHED.value)
        .order_by(recordings_table.c.created_at.desc())
        .limit(limit)
    )
    return tuple(recording_row(row) for row in (await connection.execute(question)).mappings())
