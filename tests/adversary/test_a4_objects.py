"""A4: one object put in another's place, and older valid objects put back. A mismatch or damage, and nothing else."""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest

from tests.adversary.conftest import Scene
from tests.adversary.press import Pressed, with_file
from vault.objects.store import ObjectName

A, B = "Alderwick-71c0e2", "Bramblehurst-5d9f3a"
MEDIA = ("360p.mp4", "audio.mp4", "poster.jpg", "replay.head", "thumbs-001.jpg", "captions-en.vtt")


@dataclass(frozen=True, slots=True)
class Case:
    """A's recording as it was made first, then again in another shape, then once more; and B's of that shape."""

    scene: Scene
    first: Pressed
    old: Pressed
    new: Pressed
    theirs: Pressed


@dataclass(frozen=True, slots=True)
class Row:
    """What is put where, what is asked for, and what comes back."""

    name: str
    tamper: Callable[[Case], Awaitable[None]]
    asked: tuple[str, ...]
    status: int
    reason: str


Name = Callable[[Case], ObjectName]


def role_of_b(role: str) -> Name:
    return lambda case: case.theirs.name(role)


def role_of_a(role: str) -> Name:
    return lambda case: case.new.name(role)


def copy(source: Name, target: Name) -> Callable[[Case], Awaitable[None]]:
    async def tamper(case: Case) -> None:
        await case.scene.objects.write(target(case), await case.scene.objects.read(source(case)))

    return tamper


async def all_objects_of_b_copied(case: Case) -> None:
    await copy(lambda c: c.theirs.manifest_name, lambda c: c.new.manifest_name)(case)
    for role in MEDIA:
        await copy(role_of_b(role), role_of_a(role))(case)


async def pin_rolled_back(case: Case) -> None:
    await case.scene.rows.change(case.new.recording_id, manifest_file_id=case.first.pinned.file_id)


async def pin_rolled_back_and_old_objects_gone(case: Case) -> None:
    pin = case.old.pinned
    await case.scene.rows.change(
        case.new.recording_id, manifest_file_id=pin.file_id, manifest_size_bytes=pin.size_bytes
    )
    await case.scene.press.store.delete([case.old.name("360p.mp4"), case.old.manifest_name])


async def pin_of_b(case: Case) -> None:
    pin = case.theirs.pinned
    await case.scene.rows.change(
        case.new.recording_id, manifest_file_id=pin.file_id, manifest_size_bytes=pin.size_bytes
    )
    there = ObjectName(case.new.recording_id, pin.file_id)
    await case.scene.objects.write(there, await case.scene.objects.read(case.theirs.manifest_name))


ASKED = ("360p.mp4", "poster.jpg", "replay.mp4", "master.m3u8")
ROWS = (
    *(
        Row(
            f"b-{role}-over-a",
            copy(role_of_b(role), role_of_a(role)),
            ("replay.mp4" if role == "replay.head" else role,),
            502,
            "DAMAGED",
        )
        for role in MEDIA
    ),
    Row(
        "a-poster-over-a-360p",
        copy(lambda c: c.new.name("poster.jpg"), lambda c: c.new.name("360p.mp4")),
        ("360p.mp4",),
        502,
        "DAMAGED",
    ),
    Row(
        "b-manifest-over-a",
        copy(lambda c: c.theirs.manifest_name, lambda c: c.new.manifest_name),
        ASKED,
        404,
        "KEY_MISMATCH",
    ),
    Row("everything-of-b-over-a", all_objects_of_b_copied, ASKED, 404, "KEY_MISMATCH"),
    Row("b-manifest-pinned-and-copied", pin_of_b, ASKED, 404, "KEY_MISMATCH"),
    Row(
        "first-manifest-over-newest",
        copy(lambda c: c.first.manifest_name, lambda c: c.new.manifest_name),
        ASKED,
        502,
        "DAMAGED",
    ),
    Row(
        "older-manifest-of-the-same-size-over-newest",
        copy(lambda c: c.old.manifest_name, lambda c: c.new.manifest_name),
        ASKED,
        404,
        "KEY_MISMATCH",
    ),
    Row(
        "older-360p-over-newer",
        copy(lambda c: c.old.name("360p.mp4"), lambda c: c.new.name("360p.mp4")),
        ("360p.mp4",),
        502,
        "DAMAGED",
    ),
    Row("pin-rolled-back-without-its-size", pin_rolled_back, ASKED, 502, "DAMAGED"),
    Row("pin-rolled-back-to-what-is-gone", pin_rolled_back_and_old_objects_gone, ASKED, 502, "DAMAGED"),
)


NEWER = "newer-than-the-first"


async def made_again(scene: Scene, first: Pressed) -> Pressed:
    """The recording with another 360p.mp4 of the same size; the old objects were never removed."""
    entry = first.manifest.file("360p.mp4")
    assert entry is not None
    fresh = await scene.press.file(first.access, "360p.mp4", size_bytes=entry.plain_size_bytes, mark=NEWER)
    manifest = dataclasses.replace(with_file(first.manifest, fresh), thumbs=None)
    pinned = await scene.press.manifest(first.access, manifest)
    await scene.rows.change(
        first.recording_id, manifest_file_id=pinned.file_id, manifest_size_bytes=pinned.size_bytes
    )
    return dataclasses.replace(first, manifest=manifest, pinned=pinned)


async def of_b(scene: Scene) -> Pressed:
    """A recording of B, of the newest shape; no row changes it."""
    (theirs,) = await scene.press.many(scene.clinic, "patient-b", count=1, stem=B)
    return await made_again(scene, theirs)


async def new_case(scene: Scene, theirs: Pressed) -> Case:
    (first,) = await scene.press.many(scene.clinic, "patient-a", count=1, stem=A)
    old = await made_again(scene, first)
    return Case(scene, first, old, await made_again(scene, old), theirs)


async def test_a4_an_object_in_anothers_place(scene: Scene, subtests: pytest.Subtests) -> None:
    theirs = await of_b(scene)
    for row in ROWS:
        case = await new_case(scene, theirs)
        await row.tamper(case)
        with subtests.test(row.name):
            for name in row.asked:
                answer = await scene.evidence.ask(scene.a, "GET", f"{case.new.url}/{name}")
                assert answer.status == row.status, (name, answer.body[:200])
                assert "ETag" not in answer.headers
            told = await scene.evidence.audited(
                decision="deny", reason=row.reason, recording=str(case.new.recording_id)
            )
            assert len(told) == len(row.asked)
    assert scene.world.metric("replayvault_key_mismatch_total") == sum(
        len(row.asked) for row in ROWS if row.reason == "KEY_MISMATCH"
    )
    scene.evidence.answers_say_nothing_of(A[:12], NEWER, B[:12])
    await scene.evidence.says_nothing_of(B, A)


async def test_a4_untouched_it_plays_and_is_the_newer_one(scene: Scene) -> None:
    case = await new_case(scene, await of_b(scene))
    answer = await scene.a.get(f"{case.new.url}/360p.mp4")
    assert answer.status == 200
    assert answer.body.startswith(NEWER.encode()[:20])
    assert (await scene.a.get(f"{case.new.url}/poster.jpg")).body == case.new.plain("poster.jpg")
