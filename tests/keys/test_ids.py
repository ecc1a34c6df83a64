"""Identifiers are parsed once, strictly."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from keys.errors import MalformedId
from keys.ids import (
    new_file_id,
    new_key_id,
    new_recording_id,
    parse_consultation,
    parse_patient,
    parse_recording_id,
    parse_tenant,
    parse_uuid,
)

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:~-"
PARSERS: list[Callable[[str], str]] = [parse_tenant, parse_patient, parse_consultation]


@pytest.mark.parametrize("parse", PARSERS)
@given(text=st.text(ALPHABET, min_size=1, max_size=128).filter(lambda text: text[0] not in "._:~-"))
def test_a_reference_stays_as_it_is(parse: Callable[[str], str], text: str) -> None:
    assert parse(text) == text


@pytest.mark.parametrize("parse", PARSERS)
@given(text=st.text(max_size=140))
@example("")
@example("a" * 129)
@example("a\n")
@example("a\x00")
@example("../etc/passwd")
@example("a/b")
@example("\u0663")
@example("\u017f")
@example("-a")
def test_nothing_else_is_a_reference(parse: Callable[[str], str], text: str) -> None:
    is_reference = 1 <= len(text) <= 128 and set(text) <= set(ALPHABET) and text[0] not in "._:~-"
    if is_reference:
        assert parse(text) == text
        return
    with pytest.raises(MalformedId) as refusal:
        parse(text)
    # No echo of what was sent: the sentence is the same for every text.
    assert str(refusal.value) == str(_refusal(parse))


def _refusal(parse: Callable[[str], str]) -> MalformedId:
    with pytest.raises(MalformedId) as refusal:
        parse("/")
    return refusal.value


@given(value=st.uuids())
def test_a_uuid_has_one_text(value: uuid.UUID) -> None:
    assert parse_uuid(str(value)) == value
    others = {str(value).upper(), value.hex, f"{{{value}}}", value.urn, f" {value}", f"{value}\n"}
    for text in others - {str(value)}:
        with pytest.raises(MalformedId):
            parse_recording_id(text)


@given(text=st.text(max_size=40))
def test_other_texts_are_no_uuid(text: str) -> None:
    if re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", text) is None:
        with pytest.raises(MalformedId):
            parse_uuid(text)


@pytest.mark.parametrize("new", [new_recording_id, new_file_id, new_key_id])
def test_new_ids_are_random_uuids(new: Callable[[], uuid.UUID]) -> None:
    found = {new() for _ in range(500)}
    assert len(found) == 500
    assert {each.version for each in found} == {4}
