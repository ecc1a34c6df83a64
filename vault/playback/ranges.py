"""Range requests and preconditions (RFC 9110, sections 13 and 14), decided without I/O.

Invariants:
- every input has an answer: a header that is malformed, of another unit, or of several ranges is as if absent,
  which RFC 9110 section 14.2 allows for each of them, and which bounds the work at one pass over a short text;
- byte positions are inclusive at both ends, and a `Partial` always lies inside the representation;
- validators are strong: If-Range and If-Match never match a weak tag, and dates match nothing since we send none.

HEAD: section 14.2 defines Range for GET only, so `decide` ignores Range for every other method; a HEAD answer has
the headers of the whole representation and says `Accept-Ranges: bytes`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, TypeAlias

# 64 characters hold two 20-digit positions (2**64 has 20); what is longer is as good as malformed.
_MAX_RANGE_CHARS: Final = 64
_ONE_RANGE: Final = re.compile(r"bytes=([0-9]*)-([0-9]*)", re.ASCII | re.IGNORECASE)
# RFC 9110, 8.8.3: etagc = %x21 / %x23-7E / obs-text.
_ENTITY_TAG: Final = re.compile(r'(?:W/)?"[\x21\x23-\x7e\x80-\uffff]*"')
_SEPARATOR: Final = re.compile(r"[ \t]*(?:,[ \t]*)+")


@dataclass(frozen=True, slots=True)
class Whole:
    """200: the whole representation."""


@dataclass(frozen=True, slots=True)
class Partial:
    """206: bytes `first` to `last`, both included."""

    first: int
    last: int

    @property
    def size_bytes(self) -> int:
        """How many bytes that is; at least 1."""
        return self.last - self.first + 1

    def content_range(self, *, size_bytes: int) -> str:
        """The Content-Range header (RFC 9110, 14.4) for a representation of `size_bytes`."""
        return f"bytes {self.first}-{self.last}/{size_bytes}"


@dataclass(frozen=True, slots=True)
class Unsatisfiable:
    """416: a well-formed range that selects nothing."""

    def content_range(self, *, size_bytes: int) -> str:
        """The Content-Range header of a 416 (RFC 9110, 15.5.17)."""
        return f"bytes */{size_bytes}"


@dataclass(frozen=True, slots=True)
class NotModified:
    """304: the caller already has these bytes."""


@dataclass(frozen=True, slots=True)
class PreconditionFailed:
    """412: the caller's If-Match names other bytes."""


Selection: TypeAlias = Whole | Partial | Unsatisfiable
Decision: TypeAlias = Selection | NotModified | PreconditionFailed


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The conditional part of a request, headers as received or None."""

    method: str = "GET"
    range: str | None = None
    if_range: str | None = None
    if_match: str | None = None
    if_none_match: str | None = None


def decide(asked: Asked, *, size_bytes: int, etag: str) -> Decision:
    """What to answer, in the order of RFC 9110, 13.2.2; `etag` is our strong tag, quotes included."""
    if asked.if_match is not None and not _lists(asked.if_match, etag=etag):
        return PreconditionFailed()
    if asked.if_none_match is not None and _lists(_without_weakness(asked.if_none_match), etag=etag):
        return NotModified()
    if asked.method != "GET":
        return Whole()
    return parse_range(asked.range, size_bytes=size_bytes, if_range=asked.if_range, etag=etag)


def parse_range(
    header: str | None, *, size_bytes: int, if_range: str | None = None, etag: str | None = None
) -> Selection:
    """The bytes a Range header selects of `size_bytes`; with If-Range only if it names `etag` (13.1.5)."""
    if header is None or len(header) > _MAX_RANGE_CHARS:
        return Whole()
    if if_range is not None and (etag is None or if_range.strip(" \t") != etag):
        return Whole()
    found = _ONE_RANGE.fullmatch(header.strip(" \t"))
    if found is None:
        return Whole()
    first, last = found.groups()
    if first:
        return _positions(int(first), last=int(last) if last else None, size_bytes=size_bytes)
    return _suffix(int(last), size_bytes=size_bytes) if last else Whole()


def strong_etag(tag: str) -> str:
    """A strong entity tag (RFC 9110, 8.8.3) from a text of letters, digits and hyphens, such as a file id."""
    return f'"{tag}"'


def _positions(first: int, *, last: int | None, size_bytes: int) -> Selection:
    if last is not None and last < first:
        return Whole()  # 14.1.1: such an int-range is invalid, not unsatisfiable
    if first >= size_bytes:
        return Unsatisfiable()
    end = size_bytes - 1
    return Partial(first, end if last is None else min(last, end))


def _suffix(length: int, *, size_bytes: int) -> Selection:
    if length == 0:
        return Unsatisfiable()  # 14.1.2
    if size_bytes == 0:
        return Whole()  # satisfiable by 14.1.2, and there is no Content-Range that could say so
    return Partial(max(0, size_bytes - length), size_bytes - 1)


def _lists(header: str, *, etag: str) -> bool:
    """Whether an If-Match list or `*` names `etag`; a malformed list names nothing."""
    text = header.strip(" \t,")
    if text == "*":
        return True
    tags = []
    position = 0
    while tag := _ENTITY_TAG.match(text, position):
        tags.append(tag[0])
        separator = _SEPARATOR.match(text, tag.end())
        position = separator.end() if separator else tag.end()
        if separator is None:
            break
    return position == len(text) and etag in tags


def _without_weakness(header: str) -> str:
    """If-None-Match compares weakly (13.1.2): `W/"x"` and `"x"` are alike there. Our own tags hold no slash."""
    return header.replace('W/"', '"')
