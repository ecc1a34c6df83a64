"""The documents of the API: what a backend or an app sends and receives."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from vault.details import Metadata

Reference = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._:~-]{0,127}$",
        description="An opaque reference of yours: never a name or a health-service number.",
    ),
]
State = Literal["created", "queued", "processing", "published", "failed"]
MAX_PAGE: Final = 200


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class NewRecording(_Document):
    """What a backend says of a recording before it sends the bytes."""

    patient: Reference
    consultation: Reference
    metadata: Metadata


class RecordingStatus(_Document):
    """Where a recording stands."""

    id: uuid.UUID
    patient: str
    consultation: str
    state: State
    progress: float | None = Field(description="0 to 1 while processing, null where it is not known.")
    failure: str | None = Field(description="A stable code, for state failed.")
    failure_detail: str | None = Field(description="A sentence that says what to do.")
    created_at: dt.datetime
    published_at: dt.datetime | None
    source_size_bytes: int | None
    source_url: str = Field(description="Where to PUT the bytes while the state is created.")


class StatusPage(_Document):
    """A tenant's recordings, newest first."""

    recordings: tuple[RecordingStatus, ...]
    next: str | None = Field(description="Cursor of the next page, null on the last.")


class PageQuery(_Document):
    """Which page of a list."""

    limit: Annotated[int, Field(ge=1, le=MAX_PAGE)] = 50
    cursor: Annotated[str, Field(max_length=200)] | None = None


class RecordingView(_Document):
    """One entry of a patient's list, opened by the session's own key."""

    id: uuid.UUID
    title: str
    clinician: str | None
    consulted_at: dt.datetime | None
    description: str | None
    duration_s: float
    has_video: bool
    has_audio: bool
    published_at: dt.datetime
    files: tuple[str, ...] = Field(description="Names below this recording's URL; `master.m3u8` plays it.")


class RecordingPage(_Document):
    """A patient's recordings, newest first."""

    recordings: tuple[RecordingView, ...]
    next: str | None = Field(description="Cursor of the next page, null on the last.")


class NewSession(_Document):
    """Asks for a session of a patient whom the backend has authenticated."""

    patient: Reference
    ttl_s: Annotated[int, Field(ge=30, le=12 * 3600)] = 15 * 60
    scopes: tuple[Literal["list", "play", "share"], ...] = ("list", "play", "share")


class RefreshSession(_Document):
    """Asks for a new token before the old one ends."""

    ttl_s: Annotated[int, Field(ge=30, le=12 * 3600)] = 15 * 60


class SessionCreated(_Document):
    """A session token. It is shown once."""

    id: str
    token: str
    expires_at: dt.datetime
    absolute_at: dt.datetime
    refresh: str = Field(description="POST here with the token, before it ends, for the next one.")


class SessionView(_Document):
    """A live session or ticket, without its token."""

    id: str
    kind: Literal["session", "ticket"]
    patient: str
    issuer: str
    issued_at: dt.datetime
    expires_at: dt.datetime


class SessionList(_Document):
    """Live sessions and tickets."""

    sessions: tuple[SessionView, ...]


class SessionsQuery(_Document):
    """Whose sessions."""

    patient: Reference | None = None


class RevokeQuery(_Document):
    """Whose sessions to end: a patient's, or with `all=true` every one of the tenant."""

    patient: Reference | None = None
    all: bool = False


class Revoked(_Document):
    """How many sessions and tickets were ended."""

    revoked: int


class NewTicket(_Document):
    """Asks for a ticket of one recording."""

    recording: uuid.UUID
    ttl_s: Annotated[int, Field(ge=30, le=4 * 3600)] = 600
    files: tuple[Annotated[str, Field(max_length=64)], ...] = Field(
        default=(), max_length=32, description="Narrow the ticket to these files; empty for all."
    )


class NewServiceTicket(NewTicket):
    """As `NewTicket`, for a backend, which states why."""

    purpose: Annotated[str, Field(min_length=3, max_length=128, pattern=r"^[\x20-\x7e]+$")]


class TicketCreated(_Document):
    """A ticket. `url` plays on devices that can send no header."""

    ticket: str
    url: str
    expires_at: dt.datetime


class SignIn(_Document):
    """A session token, to be kept in an HttpOnly cookie."""

    session: Annotated[str, Field(max_length=64)]


class Health(_Document):
    """Whether this process can do its work."""

    status: Literal["ok", "degraded"]
    parts: dict[str, str]
