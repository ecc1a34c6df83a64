"""Share store, keyring and strongroom on real databases, with many at the door at once."""

from __future__ import annotations

import asyncio
import datetime as dt
import threading
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import delete, func, select, update
from sqlalchemy.exc import IntegrityError, StatementError

from keys import keyring, recording_wraps
from keys.contexts import patient_key_context
from keys.database import Database, open_database
from keys.errors import DatabaseUnavailable, KeyConflict, KeyMismatch, NoSuchKey, PatientErased
from keys.ids import (
    Generation,
    RecordingId,
    new_key_id,
    new_recording_id,
    parse_consultation,
    parse_patient,
    parse_tenant,
)
from keys.keyring import PatientKeyRow
from keys.lifecycle import KeyState
from keys.master.local import LocalMaster
from keys.opening import open_recording_key, wrap_recording_key
from keys.patient import join_halves
from keys.recording_wraps import RecordingWrap
from keys.secret import MasterHalf, MasterKey, PatientKey, RecordingKey
from keys.session import GrantedKey
from keys.shares import ShareStore
from keys.strongroom import Strongroom
from keys.tables import erasure_shares, patient_keys
from vault.catalog.migrate import Schema
from vault.catalog.recordings import NewRecording, create, ensure_patient

TENANT, PATIENT, OTHER = parse_tenant("clinic"), parse_patient("patient-1"), parse_patient("patient-2")
NOW = dt.datetime(2026, 3, 1, 9, 30, tzinfo=dt.UTC)
CROWD = 20


@pytest.fixture
def strongroom(catalog: Database, shares: Database) -> Strongroom:
    master = LocalMaster("local", {1: MasterKey.generate()})
    return Strongroom(catalog, master, ShareStore(shares))


async def row_of(
    strongroom: Strongroom, generation: int, state: KeyState
) -> tuple[PatientKeyRow, MasterHalf]:
    half, key_id = MasterHalf.generate(), new_key_id()
    context = patient_key_context(
        tenant=TENANT, patient=PATIENT, key_id=key_id, generation=Generation(generation)
    )
    wrap = await strongroom.master.wrap(half, context=context)
    row = PatientKeyRow(
        tenant=TENANT,
        patient=PATIENT,
        generation=Generation(generation),
        key_id=key_id,
        state=state,
        wrap=wrap,
        created_at=NOW,
    )
    return row, half


async def add(strongroom: Strongroom, generation: int, state: KeyState) -> PatientKeyRow:
    row, _ = await row_of(strongroom, generation, state)
    async with strongroom.catalog.writing() as connection:
        await keyring.add_generation(connection, row)
    return row


def raw(key: GrantedKey) -> bytes:
    return key.key.reveal(to="test")


class TestShares:
    """A patient has one share, made once."""

    async def test_it_is_made_once_and_found_again(self, shares: Database) -> None:
        store = ShareStore(shares)
        assert await store.find(TENANT, PATIENT) is None
        made = await store.find_or_make(TENANT, PATIENT, now=NOW)
        again = await store.find_or_make(TENANT, PATIENT, now=NOW)
        found = await store.find(TENANT, PATIENT)
        assert found is not None
        assert len({each.reveal(to="test") for each in (made, again, found)}) == 1

    async def test_a_crowd_gets_one_share(self, shares: Database) -> None:
        store = ShareStore(shares)
        made = await asyncio.gather(*(store.find_or_make(TENANT, PATIENT, now=NOW) for _ in range(CROWD)))
        assert len({each.reveal(to="test") for each in made}) == 1
        async with shares.reading() as connection:
            assert await connection.scalar(select(func.count()).select_from(erasure_shares)) == 1

    async def test_patients_and_tenants_have_shares_of_their_own(self, shares: Database) -> None:
        store = ShareStore(shares)
        places = [(TENANT, PATIENT), (TENANT, OTHER), (parse_tenant("other"), PATIENT)]
        made = {(await store.find_or_make(*place, now=NOW)).reveal(to="test") for place in places}
        assert len(made) == 3

    async def test_a_share_does_not_change(self, shares: Database) -> None:
        store = ShareStore(shares)
        before = await store.find_or_make(TENANT, PATIENT, now=NOW)
        after = await store.find_or_make(TENANT, PATIENT, now=NOW + dt.timedelta(days=1))
        assert after.reveal(to="test") == before.reveal(to="test")


