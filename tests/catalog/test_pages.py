"""Keyset pages: together they are the whole list, in order, each row once, whatever is inserted meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import random
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from keys.database import Database, open_database
from keys.ids import RecordingId, parse_tenant
from tests.catalog.rows import NOW, OTHER, PATIENT, SECOND, TENANT, add_rows, row_values
from vault.catalog import recordings
from vault.catalog.cursors import format_cursor, parse_cursor
from vault.catalog.errors import UnknownCursor
from vault.catalog.migrate import Schema
from vault.catalog.recordings import Cursor
from vault.catalog.rows import RecordingRow
from vault.catalog.states import RecordingState
from vault.catalog.tables import recordings as table

Ask = Callable[..., Awaitable[tuple[RecordingRow, ...]]]
MICROSECOND = dt.timedelta(microseconds=1)


def shelf_of(database: Database, patient: Any = PATIENT) -> Ask:
    async def ask(*, limit: int, after: Cursor | None) -> tuple[RecordingRow, ...]:
        async with database.reading() as connection:
            return await recordings.shelf(connection, TENANT, patient, limit=limit, after=after)

    return ask


def tenant_of(database: Database) -> Ask:
    async def ask(*, limit: int, after: Cursor | None) -> tuple[RecordingRow, ...]:
        async with database.reading() as connection:
            return await recordings.of_tenant(connection, TENANT, limit=limit, after=after)

    return ask


async def pages(ask: Ask, *, limit: int) -> AsyncIterator[tuple[RecordingRow, ...]]:
    """Page after page, by cursors that went out as text and came back."""
    after = None
    while rows := await ask(limit=limit, after=after):
        yield rows
        after = parse_cursor(format_cursor(rows[-1]))


async def every(ask: Ask, *, limit: int) -> list[RecordingId]:
    return [row.recording_id async for page in pages(ask, limit=limit) for row in page]


def sorted_ids(rows: Any, *, patient: str | None = None, published: bool = True) -> list[uuid.UUID]:
    """What a list should show of these rows."""
    shown = [
        row
        for row in rows
        if (patient is None or row["patient"] == patient)
        and (row["state"] == "published" if published else row["state"] != "deleted")
    ]
    return [row["id"] for row in sorted(shown, key=lambda row: (row["created_at"], row["id"]), reverse=True)]


def rows_of(seed: int, *, count: int, moments: int) -> list[dict[str, Any]]:
    """Rows of two patients in every state, with far fewer moments than rows, some a microsecond apart."""
    chance = random.Random(seed)  # noqa: S311 - a test must repeat
    times = [NOW + chance.choice([SECOND, MICROSECOND]) * n for n in range(moments)]
    return [
        row_values(
            patient=chance.choice([PATIENT, OTHER]),
            created_at=chance.choice(times),
            state=chance.choice([RecordingState.PUBLISHED, RecordingState.PUBLISHED, *RecordingState]),
        )
        for _ in range(count)
    ]


@pytest.mark.parametrize("seed", range(4))
async def test_pages_are_the_whole_list(catalog: Database, seed: int) -> None:
    rows = await add_rows(catalog, table, rows_of(seed, count=60, moments=1 + seed * 5))
    for limit in (1, 2, 7, 59, 60, 61):
        for patient in (PATIENT, OTHER):
            found = await every(shelf_of(catalog, patient), limit=limit)
            assert found == sorted_ids(rows, patient=patient), (limit, patient)
        assert await every(tenant_of(catalog), limit=limit) == sorted_ids(rows, published=False)


async def test_rows_of_one_moment_are_partitioned(catalog: Database) -> None:
    """Equal times are ordered by id on both engines alike, byte by byte."""
    rows = await add_rows(catalog, table, [row_values(patient=PATIENT, created_at=NOW) for _ in range(50)])
    assert await every(shelf_of(catalog), limit=7) == sorted_ids(rows, patient=PATIENT)


async def test_the_order_is_asked_for_and_not_the_indexes_doing(fresh_url: Callable[[Schema], str]) -> None:
    database = open_database(await asyncio.to_thread(fresh_url, Schema.CATALOG))
    async with database.writing() as connection:
        for index in ("ix_recordings_shelf", "ix_recordings_tenant"):
            await connection.execute(text(f"DROP INDEX {index}"))
    rows = await add_rows(database, table, [row_values(patient=PATIENT, created_at=NOW) for _ in range(30)])
    assert await every(shelf_of(database), limit=7) == sorted_ids(rows)
    assert await every(tenant_of(database), limit=7) == sorted_ids(rows)
    await database.aclose()


async def test_what_is_inserted_meanwhile_disturbs_no_later_page(catalog: Database) -> None:
    chance = random.Random(7)  # noqa: S311 - a test must repeat
    rows = [row_values(patient=PATIENT, created_at=NOW + SECOND * n) for n in range(40)]
    await add_rows(catalog, table, rows)
    found: list[RecordingId] = []
    async for page in pages(shelf_of(catalog), limit=6):
        found += [row.recording_id for row in page]
        newer = row_values(patient=PATIENT, created_at=NOW + SECOND * chance.randint(50, 99))
        await add_rows(catalog, table, [newer])
    assert found == sorted_ids(rows, patient=PATIENT)


async def test_another_tenant_shows_nothing(catalog: Database) -> None:
    await add_rows(catalog, table, [row_values(patient=PATIENT, created_at=NOW)])
    async with catalog.reading() as connection:
        other = parse_tenant("other")
        assert await recordings.shelf(connection, other, PATIENT, limit=9, after=None) == ()
        assert await recordings.of_tenant(connection, other, limit=9, after=None) == ()


async def test_a_cursor_of_another_list_grants_nothing(catalog: Database) -> None:
    rows = await add_rows(
        catalog, table, [row_values(patient=who, created_at=NOW) for who in (PATIENT, OTHER) * 5]
    )
    (first,) = await shelf_of(catalog, OTHER)(limit=1, after=None)
    found = await shelf_of(catalog)(limit=99, after=parse_cursor(format_cursor(first)))
    assert {row.patient for row in found} <= {PATIENT}
    assert {row.recording_id for row in found} < set(sorted_ids(rows, patient=PATIENT)) | {first.recording_id}


async def test_readers_at_once_see_the_same(catalog: Database) -> None:
    rows = await add_rows(catalog, table, rows_of(9, count=40, moments=4))
    found = await asyncio.gather(*(every(shelf_of(catalog), limit=5) for _ in range(4)))
    assert found == [sorted_ids(rows, patient=PATIENT)] * 4


class TestCursor:
    """A cursor holds a time and an id, comes back as it went, and nothing else is one."""

    @given(
        at=st.datetimes(min_value=dt.datetime(1900, 1, 1), timezones=st.just(dt.UTC)),  # noqa: DTZ001
        recording_id=st.uuids(),
    )
    def test_it_comes_back(self, at: dt.datetime, recording_id: uuid.UUID) -> None:
        row = RecordingRow(
            RecordingId(recording_id),
            TENANT,
            PATIENT,
            "c",  # type: ignore[arg-type]
            "k",  # type: ignore[arg-type]
            RecordingState.PUBLISHED,
            None,
            None,
            at,
            None,
            b"",
            None,
            None,
            None,
        )
        assert parse_cursor(format_cursor(row)) == Cursor(at, RecordingId(recording_id))

    @given(text=st.one_of(st.text(max_size=80), st.text("0123456789abcdefMTIuQ-_", max_size=80)))
    def test_nothing_else_breaks_it(self, text: str) -> None:
        with contextlib.suppress(UnknownCursor):
            parse_cursor(text)

    @pytest.mark.parametrize(
        "text", ["", "x", "MQ", "\u00e4", "MS4x", "=" * 9, "OTk5OTk5OTk5OTk5OTk5OTk5OTk5OS54"]
    )
    def test_what_is_none_is_told(self, text: str) -> None:
        with pytest.raises(UnknownCursor):
            parse_cursor(text)
