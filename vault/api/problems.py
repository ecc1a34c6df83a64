"""What the house answers when it cannot do as asked: `application/problem+json` (RFC 9457).

Invariants:
- every answer of status 400 and above has a code of `Code`, and everything else about it follows from `TABLE`;
- nothing a caller sent comes back: details are sentences of ours, field names are those of the schema;
- codes marked constant have one body each, whatever the reason was: not yours, not there and wrong key are the
  same 404, and every failed sign-in is the same 401;
- an exception that nobody registered is 500 `internal`, and its message is neither sent nor logged.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from aiohttp import web

MEDIA_TYPE: Final = "application/problem+json"


class Code(enum.StrEnum):
    """Stable names of problems; clients branch on these, so a value never changes its meaning."""

    MALFORMED_REQUEST = "malformed-request"
    MALFORMED_JSON = "malformed-json"
    INVALID_QUERY = "invalid-query"
    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not-found"
    METHOD_NOT_ALLOWED = "method-not-allowed"
    REQUEST_TIMEOUT = "request-timeout"
    CONFLICT = "conflict"
    CONSULTATION_TAKEN = "consultation-taken"
    NOT_READY = "not-ready"
    PATIENT_ERASED = "patient-erased"
    ERASURE_PENDING = "erasure-pending"
    LEGAL_HOLD = "legal-hold"
    LENGTH_REQUIRED = "length-required"
    PRECONDITION_FAILED = "precondition-failed"
    BODY_TOO_LARGE = "body-too-large"
    UNSUPPORTED_MEDIA_TYPE = "unsupported-media-type"
    RANGE_NOT_SATISFIABLE = "range-not-satisfiable"
    EXPECTATION_FAILED = "expectation-failed"
    INVALID_BODY = "invalid-body"
    TOO_MANY_REQUESTS = "too-many-requests"
    INTERNAL = "internal"
    DAMAGED = "damaged"
    UNAVAILABLE = "unavailable"
    LISTING_STOPPED = "listing-stopped"


@dataclass(frozen=True, slots=True)
class Facts:
    """What one code means: HTTP status, title, and a sentence that says what the caller can do."""

    status: int
    title: str
    advice: str
    constant: bool = False


TABLE: Final[Mapping[Code, Facts]] = MappingProxyType(
    {
        Code.MALFORMED_REQUEST: Facts(400, "Malformed request", "Send a well-formed HTTP/1.1 request."),
        Code.MALFORMED_JSON: Facts(400, "Malformed JSON", "Send one JSON object in UTF-8."),
        Code.INVALID_QUERY: Facts(400, "Invalid query", "Correct the named query parameters."),
        Code.UNAUTHENTICATED: Facts(
            401, "Not signed in", "Sign in again, or send a valid bearer token.", constant=True
        ),
        Code.FORBIDDEN: Facts(403, "Not allowed", "Use a token with the scope that this call needs."),
        Code.NOT_FOUND: Facts(404, "Not found", "There is nothing here for you.", constant=True),
        Code.METHOD_NOT_ALLOWED: Facts(405, "Method not allowed", "Use one of the methods in Allow."),
        Code.REQUEST_TIMEOUT: Facts(408, "Request timeout", "Send the whole request without long pauses."),
        Code.CONFLICT: Facts(409, "Conflict", "Read the present state, then decide again."),
        Code.CONSULTATION_TAKEN: Facts(
            409, "Consultation belongs to another patient", "Check which patient this consultation is of."
        ),
        Code.NOT_READY: Facts(409, "Not ready", "Wait until the recording is published."),
        Code.PATIENT_ERASED: Facts(
            410, "Patient erased", "This patient's recordings cannot be opened again."
        ),
        Code.ERASURE_PENDING: Facts(
            409,
            "Erasure pending",
            "The patient is about to be erased: keep the recording, or have the erasure cancelled first.",
        ),
        Code.LEGAL_HOLD: Facts(
            409, "Legal hold", "This patient's recordings have to be kept: ask whoever placed the legal hold."
        ),
        Code.LENGTH_REQUIRED: Facts(411, "Length required", "Send a Content-Length."),
        Code.PRECONDITION_FAILED: Facts(412, "Precondition failed", "Fetch the current version first."),
        Code.BODY_TOO_LARGE: Facts(413, "Body too large", "Send a smaller body."),
        Code.UNSUPPORTED_MEDIA_TYPE: Facts(
            415, "Unsupported media type", "Send one of the documented content types, without encoding."
        ),
        Code.RANGE_NOT_SATISFIABLE: Facts(
            416, "Range not satisfiable", "Ask within the size in Content-Range."
        ),
        Code.EXPECTATION_FAILED: Facts(417, "Expectation failed", "Expect only 100-continue."),
        Code.INVALID_BODY: Facts(422, "Invalid body", "Correct the named fields."),
        Code.TOO_MANY_REQUESTS: Facts(429, "Too many requests", "Wait for the time in Retry-After."),
        Code.INTERNAL: Facts(
            500,
            "Internal error",
            "Try again; if it stays, report the X-Request-Id of this answer.",
            constant=True,
        ),
        Code.DAMAGED: Facts(502, "Stored bytes are damaged", "Report the X-Request-Id of this answer."),
        Code.UNAVAILABLE: Facts(503, "Temporarily unavailable", "Try again after the time in Retry-After."),
        Code.LISTING_STOPPED: Facts(
            503,
            "Lists are stopped",
            "The list is stopped while an operator looks into a problem. Recordings can still be played by id.",
        ),
    }
)

# A 503 without a hint invites a retry storm; five seconds is what a restart of a dependency takes.
# Where a person has to act, a minute is soon.
RETRY_AFTER_S: Final[Mapping[Code, int]] = MappingProxyType(
    {Code.UNAVAILABLE: 5, Code.TOO_MANY_REQUESTS: 5, Code.LISTING_STOPPED: 60}
)


@dataclass(frozen=True, slots=True)
class FieldFault:
    """One rule that one field of the schema broke, with the rule's limits and never with the value."""

    field: str
    rule: str
    limits: Mapping[str, str | int | float]


