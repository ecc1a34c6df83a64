"""Section 1 of docs/format.md: notation, errors, canonical forms. Written from that page, with nothing of ours."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import re
import struct
import uuid
from collections.abc import Mapping
from typing import Any, Final

from nacl.bindings import (
    crypto_aead_xchacha20poly1305_ietf_decrypt,
    crypto_aead_xchacha20poly1305_ietf_encrypt,
)
from nacl.exceptions import CryptoError

_REFERENCE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:~-]{0,127}", re.ASCII)


class Refused(Exception):
    """A refusal by one of the names of section 1.3."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


def u16(number: int) -> bytes:
    return struct.pack(">H", number)


def u32(number: int) -> bytes:
    return struct.pack(">I", number)


def lp(text: str) -> bytes:
    data = text.encode("utf-8")
    return u16(len(data)) + data


def blake2b(bits: int, data: bytes, *, person: str = "", key: bytes = b"") -> bytes:
    return hashlib.blake2b(data, digest_size=bits // 8, key=key, person=person.encode()).digest()


def hkdf_expand_sha512(prk: bytes, info: bytes, size: int) -> bytes:
    """RFC 5869, section 2.3, by hand."""
    out = block = b""
    for counter in range(1, -(-size // 64) + 1):
        block = hmac.digest(prk, block + info + bytes((counter,)), "sha512")
        out += block
    return out[:size]


def xchacha_seal(key: bytes, nonce: bytes, plain: bytes, aad: bytes) -> bytes:
    return crypto_aead_xchacha20poly1305_ietf_encrypt(plain, aad, nonce, key)


def xchacha_open(key: bytes, nonce: bytes, sealed: bytes, aad: bytes) -> bytes:
    try:
        return crypto_aead_xchacha20poly1305_ietf_decrypt(sealed, aad, nonce, key)
    except CryptoError:
        raise Refused("Damaged") from None


def same(one: bytes, other: bytes) -> bool:
    return hmac.compare_digest(one, other)


def from_base64url(text: str, *, error: str = "Malformed") -> bytes:
    try:
        data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (ValueError, binascii.Error):
        raise Refused(error) from None
    if to_base64url(data) != text:
        raise Refused(error)
    return data


def to_base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def from_base64(text: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        raise Refused("Malformed") from None
    if base64.b64encode(data).decode() != text:
        raise Refused("Malformed")
    return data


def reference(text: str, *, error: str = "MalformedId") -> str:
    if not _REFERENCE.fullmatch(text):
        raise Refused(error)
    return text


def uuid_bytes(text: str, *, error: str = "MalformedId") -> bytes:
    if not re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", text, re.ASCII):
        raise Refused(error)
    return uuid.UUID(text).bytes


def uuid_text(data: bytes) -> str:
    return str(uuid.UUID(bytes=data))


def canonical_json(value: Any, *, ascii_only: bool = False) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=ascii_only).encode()


def read_json(data: bytes, *, ascii_only: bool = False, error: str = "Malformed") -> Any:
    """A value that stands in its canonical form."""
    try:
        value = json.loads(data.decode("utf-8"))
        if canonical_json(value, ascii_only=ascii_only) != data:
            raise Refused(error)
    except ValueError:
        raise Refused(error) from None
    return value


def members(value: Any, kinds: Mapping[str, type | tuple[type, ...]]) -> dict[str, Any]:
    """An object of exactly these members, each of exactly one of its types."""
    if type(value) is not dict or value.keys() != kinds.keys():
        raise Refused("Malformed")
    for name, kind in kinds.items():
        if type(value[name]) not in (kind if isinstance(kind, tuple) else (kind,)):
            raise Refused("Malformed")
    return value