class TestKeyring:
    """Generations are inserted once and never overwritten."""

    async def test_they_come_oldest_first_without_the_retired(self, strongroom: Strongroom) -> None:
        states = (KeyState.RETIRED, KeyState.DRAINING, KeyState.ACTIVE, KeyState.PREPARED)
        rows = [await add(strongroom, n, state) for n, state in reversed(list(enumerate(states, start=1)))]
        async with strongroom.catalog.reading() as connection:
            found = await keyring.generations(connection, TENANT, PATIENT)
            others = await keyring.generations(connection, TENANT, OTHER)
        assert found == tuple(row for row in reversed(rows) if row.state is not KeyState.RETIRED)
        assert others == ()

    async def test_the_first_writer_wins(self, strongroom: Strongroom) -> None:
        first = await add(strongroom, 1, KeyState.ACTIVE)
        with pytest.raises(KeyConflict):
            await add(strongroom, 1, KeyState.ACTIVE)
        async with strongroom.catalog.reading() as connection:
            assert await keyring.generations(connection, TENANT, PATIENT) == (first,)

    async def test_a_conflict_leaves_the_callers_transaction_usable(self, strongroom: Strongroom) -> None:
        await add(strongroom, 1, KeyState.ACTIVE)
        again, _ = await row_of(strongroom, 1, KeyState.ACTIVE)
        second, _ = await row_of(strongroom, 2, KeyState.PREPARED)
        async with strongroom.catalog.writing() as connection:
            with pytest.raises(KeyConflict):
                await keyring.add_generation(connection, again)
            await keyring.add_generation(connection, second)
        async with strongroom.catalog.reading() as connection:
            found = await keyring.generations(connection, TENANT, PATIENT)
        assert [row.generation for row in found] == [1, 2]

    async def test_a_key_id_is_never_used_again(self, strongroom: Strongroom) -> None:
        first = await add(strongroom, 1, KeyState.ACTIVE)
        second, _ = await row_of(strongroom, 2, KeyState.PREPARED)
        with pytest.raises(KeyConflict):
            async with strongroom.catalog.writing() as connection:
                await keyring.add_generation(
                    connection,
                    PatientKeyRow(
                        TENANT,
                        PATIENT,
                        second.generation,
                        first.key_id,
                        second.state,
                        second.wrap,
                        NOW,
                    ),
                )


