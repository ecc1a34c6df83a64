"""The table of moves, tried on the database: what it allows happens, and nothing else does."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from keys.database import Database
from keys.ids import RecordingId, new_file_id, new_recording_id, parse_consultation, parse_tenant
from tests.catalog.rows import NOW, OTHER, PATIENT, TENANT, add_recording, new_recording, state_of
from vault.catalog import recordings
from vault.catalog.errors import ConsultationTaken, IdempotencyReused, UnknownRecording, WrongState
from vault.catalog.rows import StoredFile
from vault.catalog.states import MOVES, RecordingState, sources_of

S = RecordingState
FILE = StoredFile(new_file_id(), 5)

Verb = Callable[[AsyncConnection, RecordingId], Awaitable[None]]
# Each public move: its target, and the states in which a caller may ask for it.
VERBS: dict[str, tuple[S, set[S], Verb]] = {
    "keep_source": (S.QUEUED, {S.CREATED}, lambda c, r: recordings.keep_source(c, r, FILE)),
    "requeue": (S.QUEUED, {S.FAILED}, recordings.requeue),
    "start_processing": (S.PROCESSING, {S.QUEUED, S.PROCESSING}, recordings.start_processing),
    "publish": (
        S.PUBLISHED,
        {S.PROCESSING},
        lambda c, r: recordings.publish(c, r, manifest=FILE, summary=b"sealed", now=NOW),
    ),
    "fail": (S.FAILED, {S.PROCESSING}, lambda c, r: recordings.fail(c, r, code="x", detail="y")),
    "mark_deleted": (S.DELETED, set(S) - {S.DELETED}, recordings.mark_deleted),
}


def test_the_table_is_the_one_that_was_decided() -> None:
    """Written down a second time: a move that is added must be meant."""
    assert {(source.value, target.value) for source, targets in MOVES.items() for target in targets} == {
        ("created", "queued"),
        ("queued", "processing"),
        ("processing", "processing"),
        ("processing", "queued"),
        ("processing", "published"),
        ("processing", "failed"),
        ("failed", "queued"),
        *((state.value, "deleted") for state in set(S) - {S.DELETED}),
    }


def test_the_table_names_every_state_and_deleted_is_the_end() -> None:
    assert MOVES.keys() == set(S)
    assert MOVES[S.DELETED] == frozenset()
    assert all(S.DELETED in targets for state, targets in MOVES.items() if state is not S.DELETED)
    assert sources_of(S.CREATED) == ()
    assert set(sources_of(S.PUBLISHED)) == {"processing"}


@pytest.mark.parametrize("source", S, ids=lambda state: state.value)
async def test_the_database_follows_the_table(catalog: Database, source: S) -> None:
    for target in S:
        recording_id = await add_recording(catalog, source)
        allowed = target in MOVES[source]
        async with catalog.writing() as connection:
            if allowed:
                await recordings._move(connection, recording_id, target)
            else:
                with pytest.raises(WrongState):
                    await recordings._move(connection, recording_id, target)
            assert await state_of(connection, recording_id) is (target if allowed else source)


@pytest.mark.parametrize("name", VERBS)
async def test_each_verb_makes_its_moves_alone(catalog: Database, name: str) -> None:
    target, sources, verb = VERBS[name]
    for source in S:
        recording_id = await add_recording(catalog, source)
        async with catalog.writing() as connection:
            if source in sources:
                assert target in MOVES[source]
                await verb(connection, recording_id)
            else:
                with pytest.raises(WrongState):
                    await verb(connection, recording_id)
            assert await state_of(connection, recording_id) is (target if source in sources else source)


@pytest.mark.parametrize(
    "name", [name for name, (target, sources, _) in VERBS.items() if target not in sources]
)
async def test_of_two_at_once_one_is_told_that_it_came_second(catalog: Database, name: str) -> None:
    _, sources, verb = VERBS[name]
    for source in sources:
        recording_id = await add_recording(catalog, source)

        async def attempt(recording_id: RecordingId = recording_id) -> bool:
            async with catalog.writing() as connection:
                try:
                    await verb(connection, recording_id)
                except WrongState:
                    return False
                return True

        assert sorted(await asyncio.gather(attempt(), attempt())) == [False, True]


async def test_a_whole_life_is_written_down(catalog: Database) -> None:
    recording_id = await add_recording(catalog)
    source, manifest = StoredFile(new_file_id(), 1 << 40), StoredFile(new_file_id(), 7)
    async with catalog.writing() as connection:
        await recordings.keep_source(connection, recording_id, source)
        await recordings.start_processing(connection, recording_id)
        await recordings.fail(connection, recording_id, code="NO_VIDEO", detail="There is nothing to see.")
        failed = await recordings.by_id(connection, recording_id)
        await recordings.requeue(connection, recording_id)
        again = await recordings.by_id(connection, recording_id)
        await recordings.start_processing(connection, recording_id)
        await recordings.publish(connection, recording_id, manifest=manifest, summary=b"sealed", now=NOW)
        published = await recordings.by_id(connection, recording_id)
    assert (failed.failure, failed.failure_detail, failed.source) == (
        "NO_VIDEO",
        "There is nothing to see.",
        source,
    )
    assert (again.failure, again.failure_detail) == (None, None)
    assert (published.manifest, published.summary, published.published_at) == (manifest, b"sealed", NOW)
    async with catalog.writing() as connection:
        await recordings.mark_deleted(connection, recording_id)
    async with catalog.reading() as connection:
        with pytest.raises(UnknownRecording):
            await recordings.by_id(connection, recording_id)
        with pytest.raises(UnknownRecording):
            await recordings.by_id(connection, new_recording_id())


class TestConsultations:
    """A consultation has one patient for ever."""

    C1 = parse_consultation("consultation-1")

    async def test_it_binds_once(self, catalog: Database) -> None:
        async with catalog.writing() as connection:
            for _ in range(2):
                await recordings.bind_consultation(connection, TENANT, self.C1, PATIENT)
            with pytest.raises(ConsultationTaken):
                await recordings.bind_consultation(connection, TENANT, self.C1, OTHER)
            # Another tenant's consultation of the same name is another one; the transaction goes on.
            await recordings.bind_consultation(connection, parse_tenant("other"), self.C1, OTHER)

    async def test_of_two_patients_at_once_one_gets_it(self, catalog: Database) -> None:
        async def attempt(number: int) -> bool:
            try:
                async with catalog.writing() as connection:
                    patient = PATIENT if number % 2 else OTHER
                    await recordings.bind_consultation(connection, TENANT, self.C1, patient)
            except ConsultationTaken:
                return False
            return True

        assert sorted(await asyncio.gather(*(attempt(n) for n in range(8)))) == [False] * 4 + [True] * 4


class TestIdempotency:
    """The same key of one tenant makes one recording."""

    async def test_the_second_is_told_and_finds_the_first(self, catalog: Database) -> None:
        first = await add_recording(catalog, idempotency=b"k" * 32)
        async with catalog.writing() as connection:
            with pytest.raises(IdempotencyReused):
                await recordings.create(connection, new_recording(idempotency=b"k" * 32))
            found = await recordings.by_idempotency(connection, TENANT, b"k" * 32)
            assert found is not None
            assert found.recording_id == first
            assert await recordings.by_idempotency(connection, parse_tenant("other"), b"k" * 32) is None
            assert await recordings.by_idempotency(connection, TENANT, b"j" * 32) is None

    async def test_another_tenant_may_use_the_same(self, catalog: Database) -> None:
        await add_recording(catalog, idempotency=b"k" * 32)
        await add_recording(catalog, idempotency=b"k" * 32, tenant=parse_tenant("other"))

    async def test_without_one_there_is_no_limit(self, catalog: Database) -> None:
        assert len({await add_recording(catalog) for _ in range(3)}) == 3

    async def test_of_a_crowd_one_makes_it(self, catalog: Database) -> None:
        async def attempt() -> bool:
            try:
                await add_recording(catalog, idempotency=b"k" * 32)
            except IdempotencyReused:
                return False
            return True

        assert sum(await asyncio.gather(*(attempt() for _ in range(8)))) == 1


class TestEpochs:
    """Raising an epoch ends the sessions of one patient, or of a tenant."""

    async def test_a_crowd_gets_one_row(self, catalog: Database) -> None:
        async def attempt() -> int:
            async with catalog.writing() as connection:
                return await recordings.ensure_patient(connection, TENANT, PATIENT, now=NOW)

        assert await asyncio.gather(*(attempt() for _ in range(8))) == [1] * 8

    async def test_it_is_raised_for_one_or_for_all(self, catalog: Database) -> None:
        other = parse_tenant("other")
        places = [(TENANT, PATIENT), (TENANT, OTHER), (other, PATIENT)]
        async with catalog.writing() as connection:
            for place in places:
                await recordings.ensure_patient(connection, *place, now=NOW)
            await recordings.raise_epoch(connection, TENANT, PATIENT)
            assert [await recordings.patient_epoch(connection, *place) for place in places] == [2, 1, 1]
            await recordings.raise_epoch(connection, TENANT, None)
            assert [await recordings.patient_epoch(connection, *place) for place in places] == [3, 2, 1]
            assert await recordings.ensure_patient(connection, TENANT, PATIENT, now=NOW) == 3
