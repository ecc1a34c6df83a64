"""Rotation: wraps of recordings and halves of patient keys a second, the census, and what a session costs to open.

PostgreSQL and OpenBao are real servers of their own on loopback, as the tests start them.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import statistics
import tempfile
import time
import uuid
from base64 import b64encode
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

from sqlalchemy import insert, text

from keys import contexts
from keys.database import Database, open_database
from keys.digest import blake2b
from keys.ids import Generation, RecordingId, new_file_id, new_key_id, new_recording_id, parse_patient
from keys.keyfile import create_private_file
from keys.lifecycle import KeyState
from keys.master.local import create_master_file, load_master_file
from keys.master.openbao import BATCH, OpenBaoMaster, Transit
from keys.master.protocol import Master
from keys.opening import open_recording_key, wrap_recording_key
from keys.records import Kind, Token, seal_record
from keys.secret import MasterHalf, RecordingKey, TierSecret
from keys.session import Session, SessionScope, encode_session, open_session
from keys.tables import patient_keys, recording_wraps
from tests.catalog.rows import TENANT, row_values
from tests.rotation.room import START, Room
from tests.servers import BaoServer, PostgresServer
from vault.catalog import rotation
from vault.catalog.key_jobs import JobKind
from vault.catalog.migrate import Schema, migrate
from vault.catalog.tables import recordings
from vault.objects.store import ObjectName

PATIENTS, RECORDINGS = 10, 10_000
HALVES: Final = 100_000
CENSUS: Final = 1_000_000
OPENS: Final = 5_000
LEAST_WRAPS_PER_S, LEAST_HALVES_PER_S = 10_000, 3_000
MOST_CENSUS_S, MOST_OPEN_US, MOST_GROWTH_MB = 5.0, 100.0, 50.0
MOST_RATIO: Final = 1.5
_STORED: Final = {"few-bytes": 2_000, "many-bytes": 2_000_000}
_RECORDINGS_STORED, _ROUNDS = 300, 5
_ROWS: Final = 5_000
_ROWS_IN_SQL: Final = 50_000
_CENSUS_PATIENTS: Final = 50_000


async def measure() -> bool:
    """Run and print; whether every limit held."""
    with PostgresServer() as postgres, tempfile.TemporaryDirectory(prefix="rv-bench-") as folder:
        held = [
            await _wraps(postgres, Path(folder)),
            await _bytes(postgres, Path(folder)),
            await _halves(postgres, Path(folder)),
            await _census(postgres),
            await _opening(postgres, Path(folder)),
        ]
    return all(held)


async def _wraps(postgres: PostgresServer, folder: Path) -> bool:
    async with _room(postgres, folder / "wraps") as room:
        for number in range(PATIENTS):
            await _recorded(room, f"patient-{number}")
        await room.ask(JobKind.PATIENT)
        before = _rss_mb()
        taken_s = await _taken(room)
        grown, rate = _rss_mb() - before, PATIENTS * RECORDINGS / taken_s
        print(f"rotation: {PATIENTS * RECORDINGS} recording wraps of {PATIENTS} patients on PostgreSQL")
        print(f"  {rate:8.0f} wraps/s (at least {LEAST_WRAPS_PER_S}), memory +{grown:.0f} MB (at most 50)")
        return rate >= LEAST_WRAPS_PER_S and grown <= MOST_GROWTH_MB


async def _bytes(postgres: PostgresServer, folder: Path) -> bool:
    """Two patients with as many recordings, and a thousand times as many bytes, are rotated in turn."""
    async with _room(postgres, folder / "bytes") as room:
        for name, size_bytes in _STORED.items():
            for recording_id in await room.patient(name, recordings=_RECORDINGS_STORED):
                await _stored(room, recording_id, size_bytes)
        taken_s: dict[str, list[float]] = {name: [] for name in _STORED}
        for _ in range(_ROUNDS):
            for name, each in taken_s.items():
                await room.ask(JobKind.PATIENT, tenant=TENANT, patient=parse_patient(name))
                each.append(await _taken(room))
        few, many = (statistics.median(each) * 1000 for each in taken_s.values())
        print(f"rotation: {_RECORDINGS_STORED} recordings of a patient, of 2 kB and of 2 MB each")
        print(f"  {few:8.0f} ms and {many:.0f} ms (median of {_ROUNDS}; at most {MOST_RATIO} times as long)")
        return many <= MOST_RATIO * few


async def _stored(room: Room, recording_id: RecordingId, size_bytes: int) -> None:
    upload = await room.store.create(ObjectName(recording_id, new_file_id()))
    await upload.part(bytes(size_bytes))
    await upload.complete()


async def _halves(postgres: PostgresServer, folder: Path) -> bool:
    with BaoServer() as bao:
        create_private_file(folder / "token", bao.root_token.encode())
        transit = Transit(
            address=bao.url, mount="transit", key=bao.transit_key(), token_file=folder / "token"
        )
        async with _room(postgres, folder / "halves", master=OpenBaoMaster(transit)) as room:
            await _halved(room, bao, transit.key)
            await room.ask(JobKind.MASTER, base_version=1)
            before = _rss_mb()
            taken_s = await _taken(room)
            grown, rate = _rss_mb() - before, HALVES / taken_s
            print(f"rotation: {HALVES} patient keys through OpenBao, on PostgreSQL")
            print(f"  {rate:8.0f} keys/s (at least {LEAST_HALVES_PER_S}), memory +{grown:.0f} MB")
            return rate >= LEAST_HALVES_PER_S


async def _census(postgres: PostgresServer) -> bool:
    async with _catalog(postgres) as catalog:
        for statement, count in zip(_MANY, (_CENSUS_PATIENTS, CENSUS, CENSUS), strict=True):
            for first in range(1, count + 1, _ROWS_IN_SQL):
                numbers = {"first": first, "last": min(first + _ROWS_IN_SQL - 1, count)}
                async with catalog.writing() as connection:
                    await connection.execute(text(statement), numbers)
        async with catalog.writing() as connection:
            await connection.execute(text("ANALYZE"))
        begun_s = time.monotonic()
        async with catalog.reading() as connection:
            states = await rotation.census(connection)
        taken_s = time.monotonic() - begun_s
        print(f"rotation: census of {sum(each.recordings for each in states)} wraps")
        print(f"  {taken_s:8.2f} s (at most {MOST_CENSUS_S:.0f})")
        return taken_s <= MOST_CENSUS_S


async def _opening(postgres: PostgresServer, folder: Path) -> bool:
    async with _room(postgres, folder / "opening") as room:
        await room.patient("ann", recordings=0)
        opened = await room.strongroom.open(TENANT, parse_patient("ann"))
    tier, token = TierSecret.generate(), Token.generate(Kind.SESSION)
    session = Session(
        audience="bench",
        tenant=TENANT,
        patient=opened.patient,
        pseudonym=opened.pseudonym,
        epoch=1,
        issued_at=1000,
        expires_at=2000,
        absolute_at=3000,
        idle_s=600,
        scopes=frozenset(SessionScope),
        keys=opened.carried,
    )
    record = seal_record(token, tier, encode_session(session))
    place: dict[str, Any] = {
        "tenant": TENANT,
        "patient": opened.patient,
        "recording_id": new_recording_id(),
        "recording_key_id": new_key_id(),
    }
    wrap = wrap_recording_key(RecordingKey.generate(), opened.active, **place)
    begun_s = time.process_time()
    for _ in range(OPENS):
        held = open_session(token, record, [tier], now_s=1500, audience="bench")
        open_recording_key((wrap,), held.keys, **place)
    micros = (time.process_time() - begun_s) / OPENS * 1e6
    print(f"rotation: opening a session and the key of a recording, {OPENS} times")
    print(f"  {micros:8.1f} µs of CPU (at most {MOST_OPEN_US:.0f})")
    return micros <= MOST_OPEN_US


async def _taken(room: Room) -> float:
    begun_s = time.monotonic()
    await room.runner().once()
    return time.monotonic() - begun_s


async def _recorded(room: Room, name: str) -> None:
    patient = parse_patient(name)
    opened = await room.strongroom.open_or_make(TENANT, patient, now=START)
    rows = [row_values(patient=name, created_at=START) for _ in range(RECORDINGS)]
    wraps = [_wrapped(row, opened) for row in rows]
    await _inserted(room.catalog, recordings, rows)
    await _inserted(room.catalog, recording_wraps, wraps)


def _wrapped(row: dict[str, Any], opened: Any) -> dict[str, Any]:
    wrap = wrap_recording_key(
        RecordingKey.generate(),
        opened.active,
        tenant=TENANT,
        patient=opened.patient,
        recording_id=row["id"],
        recording_key_id=row["key_id"],
    )
    return {
        "recording_id": wrap.recording_id,
        "patient_key_id": wrap.patient_key_id,
        "generation": wrap.generation,
        "wrapped": wrap.wrapped,
        "created_at": START,
    }


async def _halved(room: Room, bao: BaoServer, key: str) -> None:
    """Halves by the server's own batches: setting up by one call each would take longer than what is measured."""
    for first in range(0, HALVES, BATCH):
        names = [f"patient-{number}" for number in range(first, min(first + BATCH, HALVES))]
        rows = [_unwrapped(name) for name in names]
        batch = [_plain(row) for row in rows]
        answer = await asyncio.to_thread(
            bao.root.secrets.transit.encrypt_data, key, plaintext="", batch_input=batch
        )
        for row, each in zip(rows, answer["data"]["batch_results"], strict=True):
            row["wrapped_half"] = each["ciphertext"].encode()
        await _inserted(room.catalog, patient_keys, rows)


