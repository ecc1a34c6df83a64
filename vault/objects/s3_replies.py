"""What an S3-compatible service's answers mean. Pure.

Invariants: a temporary failure is exactly `StoreUnavailable`, one that needs an operator is `StoreRefused`; what a
service writes into its answers is quoted only as far as it is an error code; a body is believed to be the range
that was asked for only if the service says so.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Final

from vault.objects.errors import (
    DamagedObject,
    ObjectMissing,
    ObjectsError,
    StoreRefused,
    StoreUnavailable,
)

_CODE: Final = re.compile(r"<Code>(\w{1,64})</Code>", re.ASCII)
_PLAIN_CODE: Final = re.compile(r"\w{1,64}", re.ASCII)
_CONTENT_RANGE: Final = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19})", re.ASCII)

# Temporary although their status says otherwise: a body that was cut or altered on its way, a conflicting
# conditional write that the service asks to repeat, and requests to slow down.
_TEMPORARY_CODES: Final = frozenset(
    {
        "RequestTimeout",
        "IncompleteBody",
        "BadDigest",
        "ConditionalRequestConflict",
        "OperationAborted",
        "SlowDown",
    }
)
_TEMPORARY: Final = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT, HTTPStatus.TOO_MANY_REQUESTS})


class UploadGone(StoreRefused):
    """The service does not know the multipart upload: swept away, or completed already."""


def error_code(body: bytes) -> str:
    """The error code in an XML answer, or nothing."""
    found = _CODE.search(body.decode(errors="replace"))
    return found[1] if found else ""


def failure(status: int, code: str, *, precondition: type[ObjectsError]) -> ObjectsError:
    """The error that an answer means; `precondition` is what a failed If-Match or If-None-Match means here."""
    if status == HTTPStatus.PRECONDITION_FAILED:
        return precondition("the object store answers that a condition on the object does not hold")
    if status == HTTPStatus.NOT_FOUND:
        return _missing(code)
    if status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        return DamagedObject("the object is truncated")
    shown = code if _PLAIN_CODE.fullmatch(code) else ""
    if status == HTTPStatus.NOT_IMPLEMENTED:
        return StoreRefused(
            "the object store does not implement a request; if it knows no conditional writes, "
            "add conditional_writes=false to its address"
        )
    # An error inside a 200: completing a multipart upload may answer so after it has begun to answer.
    is_success = status < HTTPStatus.MULTIPLE_CHOICES
    is_server_error = status >= HTTPStatus.INTERNAL_SERVER_ERROR
    is_temporary = is_success or is_server_error or status in _TEMPORARY or code in _TEMPORARY_CODES
    kind = StoreUnavailable if is_temporary else StoreRefused
    return kind(f"the object store answers {status} {shown}".rstrip())


def _missing(code: str) -> ObjectsError:
    if code == "NoSuchBucket":
        return StoreRefused("the object store has no such bucket")
    if code == "NoSuchUpload":
        return UploadGone("the object store does not know the upload")
    return ObjectMissing("no object of that name")


def object_size(content_range: str, *, first_byte: int, last_byte: int) -> int:
    """The whole object's size from a Content-Range (RFC 9110, section 14.4) that must name the range asked for.

    Raises `DamagedObject` where the object ends before `last_byte`, and `StoreUnavailable` for any other range.
    """
    found = _CONTENT_RANGE.fullmatch(content_range)
    if not found:
        raise StoreUnavailable("the object store answers a range without saying which")
    first, last, size = (int(number) for number in found.groups())
    if first == first_byte and last == size - 1 < last_byte:
        raise DamagedObject("the object is truncated")
    if (first, last) != (first_byte, last_byte) or size <= last:
        raise StoreUnavailable("the object store answers another range than the one asked for")
    return size
