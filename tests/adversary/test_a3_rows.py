"""A3: rows of the catalog tampered with, every check gone. What is not hers does not open, and the alarm rings."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from keys.opening import wrap_recording_key
from tests.adversary.conftest import Scene
from tests.adversary.evidence import assert_constant
from tests.adversary.press import Pressed

A, B = "Alderwick-71c0e2", "Bramblehurst-5d9f3a"


@dataclass(frozen=True, slots=True)
class Case:
    """A's recording and B's, and where everything stands."""

    scene: Scene
    mine: Pressed
    theirs: Pressed


async def row_of_b_given_to_a(case: Case) -> Pressed:
    await case.scene.rows.change(case.theirs.recording_id, patient="patient-a")
    return case.theirs


async def row_of_another_tenant_given_to_a(case: Case) -> Pressed:
    rival = await case.scene.world.backend("rival")
    foreign = await case.scene.press.publish(rival, "patient-a", tenant="rival", mark=B[:12], title=B)
    await case.scene.rows.change(foreign.recording_id, tenant="clinic")
    return foreign


async def wrap_of_b_put_on_as_recording(case: Case) -> Pressed:
    wrap = await case.scene.rows.wrap(case.theirs.recording_id)
    await case.scene.rows.put_wraps(case.mine.recording_id, wrap)
    return case.mine


async def wrap_of_a_put_on_bs_recording(case: Case) -> Pressed:
    wrap = await case.scene.rows.wrap(case.mine.recording_id)
    await case.scene.rows.put_wraps(case.theirs.recording_id, wrap)
    return case.theirs


async def wrap_and_key_id_of_a_put_on_bs_recording(case: Case) -> Pressed:
    await case.scene.rows.change(case.mine.recording_id, key_id=uuid.uuid4())
    await case.scene.rows.change(
        case.theirs.recording_id, key_id=case.mine.access.key_id, patient="patient-a"
    )
    return await wrap_of_a_put_on_bs_recording(case)


async def wrap_of_b_renamed_to_as_key(case: Case) -> Pressed:
    hers = await case.scene.rows.wrap(case.mine.recording_id)
    wrap = await case.scene.rows.wrap(case.theirs.recording_id)
    renamed = replace(wrap, patient_key_id=hers.patient_key_id, generation=hers.generation)
    await case.scene.rows.put_wraps(case.theirs.recording_id, renamed)
    return case.theirs


async def no_wrap_at_all(case: Case) -> Pressed:
    await case.scene.rows.put_wraps(case.theirs.recording_id)
    return case.theirs


async def key_of_as_own_wrapped_for_bs_row(case: Case) -> Pressed:
    """An insider with A's key wraps A's recording key for B's recording: the wrap opens, B's objects do not."""
    opened = await case.scene.press.strongroom.open(case.mine.access.tenant, case.mine.access.patient)
    forged = wrap_recording_key(
        case.mine.access.key,
        opened.active,
        tenant=opened.tenant,
        patient=opened.patient,
        recording_id=case.theirs.recording_id,
        recording_key_id=case.theirs.access.key_id,
    )
    await case.scene.rows.put_wraps(case.theirs.recording_id, forged)
    await case.scene.rows.change(case.theirs.recording_id, patient="patient-a")
    return case.theirs


async def sealed_details_of_b_put_on_as_row(case: Case) -> Pressed:
    row = await case.scene.rows.values(case.theirs.recording_id)
    await case.scene.rows.change(case.mine.recording_id, metadata=row["metadata"], summary=row["summary"])
    return case.mine


ROWS = (
    row_of_b_given_to_a,
    row_of_another_tenant_given_to_a,
    wrap_of_b_put_on_as_recording,
    wrap_of_a_put_on_bs_recording,
    wrap_and_key_id_of_a_put_on_bs_recording,
    wrap_of_b_renamed_to_as_key,
    no_wrap_at_all,
    key_of_as_own_wrapped_for_bs_row,
    sealed_details_of_b_put_on_as_row,
)


# Rows in which the key that opens is A's own: a ticket is made, and opens no more than A herself.
OPENS = (key_of_as_own_wrapped_for_bs_row, sealed_details_of_b_put_on_as_row)
# Rows in which A's own recording cannot be opened any more either.
SPOILT = (
    wrap_of_b_put_on_as_recording,
    wrap_and_key_id_of_a_put_on_bs_recording,
    sealed_details_of_b_put_on_as_row,
)


async def new_case(scene: Scene) -> Case:
    (mine,) = await scene.press.many(scene.clinic, "patient-a", count=1, stem=A)
    (theirs,) = await scene.press.many(scene.clinic, "patient-b", count=1, stem=B)
    return Case(scene, mine, theirs)


async def test_a3_a_row_that_lies_opens_nothing(
    scene: Scene, without_checks: Callable[[], None], subtests: pytest.Subtests
) -> None:
    without_checks()
    for row in ROWS:
        case = await new_case(scene)
        target = await row(case)
        await scene.world.close_breaker()  # the row before opened it
        with subtests.test(row.__name__):
            page = await scene.evidence.ask(scene.a, "GET", "/v1/recordings")
            shown = {entry["id"] for entry in page.json["recordings"]}
            assert (str(case.mine.recording_id) in shown) is (row not in SPOILT)
            assert str(case.theirs.recording_id) not in shown
            assert_constant(await scene.evidence.ask(scene.a, "GET", target.url), status=404)
            if row is not sealed_details_of_b_put_on_as_row:  # the media are still A's own
                for name in ("master.m3u8", "360p.mp4", "replay.mp4", "poster.jpg"):
                    assert_constant(
                        await scene.evidence.ask(scene.a, "GET", f"{target.url}/{name}"), status=404
                    )
            asked = {"json": {"recording": str(target.recording_id)}}
            ticket = await scene.evidence.ask(scene.a, "POST", "/v1/tickets", **asked)
            assert ticket.status == (201 if row in OPENS else 404)
            assert len(await scene.evidence.mismatches(recording=str(target.recording_id))) >= 2
    assert scene.world.metric("replayvault_key_mismatch_total") == len(await scene.evidence.mismatches())
    await scene.evidence.says_nothing_of(B, B[:12])


async def test_a3_a_backend_that_meets_a_row_that_lies_rings_the_alarm(
    scene: Scene, subtests: pytest.Subtests
) -> None:
    recording = (await new_case(scene)).theirs.recording_id
    url = f"/v1/recordings/{recording}"
    media = {"data": b"x", "headers": {"Content-Type": "video/webm"}}
    rows: tuple[tuple[str, str, str, dict[str, Any]], ...] = (
        ("published", "POST", "/v1/tickets", {"json": {"recording": str(recording), "purpose": "support"}}),
        ("created", "PUT", f"{url}/source", media),
        ("failed", "POST", f"{url}/retry", {}),
    )
    for count, (state, method, path, options) in enumerate(rows, start=1):
        await scene.rows.change(recording, patient="patient-a", state=state)
        with subtests.test(f"{method} {path}"):
            assert_constant(await scene.evidence.ask(scene.clinic, method, path, **options), status=404)
            assert len(await scene.evidence.mismatches(recording=str(recording))) == count
            assert scene.world.metric("replayvault_key_mismatch_total") == count
