"""The questions that are asked all day use their indexes: no engine reads a whole table for them.

Plans are taken of the very statements that the product sends, as the driver gets them, on tables with some thousand
rows and fresh statistics.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import os
import re
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import Connection, event, text
from sqlalchemy.ext.asyncio import AsyncConnection

from keys import keyring, recording_wraps
from keys.database import Database, open_database
from keys.ids import FileId, Generation, KeyId, RecordingId, parse_patient
from keys.records import RecordId
from keys.service_token import ServiceTokenHash
from keys.tables import catalog_metadata, patient_keys
from keys.tables import recording_wraps as wraps_table
from tests.catalog.rows import NOW, SECOND, TENANT, add_rows, row_values
from vault.catalog import (
    census,
    drafts,
    due,
    jobs,
    key_jobs,
    recordings,
    registry,
    retention,
    rotation,
    service_tokens,
    tables,
)
from vault.catalog.drafts import DRAFT, KEPT
from vault.catalog.errors import LostClaim, UnknownToken
from vault.catalog.migrate import Schema
from vault.catalog.recordings import Cursor
from vault.catalog.states import RecordingState

ROWS = 4000
PATIENTS = 200
ONE = parse_patient("patient-1")
AFTER = Cursor(NOW + SECOND * (ROWS // 2), RecordingId(uuid.UUID(int=1 << 127)))
RUN = uuid.UUID(int=5)
FILE = FileId(uuid.UUID(int=6))
KEY = KeyId(uuid.UUID(int=7))

Question = Callable[[AsyncConnection], Awaitable[object]]


async def _by_hash(connection: AsyncConnection) -> None:
    with contextlib.suppress(UnknownToken):
        await service_tokens.by_hash(connection, ServiceTokenHash(b"h" * 32), now=NOW)


async def _keep(connection: AsyncConnection) -> None:
    with contextlib.suppress(LostClaim):
        await drafts.keep(connection, [FILE])


QUESTIONS: dict[str, Question] = {
    "shelf": lambda c: recordings.shelf(c, TENANT, ONE, limit=20, after=None),
    "shelf, a later page": lambda c: recordings.shelf(c, TENANT, ONE, limit=20, after=AFTER),
    "of_tenant": lambda c: recordings.of_tenant(c, TENANT, limit=20, after=None),
    "of_tenant, a later page": lambda c: recordings.of_tenant(c, TENANT, limit=20, after=AFTER),
    "by_idempotency": lambda c: recordings.by_idempotency(c, TENANT, b"k" * 32),
    "patient_epoch": lambda c: recordings.patient_epoch(c, TENANT, ONE),
    "owed": lambda c: jobs.owed(c, now=NOW, limit=20),
    "claim": lambda c: jobs.claim(c, AFTER.recording_id, now=NOW),
    "condemn_abandoned": lambda c: drafts.condemn_abandoned(c, now=NOW, limit=20),
    "condemn_run": lambda c: drafts.condemn_run(c, RUN),
    "condemn_recording": lambda c: drafts.condemn_recording(c, AFTER.recording_id),
    "touch": lambda c: drafts.touch(c, RUN, now=NOW),
    "keep": _keep,
    "by_hash": _by_hash,
    "standing": lambda c: registry.standing(c, [RecordId(b"r" * 32)], now=NOW),
    "alive, of a patient": lambda c: registry.alive(c, TENANT, patient=ONE, now=NOW, limit=20),
    "revoke_one": lambda c: registry.revoke_one(c, TENANT, RecordId(b"r" * 32), now=NOW),
    "revoke_patient": lambda c: registry.revoke_patient(c, TENANT, ONE, now=NOW),
    "shorten": lambda c: registry.shorten(c, RecordId(b"r" * 32), now=NOW, expires_at=NOW),
    "generations": lambda c: keyring.generations(c, TENANT, ONE),
    "hold": lambda c: keyring.hold(c, TENANT, ONE, to_change=True),
    "lacking": lambda c: registry.lacking(c, TENANT, ONE, generation=Generation(2), now=NOW),
    "seals_anything": lambda c: rotation.seals_anything(c, KEY),
    "hold_wraps": lambda c: rotation.hold_wraps(c, KEY, after=None, limit=20),
    "wraps_of": lambda c: recording_wraps.wraps_of(c, [AFTER.recording_id]),
    "old_patient_keys": lambda c: due.old_patient_keys(c, before=NOW, tenant=None),
    "drained_keys": lambda c: due.drained_keys(c, before=NOW, tenant=None),
    "ending": lambda c: service_tokens.ending(c, now=NOW, before=NOW + SECOND, tenant=None, limit=20),
    "last_seen": lambda c: retention.last_seen(c, TENANT, after=None, limit=20),
    "last_seen, a later page": lambda c: retention.last_seen(c, TENANT, after=ONE, limit=20),
    "published": lambda c: census.published(c, pivot=AFTER.recording_id, limit=20, tenant=None),
    "known": lambda c: census.known(c, after=(AFTER.recording_id, FILE), limit=20),
    "among": lambda c: census.among(c, [FILE]),
    "kept_of": lambda c: census.kept_of(c, [AFTER.recording_id]),
    "keys_of": lambda c: census.keys_of(c, [AFTER.recording_id]),
    "latest, of a tenant": lambda c: key_jobs.latest(c, limit=20, tenant=TENANT),
}


def _fill(url_of: Callable[[Schema], str]) -> str:
    """A catalog with some thousand rows in each table; returns its URL."""
    url = url_of(Schema.CATALOG)

    async def run() -> None:
        database = open_database(url)
        await _insert(database)
        async with database.writing() as connection:
            await connection.execute(text("ANALYZE"))
        await database.aclose()

    asyncio.run(run())
    return url


async def _insert(database: Database) -> None:
    states = [RecordingState.PUBLISHED] * 8 + [RecordingState.DELETED, RecordingState.FAILED]
    rows = [
        row_values(patient=f"patient-{n % PATIENTS}", created_at=NOW + SECOND * n, state=states[n % 10])
        for n in range(ROWS)
    ]
    await add_rows(database, tables.recordings, rows)
    await add_rows(
        database,
        tables.patients,
        [_owner(n) | {"epoch": 1, "created_at": NOW} for n in range(ROWS)],
    )
    await add_rows(database, patient_keys, [_key(n) for n in range(ROWS)])
    await add_rows(database, wraps_table, [_wrap(row["id"]) for row in rows])
    await add_rows(database, tables.jobs, [_job(row["id"], n) for n, row in enumerate(rows)])
    await add_rows(database, tables.objects, [_object(row["id"], n) for n, row in enumerate(rows)])
    await add_rows(database, tables.sessions, [_session(n) for n in range(ROWS)])
    await add_rows(database, tables.service_tokens, [_token(n) for n in range(ROWS)])
    asked = [_key_job(n) for n in range(ROWS)]
    await add_rows(database, tables.key_jobs, asked)
    faults = [{"job_id": row["id"], "item": "x", "code": "x", "at": NOW} for row in asked]
    await add_rows(database, tables.key_job_errors, faults)


def _owner(number: int) -> dict[str, Any]:
    return {"tenant": TENANT, "patient": f"patient-{number}"}


def _key(number: int) -> dict[str, Any]:
    return {
        **_owner(number),
        "generation": 1,
        "key_id": uuid.uuid4(),
        "state": "active",
        "state_since": NOW,
        "provider": "local",
        "master_name": "local",
        "master_version": 1,
        "wrapped_half": b"w" * 105,
        "created_at": NOW,
    }


def _wrap(recording_id: uuid.UUID) -> dict[str, Any]:
    place = {"recording_id": recording_id, "patient_key_id": uuid.uuid4()}
    return {**place, "generation": 1, "wrapped": b"w" * 105, "created_at": NOW}


def _job(recording_id: uuid.UUID, number: int) -> dict[str, Any]:
    free_at = NOW + SECOND * (number - 20)
    job = {"recording_id": recording_id, "handover": b"box", "attempts": 0}
    return {**job, "free_at": free_at, "created_at": NOW}


def _object(recording_id: uuid.UUID, number: int) -> dict[str, Any]:
    file = {"file_id": uuid.uuid4(), "recording_id": recording_id, "run_id": uuid.uuid4()}
    return {
        **file,
        "kept": DRAFT if number % 50 == 0 else KEPT,
        "touched_at": NOW - dt.timedelta(hours=1) + SECOND * number,
    }


def _session(number: int) -> dict[str, Any]:
    return {
        **_owner(number % PATIENTS),
        "id": os.urandom(32),
        "kind": "rvs",
        "parent": os.urandom(32),
        "issuer": "service",
        "generation": 1,
        "issued_at": NOW,
        "expires_at": NOW + SECOND * (number - ROWS // 2),
    }


def _key_job(number: int) -> dict[str, Any]:
    asked = {"requested_by": "operator", "requested_at": NOW + SECOND * number, "free_at": NOW}
    job = {"id": uuid.uuid4(), "kind": "patient", "state": "done", "done": 1, **asked}
    return {**job, "tenant": TENANT if number % 100 == 0 else f"tenant-{number % 100}"}


def _token(number: int) -> dict[str, Any]:
    token = {"id": uuid.uuid4(), "tenant": TENANT, "name": f"backend-{number}", "hash": os.urandom(32)}
    return {**token, "scopes": "ingest", "created_at": NOW}


@contextlib.contextmanager
def _explained(database: Database) -> Iterator[list[str]]:
    """Collect the plan of every statement that goes to the driver, asked for just before it is sent."""
    plans: list[str] = []

    def explain(
        connection: Connection, cursor: Any, statement: str, parameters: Any, _context: Any, many: Any
    ) -> None:
        assert not many
        if statement.startswith(("EXPLAIN", "BEGIN", "SAVEPOINT")):
            return
        is_sqlite = connection.dialect.name == "sqlite"
        cursor.execute(f"EXPLAIN {'QUERY PLAN ' if is_sqlite else ''}{statement}", parameters)
        lines = [str(row[-1]) for row in cursor.fetchall()]
        plans.append("\n".join(lines))

    engine = database.engine.sync_engine
    event.listen(engine, "before_cursor_execute", explain)
    try:
        yield plans
    finally:
        event.remove(engine, "before_cursor_execute", explain)


@pytest.fixture
async def filled(fresh_url: Callable[[Schema], str]) -> AsyncIterator[Database]:
    database = open_database(await asyncio.to_thread(_fill, fresh_url))
    yield database
    await database.aclose()


def reads_a_whole_table(plan: str) -> bool:
    """Whether any step of a plan goes through all rows of a table, or all of an index."""
    lines = [line.strip() for line in plan.splitlines()]
    scans = [re.match(r"SCAN (\w+)", line) for line in lines]
    # What a recursive question has found so far is scanned as well, and is small.
    scanned = {match.group(1) for match in scans if match is not None}
    return bool(scanned & catalog_metadata.tables.keys()) or any("Seq Scan" in line for line in lines)


async def test_every_question_uses_an_index(filled: Database) -> None:
    """All in one: filling the tables costs more than asking."""
    plans = {name: await plans_of(filled, ask) for name, ask in QUESTIONS.items()}
    assert all(plans.values())
    slow = {name: [each for each in found if reads_a_whole_table(each)] for name, found in plans.items()}
    assert {name: found for name, found in slow.items() if found} == {}

    # A page costs its rows: no sort, and no row of another patient, state or time is touched.
    for plan in (*plans["shelf"], *plans["shelf, a later page"]):
        assert "ix_recordings_shelf" in plan
        assert "Sort" not in plan
        assert "TEMP B-TREE" not in plan
    assert "ix_objects_drafts" in plans["condemn_abandoned"][0]

    # And the guard itself can fail.
    async with filled.writing() as connection:
        await connection.execute(text("DROP INDEX ix_jobs_free_at"))
    await filled.engine.dispose()  # SQLite's driver keeps explained statements as they were
    assert any(reads_a_whole_table(each) for each in await plans_of(filled, QUESTIONS["owed"]))


async def plans_of(database: Database, ask: Question) -> list[str]:
    """The plans of all statements of a question; what it changed is taken back."""
    with _explained(database) as plans:
        async with database.writing() as connection:
            await ask(connection)
            await connection.rollback()
    return plans