def _unwrapped(name: str) -> dict[str, Any]:
    return {
        "tenant": TENANT,
        "patient": name,
        "generation": 1,
        "key_id": uuid.uuid4(),
        "state": KeyState.ACTIVE.value,
        "provider": "openbao",
        "master_name": "transit/replayvault",
        "master_version": 1,
        "created_at": START,
        "state_since": START,
    }


def _plain(row: dict[str, Any]) -> dict[str, str]:
    context = contexts.patient_key_context(
        tenant=TENANT, patient=row["patient"], key_id=row["key_id"], generation=Generation(1)
    )
    derived = blake2b(context, person=contexts.PERSON_MASTER_CONTEXT, size_bytes=32)
    half = MasterHalf.generate().reveal(to="transit engine")
    return {"plaintext": b64encode(half).decode(), "context": b64encode(derived).decode()}


async def _inserted(catalog: Database, table: Any, rows: list[dict[str, Any]]) -> None:
    for first in range(0, len(rows), _ROWS):
        async with catalog.writing() as connection:
            await connection.execute(insert(table), rows[first : first + _ROWS])


@contextlib.asynccontextmanager
async def _catalog(postgres: PostgresServer, schema: Schema = Schema.CATALOG) -> AsyncIterator[Database]:
    database = open_database(await asyncio.to_thread(postgres.create_database))
    await migrate(database, schema)
    try:
        yield database
    finally:
        await database.aclose()


