"""Each kind of wrong is planted, and found: in both kinds of store, and on both engines."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable

import pytest

from keys.database import Database
from keys.ids import FileId, new_recording_id, parse_tenant
from tests.survey.shelf import SIZE, Shelf, stranger
from vault.catalog.drafts import CONDEMNED, DRAFT
from vault.catalog.tables import objects, recordings
from vault.objects.store import ObjectName, ObjectStore
from vault.survey import orphans, sample
from vault.survey.findings import NAMED, Fault, Findings
from vault.survey.orphans import Walk
from vault.survey.sample import Sampler

Plant = Callable[[Shelf, list[ObjectName]], Awaitable[ObjectName]]


@pytest.fixture
def shelf(catalog: Database, store: ObjectStore) -> Shelf:
    """Empty."""
    return Shelf(catalog, store)


@pytest.fixture
def plain_shelf(catalog: Database, folder_store: ObjectStore) -> Shelf:
    """Empty, for what does not depend on the kind of store."""
    return Shelf(catalog, folder_store)


async def missing(shelf: Shelf, names: list[ObjectName]) -> ObjectName:
    await shelf.store.delete([names[2]])
    return names[2]


async def not_kept(shelf: Shelf, names: list[ObjectName]) -> ObjectName:
    await shelf.change(names[1], objects, kept=CONDEMNED)
    return names[1]


async def no_header(shelf: Shelf, names: list[ObjectName]) -> ObjectName:
    await shelf.replace(names[2], b"RIFF" + bytes(400))
    return names[2]


async def too_short(shelf: Shelf, names: list[ObjectName]) -> ObjectName:
    await shelf.replace(names[2], b"\x89RVM")
    return names[2]


async def other_file(shelf: Shelf, names: list[ObjectName]) -> ObjectName:
    await shelf.replace(names[2], await shelf.read(names[1]))
    return names[2]


async def other_recording(shelf: Shelf, names: list[ObjectName]) -> ObjectName:
    another = await shelf.recording()
    await shelf.replace(names[2], await shelf.read(another[2]))
    return names[2]


async def other_key(shelf: Shelf, names: list[ObjectName]) -> ObjectName:
    data = bytearray(await shelf.read(names[2]))
    data[48:64] = uuid.uuid4().bytes
    await shelf.replace(names[2], bytes(data))
    return names[2]


async def other_size(shelf: Shelf, names: list[ObjectName]) -> ObjectName:
    await shelf.replace(names[0], (await shelf.read(names[0]))[:-1])
    return names[0]


PLANTS: dict[Plant, Fault] = {
    missing: Fault.MISSING,
    not_kept: Fault.NOT_KEPT,
    no_header: Fault.NO_HEADER,
    too_short: Fault.NO_HEADER,
    other_file: Fault.OTHER_FILE,
    other_recording: Fault.OTHER_RECORDING,
    other_key: Fault.OTHER_KEY,
    other_size: Fault.OTHER_SIZE,
}


async def test_a_sample_finds_each_kind_of_wrong(shelf: Shelf) -> None:
    await shelf.recording()
    well = await Sampler(shelf.catalog, shelf.store).look(10)
    assert (well.looked_at, well.wrong) == (3, 0)
    expected = {await plant(shelf, await shelf.recording()): fault for plant, fault in PLANTS.items()}
    found = await Sampler(shelf.catalog, shelf.store).look(1000)
    assert dict(found.names) == expected
    assert found.wrong == len(expected)
    assert found.looked_at == 3 * (len(PLANTS) + 2) - 1


async def test_a_sample_is_as_large_as_was_asked_for_and_meets_nobody_twice(
    plain_shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sample, "_PAGE", 2)
    other = parse_tenant("other")
    for number in range(7):
        await plain_shelf.recording(tenant=other if number == 0 else parse_tenant("clinic"))
    seen: list[int] = []
    for wanted, met in ((0, 0), (1, 1), (3, 3), (7, 7), (8, 7), (100, 7)):
        found = await Sampler(plain_shelf.catalog, plain_shelf.store, progress=seen.append).look(wanted)
        assert (found.looked_at, found.wrong) == (3 * met, 0)
    assert max(seen) == 7
    assert (await Sampler(plain_shelf.catalog, plain_shelf.store, other).look(9)).looked_at == 3
    lone = ObjectName((await plain_shelf.recording(tenant=other))[0].recording_id, FileId(uuid.uuid4()))
    await plain_shelf.row(lone)
    assert (await Sampler(plain_shelf.catalog, plain_shelf.store, parse_tenant("clinic")).look(9)).wrong == 0
    assert (await Sampler(plain_shelf.catalog, plain_shelf.store, other).look(9)).names == [
        (lone, Fault.MISSING)
    ]


async def test_what_changes_while_it_is_looked_at_is_no_finding(plain_shelf: Shelf) -> None:
    names = await plain_shelf.recording()
    deleted = await plain_shelf.recording()
    moved = await plain_shelf.recording()

    class Slow(Sampler):
        async def _still(
            self, suspects: list[tuple[sample.Expected, Fault]]
        ) -> list[tuple[sample.Expected, Fault]]:
            assert len(suspects) == 3
            await plain_shelf.change(names[2], objects, kept=CONDEMNED)
            await plain_shelf.change(deleted[0], recordings, state="deleted")
            await plain_shelf.change(moved[0], recordings, key_id=uuid.uuid4())
            return await Sampler._still(self, suspects)

    for name in (names[2], deleted[2], moved[2]):
        await plain_shelf.store.delete([name])
    assert (await Slow(plain_shelf.catalog, plain_shelf.store).look(10)).wrong == 0


async def test_a_walk_finds_orphans_both_ways(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orphans, "_PAGE", 2)
    monkeypatch.setattr(orphans, "_ASKED_AT_ONCE", 2)
    first, second = await shelf.recording(), await shelf.recording()
    seen: list[int] = []
    well = await Walk(shelf.catalog, shelf.store, seen.append).walk()
    assert (well.looked_at, well.wrong, seen) == (6, 0, [2, 4, 6])

    unknown = [stranger(first[0]), ObjectName(stranger(first[0]).recording_id, FileId(uuid.uuid4()))]
    foreign = ObjectName(new_recording_id(), FileId(uuid.uuid4()))
    for name in (*unknown, foreign):
        await shelf.put(name, b"x")
    drafts = [stranger(first[0]), stranger(second[0])]
    await shelf.row(drafts[0], kept=DRAFT)
    await shelf.row(drafts[1], kept=CONDEMNED)
    await shelf.put(drafts[1], bytes(SIZE))
    gone = [first[1], second[2]]
    await shelf.store.delete(gone)
    # An object that stands with another recording than its row says.
    misplaced = ObjectName(second[0].recording_id, first[2].file_id)
    await shelf.put(misplaced, await shelf.read(first[2]))
    await shelf.store.delete([first[2]])

    found = await Walk(shelf.catalog, shelf.store).walk()
    expected = dict.fromkeys([*unknown, foreign, misplaced], Fault.NO_ROW)
    assert dict(found.names) == {**expected, **dict.fromkeys([*gone, first[2]], Fault.MISSING)}
    assert found.wrong == len(found.names) == 7


async def test_a_walk_asks_once_more(plain_shelf: Shelf) -> None:
    """Objects that are written and deleted while it walks are no orphans."""
    names = await plain_shelf.recording()
    late, fleeting, restored = stranger(names[0]), stranger(names[0]), names[2]
    data = await plain_shelf.read(restored)
    for name in (late, fleeting):
        await plain_shelf.put(name, data)
    await plain_shelf.store.delete([restored])

    class Slow(Walk):
        async def _settle(self) -> None:
            assert len(self._suspects) == 3
            await plain_shelf.row(late)
            await plain_shelf.store.delete([fleeting])
            await plain_shelf.put(restored, data)
            await Walk._settle(self)

    assert (await Slow(plain_shelf.catalog, plain_shelf.store).walk()).wrong == 0


def test_names_are_bounded() -> None:
    findings, name = Findings(), ObjectName.parse(f"{uuid.uuid4()}/{uuid.uuid4()}")
    for _ in range(NAMED + 5):
        findings.add(name, Fault.MISSING)
    assert (findings.wrong, len(findings.document()["objects"])) == (NAMED + 5, NAMED)