class TestStrongroom:
    """Catalog, share and master key together open a patient; without one of them nothing does."""

    async def test_a_new_patient_has_one_active_generation(self, strongroom: Strongroom) -> None:
        opened = await strongroom.open_or_make(TENANT, PATIENT, now=NOW)
        again = await strongroom.open(TENANT, PATIENT)
        assert [key.generation for key in opened.carried] == [1]
        assert opened.active is opened.carried[0]
        assert raw(opened.active) == raw(again.active)
        assert opened.pseudonym == again.pseudonym

    async def test_a_crowd_at_a_patients_first_use_gets_one_key(self, strongroom: Strongroom) -> None:
        opened = await asyncio.gather(
            *(strongroom.open_or_make(TENANT, PATIENT, now=NOW) for _ in range(CROWD))
        )
        assert len({raw(each.active) for each in opened}) == 1
        assert len({each.active.key_id for each in opened}) == 1
        assert len({each.pseudonym for each in opened}) == 1
        async with strongroom.catalog.reading() as connection:
            assert await connection.scalar(select(func.count()).select_from(patient_keys)) == 1

    async def test_a_crowd_of_patients_gets_a_key_each(self, strongroom: Strongroom) -> None:
        patients = [parse_patient(f"patient-{n}") for n in range(CROWD)]
        opened = await asyncio.gather(*(strongroom.open_or_make(TENANT, each, now=NOW) for each in patients))
        assert len({raw(each.active) for each in opened}) == CROWD

    async def test_an_unknown_patient_has_no_key(self, strongroom: Strongroom) -> None:
        with pytest.raises(NoSuchKey):
            await strongroom.open(TENANT, PATIENT)

    async def test_a_share_without_keys_is_used(self, strongroom: Strongroom) -> None:
        """What a crash between share and key leaves behind."""
        share = await strongroom.shares.find_or_make(TENANT, PATIENT, now=NOW)
        await strongroom.open_or_make(TENANT, PATIENT, now=NOW)
        found = await strongroom.shares.find(TENANT, PATIENT)
        assert found is not None
        assert found.reveal(to="test") == share.reveal(to="test")

    async def test_an_erased_patient_stays_erased(self, strongroom: Strongroom) -> None:
        await strongroom.open_or_make(TENANT, PATIENT, now=NOW)
        async with strongroom.shares.database.writing() as connection:
            await connection.execute(delete(erasure_shares))
        for _ in range(2):
            with pytest.raises(PatientErased):
                await strongroom.open(TENANT, PATIENT)
            with pytest.raises(PatientErased):
                await strongroom.open_or_make(TENANT, PATIENT, now=NOW)
        async with strongroom.shares.database.reading() as connection:
            assert await connection.scalar(select(func.count()).select_from(erasure_shares)) == 0

    async def test_a_patient_whose_keys_are_all_retired_gets_no_new_one(self, strongroom: Strongroom) -> None:
        await strongroom.open_or_make(TENANT, PATIENT, now=NOW)
        async with strongroom.catalog.writing() as connection:
            await connection.execute(update(patient_keys).values(state=KeyState.RETIRED.value))
        with pytest.raises(NoSuchKey):
            await strongroom.open_or_make(TENANT, PATIENT, now=NOW)

    async def test_sessions_carry_what_is_prepared_and_active(self, strongroom: Strongroom) -> None:
        await strongroom.shares.find_or_make(TENANT, PATIENT, now=NOW)
        for number, state in enumerate(
            (KeyState.RETIRED, KeyState.DRAINING, KeyState.ACTIVE, KeyState.PREPARED), start=1
        ):
            await add(strongroom, number, state)
        opened = await strongroom.open(TENANT, PATIENT)
        assert [key.generation for key in opened.carried] == [3, 4]
        assert opened.active.generation == 3
        assert raw(opened.carried[0]) != raw(opened.carried[1])

    async def test_a_patient_without_an_active_key_opens_nothing(self, strongroom: Strongroom) -> None:
        await strongroom.shares.find_or_make(TENANT, PATIENT, now=NOW)
        await add(strongroom, 1, KeyState.PREPARED)
        with pytest.raises(NoSuchKey):
            await strongroom.open(TENANT, PATIENT)

    async def test_a_row_moved_to_another_patient_does_not_open(self, strongroom: Strongroom) -> None:
        await strongroom.open_or_make(TENANT, PATIENT, now=NOW)
        await strongroom.shares.find_or_make(TENANT, OTHER, now=NOW)
        async with strongroom.catalog.writing() as connection:
            await connection.execute(update(patient_keys).values(patient=OTHER))
        with pytest.raises(KeyMismatch):
            await strongroom.open(TENANT, OTHER)

    async def test_the_key_is_joined_of_both_halves(self, strongroom: Strongroom) -> None:
        share = await strongroom.shares.find_or_make(TENANT, PATIENT, now=NOW)
        row, half = await row_of(strongroom, 1, KeyState.ACTIVE)
        async with strongroom.catalog.writing() as connection:
            await keyring.add_generation(connection, row)
        opened = await strongroom.open(TENANT, PATIENT)
        context = patient_key_context(
            tenant=TENANT, patient=PATIENT, key_id=row.key_id, generation=row.generation
        )
        assert raw(opened.active) == join_halves(half, share, context=context).reveal(to="test")

    async def test_neither_database_holds_a_key(self, strongroom: Strongroom, tmp_path: Path) -> None:
        """The bytes of the files, where the engine has files of ours."""
        opened = await strongroom.open_or_make(TENANT, PATIENT, now=NOW)
        async with strongroom.catalog.reading() as connection:
            blobs = (await connection.scalars(select(patient_keys.c.wrapped_half))).all()
        assert not any(raw(opened.active) in blob for blob in blobs)
        files = await asyncio.to_thread(_contents, tmp_path)
        assert not any(raw(opened.active) in each for each in files)


class TestRecordingWraps:
    """A wrap is found by its key id; where none is, somebody else's recording came along."""

    PLACE = {"tenant": TENANT, "patient": PATIENT}  # noqa: RUF012 - read only

    @pytest.fixture
    async def recording(self, catalog: Database) -> RecordingId:
        recording_id = new_recording_id()
        new = NewRecording(
            recording_id=recording_id,
            tenant=TENANT,
            patient=PATIENT,
            consultation=parse_consultation("c"),
            key_id=new_key_id(),
            metadata=b"",
            idempotency=None,
            created_at=NOW,
        )
        async with catalog.writing() as connection:
            await ensure_patient(connection, TENANT, PATIENT, now=NOW)
            await create(connection, new)
        return recording_id

    async def test_one_or_two_stand_and_all_go(self, catalog: Database, recording: RecordingId) -> None:
        unknown = new_recording_id()
        for number in (1, 2):
            async with catalog.writing() as connection:
                wrap = RecordingWrap(recording, new_key_id(), Generation(number), b"w" * 105)
                await recording_wraps.add_wrap(connection, wrap, now=NOW)
            async with catalog.reading() as connection:
                found = await recording_wraps.wraps_of(connection, [recording, unknown])
            assert len(found[recording]) == number
            assert found[unknown] == ()
        async with catalog.writing() as connection:
            await recording_wraps.drop_wraps(connection, recording)
        async with catalog.reading() as connection:
            assert await recording_wraps.wraps_of(connection, [recording]) == {recording: ()}

    async def test_a_wrap_needs_its_recording(self, catalog: Database) -> None:
        wrap = RecordingWrap(new_recording_id(), new_key_id(), Generation(1), b"w" * 105)
        with pytest.raises(IntegrityError):
            async with catalog.writing() as connection:
                await recording_wraps.add_wrap(connection, wrap, now=NOW)

    def test_the_wrap_that_names_a_key_at_hand_is_opened_and_no_other(self) -> None:
        mine, theirs = (GrantedKey(new_key_id(), Generation(1), PatientKey.generate()) for _ in range(2))
        recording_id, key_id, key = new_recording_id(), new_key_id(), RecordingKey.generate()

        def wrapped(under: GrantedKey) -> RecordingWrap:
            return wrap_recording_key(
                key, under, tenant=TENANT, patient=PATIENT, recording_id=recording_id, recording_key_id=key_id
            )

        def opened(wraps: list[RecordingWrap], granted: list[GrantedKey]) -> bytes:
            found = open_recording_key(
                wraps,
                granted,
                tenant=TENANT,
                patient=PATIENT,
                recording_id=recording_id,
                recording_key_id=key_id,
            )
            return found.reveal(to="test")

        assert opened([wrapped(theirs), wrapped(mine)], [mine]) == key.reveal(to="test")
        for wraps, granted in (([wrapped(theirs)], [mine]), ([], [mine]), ([wrapped(mine)], [])):
            with pytest.raises(KeyMismatch):
                opened(wraps, granted)
        # The right id over another key's wrap: no second key is tried.
        forged = RecordingWrap(recording_id, mine.key_id, mine.generation, wrapped(theirs).wrapped)
        with pytest.raises(KeyMismatch):
            opened([forged, wrapped(mine)], [mine, theirs])


