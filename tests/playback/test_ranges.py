"""Range and precondition decisions: a table that reads as English, and an obvious model beside the real parser."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vault.playback.ranges import (
    Asked,
    NotModified,
    Partial,
    PreconditionFailed,
    Selection,
    Unsatisfiable,
    Whole,
    decide,
    parse_range,
    strong_etag,
)

TAG = strong_etag("6b1f")
NOTHING = Unsatisfiable()
ALL = Whole()

# Of a representation of 100 bytes.
TABLE: list[tuple[str, str | None, Selection]] = [
    ("no Range header", None, ALL),
    ("the two bytes that Safari probes with", "bytes=0-1", Partial(0, 1)),
    ("from the start, as Chromium asks for playlists", "bytes=0-", Partial(0, 99)),
    ("from the middle to the end", "bytes=40-", Partial(40, 99)),
    ("the first byte", "bytes=0-0", Partial(0, 0)),
    ("the last byte", "bytes=99-99", Partial(99, 99)),
    ("to past the end", "bytes=90-500", Partial(90, 99)),
    ("to 2**64", "bytes=90-18446744073709551616", Partial(90, 99)),
    ("from the end on", "bytes=100-", NOTHING),
    ("from past the end", "bytes=500-600", NOTHING),
    ("from 2**64", "bytes=18446744073709551616-", NOTHING),
    ("the last ten bytes", "bytes=-10", Partial(90, 99)),
    ("a suffix of everything", "bytes=-100", Partial(0, 99)),
    ("a suffix of more than everything", "bytes=-1000", Partial(0, 99)),
    ("a suffix of nothing", "bytes=-0", NOTHING),
    ("leading zeros", "bytes=0010-0019", Partial(10, 19)),
    ("the unit in capitals (14.1: case-insensitive)", "Bytes=0-9", Partial(0, 9)),
    ("white space around it", " \tbytes=0-9 ", Partial(0, 9)),
    ("white space inside it", "bytes=0 - 9", ALL),
    ("white space before the equals sign", "bytes =0-9", ALL),
    ("backwards", "bytes=9-0", ALL),
    ("backwards and past the end", "bytes=900-800", ALL),
    ("no positions", "bytes=-", ALL),
    ("no range", "bytes=", ALL),
    ("no unit", "0-9", ALL),
    ("an empty header", "", ALL),
    ("another unit", "seconds=0-9", ALL),
    ("a unit that starts like ours", "bytesish=0-9", ALL),
    ("two ranges", "bytes=0-1,5-6", ALL),
    ("two overlapping ranges", "bytes=0-50,40-60", ALL),
    ("a list of one and nothing", "bytes=0-1,", ALL),
    ("a sign", "bytes=+1-2", ALL),
    ("two minus signs", "bytes=--5", ALL),
    ("hexadecimal", "bytes=0x0-0x9", ALL),
    ("an underscore, which int() would take", "bytes=1_0-20", ALL),
    ("digits of another script, which int() would take", "bytes=\u0660-\u0669", ALL),
    ("a line break at the end, which `$` would take", "bytes=0-9\n", ALL),
    ("a number of 5000 digits, which int() refuses", "bytes=0-" + "9" * 5000, ALL),
    ("10 000 ranges", "bytes=" + ",".join(f"{each}-{each}" for each in range(10_000)), ALL),
]


@pytest.mark.parametrize(("header", "expected"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_the_table(header: str | None, expected: Selection) -> None:
    assert parse_range(header, size_bytes=100) == expected


@pytest.mark.parametrize(
    ("header", "expected"),
    [("bytes=0-0", NOTHING), ("bytes=0-", NOTHING), ("bytes=-0", NOTHING), ("bytes=-1", ALL), (None, ALL)],
)
def test_of_an_empty_representation(header: str | None, expected: Selection) -> None:
    assert parse_range(header, size_bytes=0) == expected


@pytest.mark.parametrize(
    ("if_range", "honoured"),
    [
        (TAG, True),
        (f" {TAG} ", True),
        (f"W/{TAG}", False),
        ('"other"', False),
        ("6b1f", False),
        (f'{TAG}, "other"', False),
        ("*", False),
        ("", False),
        ("Sat, 29 Oct 1994 19:43:31 GMT", False),
    ],
)
def test_if_range_compares_strongly(*, if_range: str, honoured: bool) -> None:
    expected = Partial(0, 9) if honoured else ALL
    assert parse_range("bytes=0-9", size_bytes=100, if_range=if_range, etag=TAG) == expected


def test_if_range_that_does_not_hold_hides_an_unsatisfiable_range_too() -> None:
    assert parse_range("bytes=500-", size_bytes=100, if_range='"old"', etag=TAG) == ALL


def test_the_headers_that_go_with_it() -> None:
    assert Partial(10, 19).content_range(size_bytes=100) == "bytes 10-19/100"
    assert Partial(10, 19).size_bytes == 10
    assert NOTHING.content_range(size_bytes=100) == "bytes */100"


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (Asked(range="bytes=0-9"), Partial(0, 9)),
        (Asked(method="HEAD", range="bytes=0-9"), ALL),
        (Asked(method="HEAD", range="bytes=900-"), ALL),
        (Asked(if_none_match=TAG), NotModified()),
        (Asked(method="HEAD", if_none_match=TAG), NotModified()),
        (Asked(if_none_match=f"W/{TAG}"), NotModified()),
        (Asked(if_none_match="*"), NotModified()),
        (Asked(if_none_match=f'"a", {TAG} ,"b"'), NotModified()),
        (Asked(if_none_match=f",, {TAG},"), NotModified()),
        (Asked(if_none_match='"a", "b"'), ALL),
        (Asked(if_none_match=f'"a" {TAG}'), ALL),
        (Asked(if_none_match="6b1f"), ALL),
        (Asked(if_none_match=""), ALL),
        (Asked(if_none_match=TAG, range="bytes=0-9"), NotModified()),
        (Asked(if_match=TAG, range="bytes=0-9"), Partial(0, 9)),
        (Asked(if_match="*"), ALL),
        (Asked(if_match=f"W/{TAG}"), PreconditionFailed()),
        (Asked(if_match='"a"', if_none_match=TAG), PreconditionFailed()),
        (Asked(if_match="rubbish"), PreconditionFailed()),
        (Asked(if_match=f"{TAG} rubbish"), PreconditionFailed()),
        (Asked(if_range='"a"', range="bytes=0-9"), ALL),
    ],
)
def test_preconditions_in_the_order_of_the_rfc(asked: Asked, expected: object) -> None:
    assert decide(asked, size_bytes=100, etag=TAG) == expected


def by_marking_bytes(*, first: int | None, last: int | None, size_bytes: int) -> set[int]:
    """The slow and obvious model: ask every byte whether it was meant."""
    if first is None:
        assert last is not None
        return {each for each in range(size_bytes) if each >= size_bytes - last}
    return {each for each in range(size_bytes) if each >= first and (last is None or each <= last)}


POSITION = st.integers(min_value=0, max_value=300) | st.integers(min_value=2**31, max_value=2**65)


@given(first=st.none() | POSITION, last=st.none() | POSITION, size_bytes=st.integers(0, 256))
def test_it_selects_what_the_model_selects(first: int | None, last: int | None, size_bytes: int) -> None:
    header = f"bytes={'' if first is None else first}-{'' if last is None else last}"
    selected = parse_range(header, size_bytes=size_bytes)
    if (first is None and last is None) or (first is not None and last is not None and last < first):
        assert selected == ALL
        return
    meant = by_marking_bytes(first=first, last=last, size_bytes=size_bytes)
    if isinstance(selected, Partial):
        assert set(range(selected.first, selected.last + 1)) == meant
        assert len(meant) == selected.size_bytes
    elif isinstance(selected, Unsatisfiable):
        assert not meant
    else:
        assert (first, size_bytes) == (None, 0)
        assert last


@given(
    header=st.text() | st.text(alphabet="bytes=-,0123456789 \t*" + string.ascii_letters, max_size=80),
    size_bytes=st.integers(0, 2**63),
)
def test_any_text_has_an_answer_inside_the_representation(header: str, size_bytes: int) -> None:
    selected = parse_range(header, size_bytes=size_bytes)
    if isinstance(selected, Partial):
        assert 0 <= selected.first <= selected.last < size_bytes


@given(header=st.text() | st.text(alphabet='W/"*, \tab', max_size=60))
def test_any_tag_list_has_an_answer(header: str) -> None:
    asked = Asked(if_match=header, if_none_match=header, if_range=header, range="bytes=0-0")
    assert decide(asked, size_bytes=1, etag=TAG) is not None
