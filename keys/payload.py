"""Strict canonical JSON for sealed payloads: sorted names, no spaces, exactly the fields that are due.

Invariants: what is read is written the same way again, byte for byte; a missing, unknown or ill-typed
field is `Malformed`, never a default.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any

from keys.errors import Malformed


def encode(fields: Mapping[str, Any]) -> bytes:
    """Canonical bytes of `fields`."""
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def decode(data: bytes, *, fields: Mapping[str, type]) -> dict[str, Any]:
    """The object in `data`, which must have exactly `fields` and be canonical; raises `Malformed`."""
    try:
        found = json.loads(data)
        is_canonical = encode(found) == data
    except (ValueError, RecursionError):  # a lone surrogate or a tower of brackets is no payload either
        raise Malformed("a sealed payload is not JSON") from None
    if not is_canonical:
        raise Malformed("a sealed payload is not in canonical form")
    return require(found, fields=fields)


def require(found: object, *, fields: Mapping[str, type]) -> dict[str, Any]:
    """`found` as an object of exactly `fields`; raises `Malformed`."""
    if not isinstance(found, dict) or found.keys() != fields.keys():
        raise Malformed("a sealed payload has other fields than it should")
    # type() and not isinstance(): true is not the number 1 here.
    if any(type(found[name]) is not kind for name, kind in fields.items()):
        raise Malformed("a sealed payload has a field of another type than it should")
    return found


def to_set(words: list[Any]) -> frozenset[str]:
    """A set of words from its one form, a sorted list without doubles; raises `Malformed`."""
    if any(type(word) is not str for word in words) or sorted(set(words)) != words:
        raise Malformed("a set of words stands sorted and without doubles")
    return frozenset(words)


def to_text(data: bytes) -> str:
    """Bytes as base64url without padding (RFC 4648, section 5)."""
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def to_bytes(text: str) -> bytes:
    """The bytes that `to_text` wrote; raises `Malformed`."""
    try:
        data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        data = None
    if data is None or to_text(data) != text:
        raise Malformed("not canonical base64url")
    return data
