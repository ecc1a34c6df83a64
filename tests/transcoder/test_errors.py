"""What a caller may rely on of every error."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from transcoder.errors import TranscoderError


def leaves(error: type[TranscoderError] = TranscoderError) -> Iterator[type[TranscoderError]]:
    children = error.__subclasses__()
    if not children:
        yield error
    for child in children:
        yield from leaves(child)


@pytest.mark.parametrize("error", list(leaves()))
def test_every_leaf_has_a_code_and_a_sentence_to_act_on(error: type[TranscoderError]) -> None:
    assert re.fullmatch(r"[a-z]+(-[a-z]+)+", error.code)
    assert "code" in vars(error)
    assert re.fullmatch(r"[A-Zf][^\n]+\.", str(error()))
    assert ":" in str(error())  # the cause, then what to do


def test_codes_are_unique() -> None:
    codes = [error.code for error in leaves()]
    assert len(codes) == len(set(codes))
