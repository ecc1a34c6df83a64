"""A patient, her sessions and recordings, and a rotation, as a model: each transaction of the product is a move here.

    world = Simulation(random.Random(7), decide=next_step)
    world.run(moves=200)
    assert world.failed_opens == 0

What runs at the same time is cut where the product's transactions end: a session reads the patient's keys in one move
and is registered in another, a recording likewise, and the rotation looks and acts in one move, because it holds the
keys meanwhile. `decide` is the product's own function, or a wrong one. `holds=False` takes away what makes a session
or a recording look again when the keys changed between its two moves.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from keys.lifecycle import CARRIED, KeyState, Standing, Step, next_step

Decide = Callable[[Standing], Step]
_SESSION_MOVES = 25


@dataclass
class Session:
    """The generations that a session carries, and when it ends."""

    carried: frozenset[int]
    ends_at: int


@dataclass
class Simulation:
    """One patient."""

    dice: random.Random
    decide: Decide = next_step
    holds: bool = True
    is_due: bool = False
    now: int = 0
    states: dict[int, KeyState] = field(default_factory=lambda: {1: KeyState.ACTIVE})
    sessions: list[Session] = field(default_factory=list)
    recordings: list[set[int]] = field(default_factory=list)
    minting: list[frozenset[int]] = field(default_factory=list)
    uploading: list[int] = field(default_factory=list)
    opens: int = 0
    failed_opens: int = 0
    rotations: int = 0

    def run(self, *, moves: int) -> None:
        """Make so many moves of everybody, in any order."""
        everybody = (
            self.read_keys_for_a_session,
            self.register_a_session,
            self.read_keys_for_a_recording,
            self.store_a_recording,
            self.open_a_recording,
            self.open_a_recording,
            self.rotate_one_step,
            self.rotate_one_step,
        )
        for _ in range(moves):
            self.now += 1
            self.sessions = [each for each in self.sessions if each.ends_at > self.now]
            self.dice.choice(everybody)()
            self.check()

    def read_keys_for_a_session(self) -> None:
        self.minting.append(self.handed_out())

    def register_a_session(self) -> None:
        if self.minting:
            carried = self.minting.pop(self.dice.randrange(len(self.minting)))
            if self.holds and carried != self.handed_out():
                return self.read_keys_for_a_session()
            self.sessions.append(Session(carried, self.now + self.dice.randrange(1, _SESSION_MOVES)))
        return None

    def read_keys_for_a_recording(self) -> None:
        self.uploading.append(self.active())

    def store_a_recording(self) -> None:
        if self.uploading:
            generation = self.uploading.pop(self.dice.randrange(len(self.uploading)))
            if self.holds and generation != self.active():
                return self.read_keys_for_a_recording()
            self.recordings.append({generation})
        return None

    def open_a_recording(self) -> None:
        if self.sessions and self.recordings:
            self.opens += 1
            session, wraps = self.dice.choice(self.sessions), self.dice.choice(self.recordings)
            self.failed_opens += not wraps & session.carried

    def rotate_one_step(self) -> None:
        if not self.is_due:
            self.is_due = self.dice.random() < 0.1
        step = self.decide(self.standing())
        if step is Step.PREPARE:
            self.states[max(self.states) + 1] = KeyState.PREPARED
            self.is_due = False
        elif step is Step.ACTIVATE:
            self.states = {n: self._after_activation(state) for n, state in self.states.items()}
        elif step is Step.MOVE:
            self._move_one()
        elif step is Step.DRAIN:
            self.rotations += 1
            self.states = {
                n: KeyState.DRAINING if state is KeyState.DEACTIVATED else state
                for n, state in self.states.items()
            }

    def standing(self) -> Standing:
        """What the rotation sees, as the product asks its catalog."""
        old = {n for n, state in self.states.items() if state is KeyState.DEACTIVATED}
        return Standing(
            states=set(self.states.values()),
            is_due=self.is_due,
            has_old_sessions=any(max(each.carried) < max(self.states) for each in self.sessions),
            has_old_wraps=any(wraps & old for wraps in self.recordings),
        )

    def check(self) -> None:
        """The states that the catalog's unique indexes hold."""
        states = list(self.states.values())
        assert states.count(KeyState.ACTIVE) == 1
        assert states.count(KeyState.PREPARED) <= 1

    def active(self) -> int:
        """The generation that seals what is new."""
        return next(n for n, state in self.states.items() if state is KeyState.ACTIVE)

    def handed_out(self) -> frozenset[int]:
        """The generations that a session is given."""
        return frozenset(n for n, state in self.states.items() if state in CARRIED)

    def _move_one(self) -> None:
        for wraps in self.recordings:
            for n in list(wraps):
                if self.states[n] is KeyState.DEACTIVATED:
                    wraps.remove(n)
                    wraps.add(self.active())
                    return

    @staticmethod
    def _after_activation(state: KeyState) -> KeyState:
        if state is KeyState.ACTIVE:
            return KeyState.DEACTIVATED
        return KeyState.ACTIVE if state is KeyState.PREPARED else state