@contextlib.asynccontextmanager
async def _room(
    postgres: PostgresServer, folder: Path, *, master: Master | None = None
) -> AsyncIterator[Room]:
    await asyncio.to_thread(folder.mkdir)
    create_master_file(folder / "master.key")
    keeper = master or load_master_file(folder / "master.key")
    async with _catalog(postgres) as catalog, _catalog(postgres, Schema.SHARES) as shares:
        room = await Room.open(catalog, shares, folder / "audit", master=keeper)
        try:
            yield room
        finally:
            await room.aclose()


def _rss_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / 1e6


# Recordings of many patients and their wraps, as rows alone: the census opens nothing.
_MANY: Final = (
    """
    INSERT INTO patient_keys (tenant, patient, generation, key_id, state, provider, master_name, master_version,
                              wrapped_half, created_at, state_since)
    SELECT 'clinic', 'p-' || n, 1, md5('k' || n)::uuid, 'active', 'local', 'local', 1, '\\x00', now(), now()
    FROM generate_series(CAST(:first AS integer), CAST(:last AS integer)) AS n""",
    """
    INSERT INTO recordings (id, tenant, patient, consultation, key_id, state, created_at, metadata)
    SELECT md5('r' || n)::uuid, 'clinic', 'p-' || n % 50000 + 1, 'c-' || n, md5('x' || n)::uuid, 'published',
           now(), '\\x00'
    FROM generate_series(CAST(:first AS integer), CAST(:last AS integer)) AS n""",
    """
    INSERT INTO recording_wraps (recording_id, patient_key_id, generation, wrapped, created_at)
    SELECT md5('r' || n)::uuid, md5('k' || n % 50000 + 1)::uuid, 1, '\\x00', now()
    FROM generate_series(CAST(:first AS integer), CAST(:last AS integer)) AS n""",
)
