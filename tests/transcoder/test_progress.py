"""The -progress stream: its two traps, any split, any noise."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transcoder.progress import Progress, ProgressParser

FIRST = b"frame=0\nout_time_us=N/A\nout_time_ms=N/A\nout_time=N/A\nspeed=N/A\nprogress=continue\n"
LATER = b"frame=110\nfps=107.5\nout_time_us=3066667\nout_time_ms=3066667\nspeed=   3x\nprogress=continue\n"
LAST = b"frame=360\nout_time_us=12010667\nspeed=2.19x\nprogress=end\n"


def test_a_run_reads_as_its_blocks() -> None:
    assert ProgressParser().feed(FIRST + LATER + LAST) == [
        Progress(out_time_s=None, frame=0, speed=None),
        Progress(out_time_s=3.066667, frame=110, speed=3.0),
        Progress(out_time_s=12.010667, frame=360, speed=2.19, ended=True),
    ]


def test_milliseconds_are_microseconds() -> None:
    assert ProgressParser().feed(b"out_time_ms=2000000\nprogress=continue\n")[0].out_time_s == 2.0


def test_a_start_before_zero_is_zero() -> None:
    assert ProgressParser().feed(b"out_time_us=-21333\nprogress=continue\n")[0].out_time_s == 0.0


@given(cuts=st.lists(st.integers(0, len(FIRST + LATER + LAST)), max_size=20))
def test_any_split_gives_the_same_blocks(cuts: list[int]) -> None:
    stream = FIRST + LATER + LAST
    edges = [0, *sorted(cuts), len(stream)]
    parser = ProgressParser()
    blocks = [block for start, end in pairwise(edges) for block in parser.feed(stream[start:end])]
    assert blocks == ProgressParser().feed(stream)


@given(st.lists(st.binary(max_size=3000), max_size=10))
def test_noise_costs_nothing(pieces: list[bytes]) -> None:
    parser = ProgressParser()
    for piece in pieces:
        parser.feed(piece)
    assert len(parser._pending) <= 1024
    assert parser.feed(b"\n" + LATER)[-1].frame == 110


@pytest.mark.parametrize(
    ("progress", "duration_s", "fraction"),
    [
        (Progress(out_time_s=3.0), 12.0, 0.25),
        (Progress(out_time_s=15.0), 12.0, 1.0),
        (Progress(out_time_s=None), 12.0, None),
        (Progress(out_time_s=3.0), None, None),
        (Progress(out_time_s=3.0), 0.0, None),
        (Progress(out_time_s=11.0, ended=True), 12.0, 1.0),
    ],
)
def test_fraction(progress: Progress, duration_s: float | None, fraction: float | None) -> None:
    assert progress.fraction_of(duration_s) == fraction
