"""The part of the day in which a job works."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vault.rotation.errors import MalformedHours
from vault.rotation.hours import Hours

NIGHT, DAY = Hours.parse("22:00-06:00"), Hours.parse("09:00-17:30")
MINUTE = dt.timedelta(minutes=1)
moments = st.datetimes(timezones=st.just(dt.UTC))
hours = st.builds(
    Hours,
    st.times().map(lambda each: each.replace(second=0, microsecond=0)),
    st.times().map(lambda each: each.replace(second=0, microsecond=0)),
)


@pytest.mark.parametrize(
    ("of", "at", "wait"),
    [
        (NIGHT, "21:59:59", dt.timedelta(seconds=1)),
        (NIGHT, "22:00:00", dt.timedelta()),
        (NIGHT, "00:00:00", dt.timedelta()),
        (NIGHT, "05:59:59", dt.timedelta()),
        (NIGHT, "06:00:00", dt.timedelta(hours=16)),
        (DAY, "08:00:00", dt.timedelta(hours=1)),
        (DAY, "17:29:59", dt.timedelta()),
        (DAY, "17:30:00", dt.timedelta(hours=15, minutes=30)),
        (Hours.parse("07:00-07:00"), "03:00:00", dt.timedelta()),
    ],
)
def test_how_long_it_waits(of: Hours, at: str, wait: dt.timedelta) -> None:
    assert of.wait(dt.datetime.fromisoformat(f"2026-03-01T{at}+00:00")) == wait


def test_another_zone_is_the_same_moment() -> None:
    assert NIGHT.wait(dt.datetime.fromisoformat("2026-03-01T23:30:00+02:00")) == dt.timedelta(minutes=30)


@given(of=hours, at=moments)
def test_after_its_wait_it_is_open(of: Hours, at: dt.datetime) -> None:
    wait = of.wait(at)
    assert dt.timedelta() <= wait < dt.timedelta(days=1)
    if at.year < 9999:
        assert of.wait(at + wait) == dt.timedelta()


@given(of=hours)
def test_its_text_is_read_back(of: Hours) -> None:
    assert Hours.parse(str(of)) == of


@pytest.mark.parametrize(
    "text", ["", "22-06", "22:00", "24:00-06:00", "22:60-06:00", "22:00-06:00 ", "٢٢:00-06:00"]
)
def test_another_text_is_refused(text: str) -> None:
    with pytest.raises(MalformedHours):
        Hours.parse(text)
