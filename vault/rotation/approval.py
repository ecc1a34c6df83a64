"""What one person alone does not do: the rule of two.

Invariants: it is the same for whoever approves and for whoever carries out, so that a row that was changed by hand is
carried out no sooner than one that was asked for; what is not known is no second person.
"""

from __future__ import annotations

from typing import Final

from vault.catalog.key_job_states import JobState
from vault.catalog.key_jobs import JobKind
from vault.rotation.errors import SecondNeeded

# What these do cannot be undone.
DESTROYS: Final = frozenset({JobKind.RETIRE, JobKind.RETIRE_MASTER})
AWAITING_NOTE: Final = "waits until a second person approves it: replayvault jobs approve"


def require_second(requested_by: str, approver: str | None) -> None:
    """Raises `SecondNeeded` unless two different persons are named."""
    if not requested_by or not approver:
        raise SecondNeeded("this needs the approval of a second person: replayvault jobs approve")
    if requested_by == approver:
        raise SecondNeeded(f"{approver} asked for this; somebody else has to approve it")


def first_state(kind: JobKind, *, two_persons: bool) -> JobState:
    """The state in which a job of this kind begins."""
    return JobState.AWAITING if two_persons and kind in DESTROYS else JobState.QUEUED


def may_run(kind: JobKind, requested_by: str, approver: str | None, *, two_persons: bool) -> bool:
    """Whether a job may be carried out now."""
    if not two_persons or kind not in DESTROYS:
        return True
    try:
        require_second(requested_by, approver)
    except SecondNeeded:
        return False
    return True
