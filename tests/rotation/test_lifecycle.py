"""The order of a rotation: 2 000 interleavings open every recording, and any other order fails some."""

from __future__ import annotations

import dataclasses
import itertools
import random
from collections.abc import Callable

import pytest

from keys.lifecycle import CARRIED, MOVES, KeyState, Standing, Step, next_step, sources_of
from tests.rotation.simulation import Decide, Simulation

RUNS, MOVES_A_RUN = 2000, 150


def simulated(decide: Decide, *, holds: bool = True, runs: int = RUNS) -> tuple[int, int, int]:
    """Opens, failed opens and finished rotations of many interleavings, the same ones each time."""
    worlds = [Simulation(random.Random(seed), decide=decide, holds=holds) for seed in range(runs)]  # noqa: S311
    for world in worlds:
        world.run(moves=MOVES_A_RUN)
    return (
        sum(world.opens for world in worlds),
        sum(world.failed_opens for world in worlds),
        sum(world.rotations for world in worlds),
    )


def test_no_interleaving_fails_to_open() -> None:
    opens, failed, rotations = simulated(next_step)
    assert failed == 0
    assert opens > 20_000
    assert rotations > 1_000


def _nobody_waits(standing: Standing) -> Step:
    return next_step(dataclasses.replace(standing, has_old_sessions=False))


def _drains_at_once(standing: Standing) -> Step:
    return next_step(dataclasses.replace(standing, has_old_wraps=False))


def _moves_first(standing: Standing) -> Step:
    """Rewraps as soon as there is a new key, and waits for the sessions afterwards."""
    if KeyState.PREPARED in standing.states:
        return Step.ACTIVATE
    if KeyState.DEACTIVATED in standing.states and standing.has_old_wraps:
        return Step.MOVE
    if KeyState.DEACTIVATED in standing.states:
        return Step.WAIT if standing.has_old_sessions else Step.DRAIN
    return next_step(standing)


@pytest.mark.parametrize(
    "decide",
    [
        pytest.param(_moves_first, id="wraps before sessions"),
        pytest.param(_nobody_waits, id="nobody waited for"),
        pytest.param(_drains_at_once, id="drained before it is empty"),
    ],
)
def test_another_order_fails(decide: Decide) -> None:
    _, failed, rotations = simulated(decide, runs=200)
    assert failed > 20
    assert rotations > 0


def test_without_the_hold_an_interleaving_fails() -> None:
    _, failed, _ = simulated(next_step, holds=False, runs=200)
    assert failed > 0


def test_the_moves_are_one_line_without_a_way_back() -> None:
    line = [KeyState.PREPARED, KeyState.ACTIVE, KeyState.DEACTIVATED, KeyState.DRAINING, KeyState.RETIRED]
    assert dict(itertools.pairwise(line)) == {state: next(iter(to)) for state, to in MOVES.items() if to}
    assert [sources_of(state) for state in line] == [(), *((state.value,) for state in line[:-1])]
    assert set(line[:3]) == CARRIED


def _standings() -> list[Standing]:
    return [
        Standing(states=set(states), is_due=due, has_old_sessions=sessions, has_old_wraps=wraps)
        for size in range(1, 4)
        for states in itertools.combinations(KeyState, size)
        for due, sessions, wraps in itertools.product((False, True), repeat=3)
    ]


@pytest.mark.parametrize(
    ("claim", "holds"),
    [
        (
            "no second generation is prepared beside one",
            lambda s, step: step is Step.PREPARE and KeyState.PREPARED in s.states,
        ),
        (
            "nothing is activated while a session lacks it",
            lambda s, step: step is Step.ACTIVATE and s.has_old_sessions,
        ),
        ("nothing is drained that seals something", lambda s, step: step is Step.DRAIN and s.has_old_wraps),
        (
            "what was begun is finished before anything new",
            lambda s, step: step is Step.PREPARE and KeyState.DEACTIVATED in s.states,
        ),
        ("nobody rotates who is not due", lambda s, step: step is Step.PREPARE and not s.is_due),
        (
            "it does not end half-way",
            lambda s, step: (
                step is Step.DONE and bool({KeyState.PREPARED, KeyState.DEACTIVATED} & set(s.states))
            ),
        ),
    ],
)
def test_what_never_follows(claim: str, holds: Callable[[Standing, Step], bool]) -> None:
    assert not [standing for standing in _standings() if holds(standing, next_step(standing))], claim
