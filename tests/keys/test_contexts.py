"""Contexts say one thing each: no two different places encode alike, and no label has two uses."""

from __future__ import annotations

import itertools
import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keys import contexts
from keys.errors import Malformed
from keys.ids import Generation, KeyId, PatientRef, RecordingId, TenantId

# Short texts of few characters, so that hypothesis finds fields that run into each other; zeros as in LP's lengths.
texts = st.one_of(st.text("ab\x00\x01", max_size=4), st.text(max_size=8))
generations = st.one_of(st.integers(0, 3), st.integers(0, 0xFFFF_FFFF))
ids = st.one_of(st.uuids(), st.sampled_from([uuid.UUID(int=n) for n in (0, 1, 256)]))
prefixes = st.one_of(st.just(bytes(72)), st.binary(min_size=72, max_size=72))

FILE = st.tuples(st.just("file"), prefixes, texts, texts, texts)
RECORDING = st.tuples(st.just("recording"), texts, texts, ids, generations, ids, ids)
PATIENT = st.tuples(st.just("patient"), texts, texts, ids, generations)
MASTER = st.tuples(st.just("master"), texts, generations)
DATA = st.tuples(st.sampled_from(["metadata", "summary"]), texts, texts, ids, ids)
PLACES = st.one_of(FILE, RECORDING, PATIENT, MASTER, DATA)


def encode(place: tuple[Any, ...]) -> bytes:
    """The context of a place, by its kind."""
    match place:
        case ("file", prefix, tenant, patient, role):
            return contexts.file_context(
                header_prefix=prefix, tenant=TenantId(tenant), patient=PatientRef(patient), role=role
            )
        case ("recording", tenant, patient, key_id, generation, recording_id, recording_key_id):
            return contexts.recording_key_context(
                tenant=TenantId(tenant),
                patient=PatientRef(patient),
                patient_key_id=KeyId(key_id),
                generation=Generation(generation),
                recording_id=RecordingId(recording_id),
                recording_key_id=KeyId(recording_key_id),
            )
        case ("patient", tenant, patient, key_id, generation):
            return contexts.patient_key_context(
                tenant=TenantId(tenant),
                patient=PatientRef(patient),
                key_id=KeyId(key_id),
                generation=Generation(generation),
            )
        case ("master", name, version):
            return contexts.master_key_context(name=name, version=version)
        case (kind, tenant, patient, recording_id, key_id):
            return contexts.recording_data_context(
                {"metadata": contexts.METADATA, "summary": contexts.SUMMARY}[kind],
                tenant=TenantId(tenant),
                patient=PatientRef(patient),
                recording_id=RecordingId(recording_id),
                recording_key_id=KeyId(key_id),
            )
    raise AssertionError(place)


@given(one=PLACES, other=PLACES)
def test_different_places_never_encode_alike(one: tuple[Any, ...], other: tuple[Any, ...]) -> None:
    assert (encode(one) == encode(other)) == (one == other)


@given(data=st.data(), place=PLACES)
def test_neighbours_never_encode_alike(data: st.DataObject, place: tuple[Any, ...]) -> None:
    """A character moved from one text field to the next, the mistake that a plain concatenation makes."""
    at = [index for index, value in enumerate(place) if index > 0 and isinstance(value, str)]
    pairs = [(a, b) for a, b in itertools.pairwise(at) if place[a]]
    if not pairs:
        return
    first, second = data.draw(st.sampled_from(pairs))
    moved = list(place)
    moved[second] = place[first][-1] + place[second]
    moved[first] = place[first][:-1]
    assert encode(tuple(moved)) != encode(place)


LABELS = {
    name: value
    for name, value in vars(contexts).items()
    if name.isupper() and not name.startswith("_") and isinstance(value, bytes | str)
}


def test_labels_and_personalisations_stand_once_and_end_in_a_version() -> None:
    persons = {name: value for name, value in LABELS.items() if name.startswith("PERSON_")}
    labels = {
        name: value if isinstance(value, bytes) else value.encode()
        for name, value in LABELS.items()
        if name not in persons
    }
    assert len(persons) == 14
    assert len(labels) == 8
    assert len(set(persons.values()) | set(labels.values())) == 22
    assert all(
        len(each) == 16 and each.endswith(b"1") for each in persons.values() if isinstance(each, bytes)
    )
    assert all(each.endswith(b"/v1") and b"\0" not in each for each in labels.values())
    # No label begins another, so that the zero byte after it is not the only thing that ends it.
    assert not [(a, b) for a in labels.values() for b in labels.values() if a != b and a.startswith(b)]


def test_a_text_beyond_two_length_bytes_is_refused() -> None:
    assert contexts.lp("x" * 0xFFFF) == b"\xff\xff" + b"x" * 0xFFFF
    with pytest.raises(Malformed):
        contexts.lp("x" * 0x10000)
    with pytest.raises(Malformed):
        contexts.lp("ä" * 0x8000)


@pytest.mark.parametrize("number", [-1, 1 << 32])
def test_a_generation_has_four_bytes(number: int) -> None:
    with pytest.raises(Malformed):
        contexts.master_key_context(name="local", version=number)


@pytest.mark.parametrize("size", [0, 71, 73, 128])
def test_a_file_context_takes_exactly_the_prefix(size: int) -> None:
    with pytest.raises(Malformed):
        contexts.file_context(
            header_prefix=bytes(size), tenant=TenantId("t"), patient=PatientRef("p"), role="original"
        )
