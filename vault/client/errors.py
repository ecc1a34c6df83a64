"""What the client raises: one tree, one leaf for each thing that a caller would do differently.

ReplayVaultError
├── Misused                   what was given cannot be sent; nothing was sent
│   ├── InvalidToken          not a token of Replay Vault, or of another kind than the call needs
│   └── InvalidAddress        not an address that a token may be sent to
├── Unreachable               no connection, no answer in time, or a connection that was cut
│   └── UploadInterrupted     the source was cut on its way; the recording still waits for it: `recording_id`
├── UnexpectedAnswer          not Replay Vault, or a release that this client does not know
├── NotPublished              a recording that failed: `status` says why
└── Refused                   the service answered with a problem: `code`, `status_code`, `detail`, `request_id`
    ├── InvalidRequest        a bug in the caller, or in this client
    ├── Unauthenticated       the token opens nothing (any more)
    ├── Forbidden             the token lacks a scope
    ├── NotFound              not there, or not yours: the service does not say which
    ├── Conflict              the state is not the one that the call assumes
    │   ├── ConsultationTaken the consultation is another patient's
    │   ├── NotReady          the recording is not published
    │   ├── ErasurePending    the patient is about to be erased, and takes in nothing new
    │   └── LegalHold         the patient's recordings have to be kept
    ├── PatientErased         the patient's recordings cannot be opened again
    ├── TooLarge              more bytes than the service takes
    ├── Busy                  ask again later: `retry_after_s`
    │   └── Unavailable       something that the service needs is down
    ├── ListingStopped        an operator looks into a problem; what is played by id goes on
    ├── Damaged               stored bytes are not what was sealed
    └── ServerFailed          a bug in the service; report `request_id`

Invariant: no error holds a token, headers or more of a URL than its origin; `detail` is a sentence of the service,
never what was sent.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from vault.client.documents import RecordingStatus


class ReplayVaultError(Exception):
    """Root of everything that the client raises."""


class Misused(ReplayVaultError):
    """What was given cannot be sent; the message says what to change. Nothing was sent."""


class InvalidToken(Misused):
    """Not a token of Replay Vault, or a token of another kind than the call needs."""


class InvalidAddress(Misused):
    """Not an address that a token may be sent to."""


class Unreachable(ReplayVaultError):
    """No connection, no answer in time, or a connection that was cut."""


class UploadInterrupted(Unreachable):
    """The source was cut on its way. The recording still waits for it: upload it again, from its beginning."""

    def __init__(self, message: str, *, recording_id: uuid.UUID) -> None:
        super().__init__(message)
        self.recording_id = recording_id


class UnexpectedAnswer(ReplayVaultError):
    """An answer that Replay Vault does not give."""


class NotPublished(ReplayVaultError):
    """A recording ended as failed; `status` says why."""

    def __init__(self, status: RecordingStatus) -> None:
        super().__init__(status.failure_detail or f"the recording is {status.state.value}")
        self.status = status


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """The members of an `application/problem+json` body (RFC 9457), as far as the client understands them."""

    status_code: int
    code: str
    detail: str
    request_id: str
    retry_after_s: float | None = None
    faults: tuple[str, ...] = ()


class Refused(ReplayVaultError):
    """The service answered with a problem."""

    def __init__(self, problem: Problem) -> None:
        fields = f" Fields: {', '.join(problem.faults)}." if problem.faults else ""
        super().__init__(f"{problem.detail}{fields} ({problem.code}, request {problem.request_id})")
        self.problem = problem

    @property
    def code(self) -> str:
        """The stable name of the problem."""
        return self.problem.code

    @property
    def status_code(self) -> int:
        """The HTTP status."""
        return self.problem.status_code

    @property
    def detail(self) -> str:
        """A sentence that says what to do."""
        return self.problem.detail

    @property
    def request_id(self) -> str:
        """What to name in a report: the service's logs and its audit log have it too."""
        return self.problem.request_id

    @property
    def retry_after_s(self) -> float | None:
        """When the service wants to be asked again, in seconds from its answer."""
        return self.problem.retry_after_s


class InvalidRequest(Refused):
    """A request that the service does not understand, or a field that breaks a rule."""


class Unauthenticated(Refused):
    """The token opens nothing: it was never valid, has run out or was revoked."""


class Forbidden(Refused):
    """The token lacks the scope that the call needs."""


class NotFound(Refused):
    """Not there, or not yours: the service does not say which."""


class Conflict(Refused):
    """The recording is not in the state that the call assumes."""


class ConsultationTaken(Conflict):
    """The consultation belongs to another patient, for ever."""


class NotReady(Conflict):
    """The recording is not published, or cannot be tried again."""


class PatientErased(Refused):
    """The patient's recordings cannot be opened again."""


class ErasurePending(Conflict):
    """The patient is about to be erased: what is sent now would be lost."""


class LegalHold(Conflict):
    """The patient's recordings have to be kept."""


class TooLarge(Refused):
    """More bytes than the service takes."""


class Busy(Refused):
    """The service wants to be asked later."""


class Unavailable(Busy):
    """Something that the service needs is down."""


class ListingStopped(Refused):
    """Lists are stopped until an operator lets them go on: trying again soon does not help.

    Recordings whose ids are known can still be shown, played and downloaded.
    """


class Damaged(Refused):
    """Stored bytes are not what was sealed."""


class ServerFailed(Refused):
    """The service failed; report the request id."""


# The service's codes (vault/api/problems.py). One that is not here is judged by its status.
LEAVES: Final[Mapping[str, type[Refused]]] = MappingProxyType(
    {
        "malformed-request": InvalidRequest,
        "malformed-json": InvalidRequest,
        "invalid-query": InvalidRequest,
        "invalid-body": InvalidRequest,
        "method-not-allowed": InvalidRequest,
        "request-timeout": InvalidRequest,
        "length-required": InvalidRequest,
        "precondition-failed": InvalidRequest,
        "unsupported-media-type": InvalidRequest,
        "range-not-satisfiable": InvalidRequest,
        "expectation-failed": InvalidRequest,
        "unauthenticated": Unauthenticated,
        "forbidden": Forbidden,
        "not-found": NotFound,
        "conflict": Conflict,
        "consultation-taken": ConsultationTaken,
        "not-ready": NotReady,
        "patient-erased": PatientErased,
        "erasure-pending": ErasurePending,
        "legal-hold": LegalHold,
        "body-too-large": TooLarge,
        "too-many-requests": Busy,
        "unavailable": Unavailable,
        "listing-stopped": ListingStopped,
        "damaged": Damaged,
        "internal": ServerFailed,
    }
)
# What a proxy in front of the service answers while the service is away.
_AWAY: Final = frozenset({502, 503, 504})
_FIRST_SERVER_STATUS: Final = 500


def refusal(problem: Problem) -> Refused:
    """The leaf that stands for a problem."""
    leaf = LEAVES.get(problem.code)
    if leaf is None and problem.status_code in _AWAY:
        leaf = Unavailable
    if leaf is None:
        leaf = ServerFailed if problem.status_code >= _FIRST_SERVER_STATUS else Refused
    return leaf(problem)