class Problem(Exception):
    """An answer that is not what was asked for. `detail` is a sentence of ours: never a piece of the request."""

    def __init__(
        self,
        code: Code,
        *,
        detail: str | None = None,
        retry_after_s: int | None = None,
        faults: tuple[FieldFault, ...] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.code = code
        self.facts = TABLE[code]
        if self.facts.constant and (detail is not None or faults):
            raise ValueError(f"the body of {code} is constant")
        super().__init__(code)
        self.detail = detail or self.facts.advice
        self.faults = faults
        self.retry_after_s = RETRY_AFTER_S.get(code) if retry_after_s is None else retry_after_s
        self.headers = dict(headers or {})

    def document(self) -> dict[str, object]:
        """The members of the body, RFC 9457 section 3.1, with our extensions `code`, `retry_after_s`, `faults`."""
        document: dict[str, object] = {
            "type": f"/problems/{self.code}",
            "title": self.facts.title,
            "status": self.facts.status,
            "code": str(self.code),
            "detail": self.detail,
        }
        if self.retry_after_s is not None:
            document["retry_after_s"] = self.retry_after_s
        if self.faults:
            document["faults"] = [
                {"field": each.field, "rule": each.rule, "limits": dict(each.limits)} for each in self.faults
            ]
        return document

    def response(self) -> web.Response:
        """The whole HTTP answer."""
        headers = dict(self.headers)
        if self.code is Code.UNAUTHENTICATED:
            headers["WWW-Authenticate"] = "Bearer"  # RFC 9110, 15.5.2 and 11.6.1
        if self.retry_after_s is not None:
            headers["Retry-After"] = str(self.retry_after_s)
        return web.Response(
            status=self.facts.status,
            body=json.dumps(self.document()).encode(),
            content_type=MEDIA_TYPE,
            headers=headers,
        )


Translation = Code | Callable[[Exception], Problem]


class Translator:
    """The registration table from exception classes to problems; the nearest registered base class decides."""

    def __init__(self, table: Mapping[type[Exception], Translation] | None = None) -> None:
        self._table: dict[type, Translation] = {web.RequestPayloadError: Code.MALFORMED_REQUEST}
        self._table.update(table or {})

    def translate(self, exc: Exception) -> Problem:
        """The problem that stands for an exception; 500 `internal` for what nobody registered."""
        if isinstance(exc, Problem):
            return exc
        if isinstance(exc, web.HTTPException):
            return _of_framework(exc)
        for base in type(exc).__mro__:
            found = self._table.get(base)
            if found is not None:
                return Problem(found) if isinstance(found, Code) else found(exc)
        return Problem(Code.INTERNAL)


_FRAMEWORK: Final[Mapping[int, Code]] = {
    400: Code.MALFORMED_REQUEST,
    404: Code.NOT_FOUND,
    405: Code.METHOD_NOT_ALLOWED,
    413: Code.BODY_TOO_LARGE,
    415: Code.UNSUPPORTED_MEDIA_TYPE,
    417: Code.EXPECTATION_FAILED,
}


def _of_framework(exc: web.HTTPException) -> Problem:
    """Refusals of the framework: its texts name the path or the header, so only the status is kept."""
    allow = exc.headers.get("Allow")
    return Problem(
        _FRAMEWORK.get(exc.status, Code.INTERNAL), headers={"Allow": allow} if allow is not None else None
    )
