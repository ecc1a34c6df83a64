"""What answers a leak: the steps, in the order in which they have to be done, and what each of them is against. Pure.

Invariants: sessions end before keys change, so that no session holds what leaked; a key is replaced before anything is
sealed under it anew; what leaked is destroyed last, once nothing needs it.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from vault.catalog.compromises import Compromise, Leak


class Verb(enum.Enum):
    """What a step does."""

    REVOKE_TOKEN = "revoke-token"  # noqa: S105 - the name of a step
    END_SESSIONS = "end-sessions"
    ROTATE_MASTER = "rotate-master"
    ROTATE_PATIENTS = "rotate-patients"
    REENCRYPT = "reencrypt"
    # Done by people, with the command that is shown.
    REPLACE_TIER = "replace-tier"
    RETIRE = "retire"
    REVIEW = "review"


BY_HAND: Final = frozenset({Verb.REPLACE_TIER, Verb.RETIRE, Verb.REVIEW})
JOBS: Final = frozenset({Verb.ROTATE_MASTER, Verb.ROTATE_PATIENTS, Verb.REENCRYPT})

_V = Verb
_STEPS: Final[Mapping[Leak, tuple[Verb, ...]]] = {
    Leak.MASTER: (_V.ROTATE_MASTER, _V.RETIRE, _V.REVIEW),
    Leak.VAULT: (_V.END_SESSIONS, _V.ROTATE_MASTER, _V.ROTATE_PATIENTS, _V.REENCRYPT, _V.RETIRE, _V.REVIEW),
    Leak.PATIENT: (_V.END_SESSIONS, _V.ROTATE_PATIENTS, _V.REENCRYPT, _V.RETIRE, _V.REVIEW),
    Leak.RECORDING: (_V.REENCRYPT, _V.REVIEW),
    Leak.TIER: (_V.REPLACE_TIER, _V.END_SESSIONS, _V.REVIEW),
    Leak.TOKEN: (_V.REVOKE_TOKEN, _V.END_SESSIONS, _V.REVIEW),
}
_AGAINST: Final[Mapping[Verb, str]] = {
    _V.REVOKE_TOKEN: "whoever has the token asks for sessions, tickets and recordings",
    _V.END_SESSIONS: "whoever has a session or ticket goes on reading",
    _V.ROTATE_MASTER: "whoever has the old version opens the halves of a catalog that is copied from now on",
    _V.ROTATE_PATIENTS: "whoever has the patient's key opens what is sealed from now on",
    _V.REENCRYPT: "whoever has the old keys, or an old catalog with all that opens it, opens the objects of today",
    _V.REPLACE_TIER: "whoever has the secret, a copy of Redis and a token opens the session's record",
    _V.RETIRE: "whoever finds the old key in a backup of the catalog opens the backup",
    _V.REVIEW: "nobody knows what was read, and by whom",
}
_RETIRED: Final[Mapping[Leak, str]] = {
    Leak.MASTER: "replayvault keys retire master",
    Leak.VAULT: "replayvault keys retire master, and replayvault keys retire patient",
    Leak.PATIENT: "replayvault keys retire patient",
}


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """One step: what it does, what it is against, and the command for whoever does it by hand."""

    verb: Verb
    against: str
    command: str

    @property
    def is_by_hand(self) -> bool:
        """Whether a person does it."""
        return self.verb in BY_HAND


def steps_for(compromise: Compromise) -> tuple[PlannedStep, ...]:
    """The steps that answer a leak, in their order."""
    return tuple(
        PlannedStep(verb, _AGAINST[verb], _command(verb, compromise)) for verb in _STEPS[compromise.leak]
    )


def _command(verb: Verb, compromise: Compromise) -> str:
    narrowed: tuple[tuple[str, object], ...] = (
        ("tenant", compromise.tenant),
        ("patient", compromise.patient),
    )
    if compromise.recording_id is not None:  # which is of one tenant, and named alone
        narrowed = (("recording", compromise.recording_id),)
    scope = "".join(f" --{name} {value}" for name, value in narrowed if value is not None)
    since = f"{compromise.declared_at:%Y-%m-%dT%H:%M:%SZ}"
    return {
        Verb.REVOKE_TOKEN: f"replayvault tokens revoke {compromise.token_id}",
        Verb.END_SESSIONS: "ends sessions and tickets in the catalog, whatever Redis holds",
        Verb.ROTATE_MASTER: "replayvault keys rotate master",
        Verb.ROTATE_PATIENTS: f"replayvault keys rotate patient{scope}",
        Verb.REENCRYPT: f"replayvault keys reencrypt{scope} --grace 0s",
        Verb.REPLACE_TIER: "replayvault keys rotate tier-secret --yes, and again until it says that it is done",
        Verb.RETIRE: _RETIRED.get(compromise.leak, "") + (scope if compromise.leak is Leak.PATIENT else ""),
        Verb.REVIEW: f"replayvault audit incident --since {since}, or since the leak began",
    }[verb]
