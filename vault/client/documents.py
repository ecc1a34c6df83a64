"""The documents of the API as a client reads and writes them. Pure.

Invariant: a field that a newer service adds is ignored, one that this client needs and does not get is an error.
"""

from __future__ import annotations

import datetime as dt
import enum
import uuid
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from vault.client.token import Token


class State(enum.Enum):
    """Where a recording stands."""

    CREATED = "created"
    QUEUED = "queued"
    PROCESSING = "processing"
    PUBLISHED = "published"
    FAILED = "failed"

    @property
    def is_final(self) -> bool:
        """Whether nothing more happens by itself."""
        return self in {State.PUBLISHED, State.FAILED}


class SessionScope(enum.Enum):
    """What a session may do."""

    LIST = "list"
    PLAY = "play"
    SHARE = "share"


class Document(BaseModel):
    """What the service answers."""

    model_config = ConfigDict(
        extra="ignore", frozen=True, arbitrary_types_allowed=True, hide_input_in_errors=True
    )


class Metadata(Document):
    """What the patient will see of a consultation. The service seals all of it under the patient's key."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str
    clinician: str | None = None
    consulted_at: dt.datetime | None = None
    description: str | None = None


class RecordingStatus(Document):
    """Where a recording stands. `progress` is 0 to 1 while it is processed, and None where it is not known."""

    id: uuid.UUID
    patient: str
    consultation: str
    state: State
    progress: float | None = None
    failure: str | None = None
    failure_detail: str | None = None
    created_at: dt.datetime
    published_at: dt.datetime | None = None
    source_size_bytes: int | None = None


class StatusPage(Document):
    """One page of a tenant's recordings."""

    recordings: tuple[RecordingStatus, ...]
    next: str | None = None


class RecordingView(Document):
    """One entry of a patient's list."""

    id: uuid.UUID
    title: str
    clinician: str | None = None
    consulted_at: dt.datetime | None = None
    description: str | None = None
    duration_s: float
    has_video: bool
    has_audio: bool
    published_at: dt.datetime
    files: tuple[str, ...]


class RecordingPage(Document):
    """One page of a patient's list."""

    recordings: tuple[RecordingView, ...]
    next: str | None = None


def _token(value: Any) -> Any:
    return Token(value) if isinstance(value, str) else value


ReceivedToken = Annotated[Token, BeforeValidator(_token)]


class OpenedSession(Document):
    """A session that was just opened or refreshed. The token is in this answer and nowhere else."""

    id: str
    token: ReceivedToken
    expires_at: dt.datetime
    absolute_at: dt.datetime


class SessionView(Document):
    """A live session or ticket, without its token."""

    id: str
    kind: str
    patient: str
    issuer: str
    issued_at: dt.datetime
    expires_at: dt.datetime


class SessionList(Document):
    """Live sessions and tickets."""

    sessions: tuple[SessionView, ...]


class Revoked(Document):
    """How many sessions and tickets were ended."""

    revoked: int


class Ticket(Document):
    """A ticket: one recording, for minutes, for players that can send no header."""

    token: ReceivedToken = Field(validation_alias="ticket")
    expires_at: dt.datetime

    def path(self, file: str = "master.m3u8", *, to: str) -> str:
        """The path that plays `file`; it holds the token, and `to` names who receives it."""
        return f"/v1/t/{self.token.reveal(to=to)}/{file}"