class TestDatabase:
    """What does not answer is `DatabaseUnavailable`; what was not committed is gone."""

    async def test_a_failed_block_leaves_nothing(self, shares: Database) -> None:
        with pytest.raises(RuntimeError):
            await self._half_done(shares)
        assert await ShareStore(shares).find(TENANT, PATIENT) is None

    async def _half_done(self, shares: Database) -> None:
        async with shares.writing() as connection:
            values = {"tenant": TENANT, "patient": PATIENT, "share": bytes(32), "created_at": NOW}
            await connection.execute(erasure_shares.insert().values(values))
            raise RuntimeError

    async def test_no_tables_or_no_server_is_told_without_the_address(
        self, empty_url: Callable[[], str]
    ) -> None:
        database = open_database(await asyncio.to_thread(empty_url))
        with pytest.raises(DatabaseUnavailable):
            await ShareStore(database).find(TENANT, PATIENT)
        await database.aclose()
        for url in (
            "postgresql+asyncpg://rv:not-a-secret@127.0.0.1:1/none",
            "sqlite+aiosqlite:////nowhere/none.sqlite3",
        ):
            absent = open_database(url)
            with pytest.raises(DatabaseUnavailable) as refusal:
                await absent.ping()
            assert "not-a-secret" not in str(refusal.value)
            await absent.aclose()
        await _threads_ended()

    async def test_a_naive_time_is_refused(self, shares: Database) -> None:
        with pytest.raises(StatementError, match="naive"):
            await ShareStore(shares).find_or_make(TENANT, PATIENT, now=NOW.replace(tzinfo=None))

    async def test_times_come_back_aware(self, shares: Database) -> None:
        at = NOW.astimezone(dt.timezone(dt.timedelta(hours=5, minutes=30)))
        await ShareStore(shares).find_or_make(TENANT, PATIENT, now=at)
        async with shares.reading() as connection:
            found = await connection.scalar(select(erasure_shares.c.created_at))
        assert found == NOW
        assert found is not None
        assert found.tzinfo is dt.UTC

    async def test_ids_come_back_as_they_went(self, strongroom: Strongroom) -> None:
        row = await add(strongroom, 1, KeyState.ACTIVE)
        async with strongroom.catalog.reading() as connection:
            (found,) = await keyring.generations(connection, TENANT, PATIENT)
        assert found.key_id == row.key_id
        assert isinstance(found.key_id, uuid.UUID)

    async def test_schemas_stand_apart(self, fresh_url: Callable[[Schema], str]) -> None:
        """A copy of the catalog holds no share: the tables are in databases of their own."""
        assert erasure_shares.metadata is not patient_keys.metadata
        database = open_database(await asyncio.to_thread(fresh_url, Schema.CATALOG))
        with pytest.raises(DatabaseUnavailable):
            await ShareStore(database).find(TENANT, PATIENT)
        await database.aclose()


async def _threads_ended() -> None:
    """A connection of aiosqlite that failed to open ends its thread later, and tells the loop, which must live."""
    async with asyncio.timeout(5):
        while any("_connection_worker_thread" in thread.name for thread in threading.enumerate()):  # noqa: ASYNC110 - threads tell no event
            await asyncio.sleep(0.01)


def _contents(folder: Path) -> list[bytes]:
    return [each.read_bytes() for each in folder.rglob("*sqlite3*")]
