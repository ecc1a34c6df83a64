"""How commands speak of a recording's status."""

from __future__ import annotations

from typing import assert_never

from vault.cli.exits import Exit
from vault.cli.output import pairs
from vault.client import RecordingStatus, State


def tell(status: RecordingStatus) -> None:
    """Everything that is known of it, for people."""
    progress = None if status.progress is None else f"{status.progress:.0%}"
    pairs(
        ("recording", status.id),
        ("state", status.state.value),
        ("progress", progress),
        ("failure", status.failure),
        ("what to do", status.failure_detail),
        ("patient", status.patient),
        ("consultation", status.consultation),
        ("size", None if status.source_size_bytes is None else f"{status.source_size_bytes} bytes"),
        ("created", status.created_at),
        ("published", status.published_at),
    )


def exit_of(status: RecordingStatus) -> Exit:
    """What a command that followed a recording ends with."""
    match status.state:
        case State.PUBLISHED:
            return Exit.OK
        case State.FAILED:
            return Exit.FAILED
        case State.CREATED | State.QUEUED | State.PROCESSING:
            return Exit.IN_PROGRESS
        case _:
            assert_never(status.state)
