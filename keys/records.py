"""Sealed records behind bearer tokens: the three locks of sessions and tickets.

A token is `rvs_` (session) or `rvt_` (ticket) followed by base64url of 32 random bytes: 47 characters.
Its holder has the token, Redis has the record, and the stream and control roles have the tier secret.
With any two of the three nothing opens:

- record id = BLAKE2b-256(token, person="replayvault-sid1"), under which the record is stored;
- seal key = BLAKE2b-256(key=tier secret, data=token, person="replayvault-ses1");
- record = version (1) ‖ tier secret id (8) ‖ nonce (24) ‖ ciphertext, which is
  XChaCha20-Poly1305(seal key, payload, aad = record id).

Invariants: a token decides both the record's name and its key: moved under another name it does not open;
the kind is part of the token's text and so of both hashes: a ticket never opens as a session.
"""

from __future__ import annotations

import base64
import enum
import re
from collections.abc import Sequence
from typing import Final, NewType, NoReturn, Self, SupportsIndex

import nacl.bindings
import nacl.utils
from nacl.exceptions import CryptoError

from keys import contexts
from keys.digest import blake2b
from keys.errors import Damaged, InvalidToken, Malformed, MalformedId, NoSuchKey, WrongKind
from keys.secret import TierSecret

RecordId = NewType("RecordId", bytes)

VERSION: Final = 1
TIER_ID_BYTES: Final = 8
NONCE_BYTES: Final = 24
HEAD_BYTES: Final = 1 + TIER_ID_BYTES
_HEAD_BYTES: Final = 1 + TIER_ID_BYTES + NONCE_BYTES
_TAG_BYTES: Final = 16
_TOKEN: Final = re.compile(r"(rv[st])_[A-Za-z0-9_-]{43}", re.ASCII)
_RECORD_ID: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)


def parse_record_id(text: str) -> RecordId:
    """A record's name as the audit log and the API write it, 64 hexadecimal digits; raises `MalformedId`."""
    if not _RECORD_ID.fullmatch(text):
        raise MalformedId("a session's id has 64 lower-case hexadecimal digits")
    return RecordId(bytes.fromhex(text))


class Kind(enum.Enum):
    """What a token is for; the value is its prefix."""

    SESSION = "rvs"
    TICKET = "rvt"


class Token:
    """A bearer token. Does not print; leaves through `reveal(to=…)` alone.

    Not a dataclass: `dataclasses.asdict` of whatever holds a token would spell it out.
    """

    __slots__ = ("_text", "kind")

    def __init__(self, kind: Kind, text: str) -> None:
        self.kind: Final = kind
        self._text: Final = text

    @classmethod
    def generate(cls, kind: Kind) -> Self:
        """A fresh token with 256 random bits."""
        return cls(
            kind, f"{kind.value}_{base64.urlsafe_b64encode(nacl.utils.random(32)).decode().rstrip('=')}"
        )

    @classmethod
    def parse(cls, text: str, *, kind: Kind) -> Self:
        """A token of that kind; raises `WrongKind` or `InvalidToken`, neither of which holds the text."""
        match = _TOKEN.fullmatch(text)
        if match is None:
            raise InvalidToken("not a token")
        if match.group(1) != kind.value:
            raise WrongKind(f"a {kind.name.lower()} token is due here")
        return cls(kind, text)

    def reveal(self, *, to: str) -> str:
        """The token's text; `to` names who receives it."""
        if not to:
            raise ValueError("name who receives the token")
        return self._text

    @property
    def record_id(self) -> RecordId:
        """The name of this token's record; says nothing about the token."""
        return RecordId(
            blake2b(self._text.encode(), person=contexts.PERSON_SESSION_ID, size_bytes=32),
        )

    def seal_key(self, tier: TierSecret) -> bytes:
        """The key that seals this token's record."""
        return blake2b(
            self._text.encode(),
            key=tier.reveal(to="blake2b"),
            person=contexts.PERSON_SESSION_SEAL,
            size_bytes=32,
        )

    def __repr__(self) -> str:
        return f"<{self.kind.name.lower()} token, not shown>"

    def __reduce_ex__(self, _protocol: SupportsIndex) -> NoReturn:
        raise TypeError("a token is not copied or pickled")

    def __getstate__(self) -> NoReturn:
        raise TypeError("a token is not copied or pickled")


def tier_id(tier: TierSecret) -> bytes:
    """Eight bytes that name a tier secret, so that two can be current while one replaces the other."""
    return blake2b(
        b"",
        key=tier.reveal(to="blake2b"),
        person=contexts.PERSON_TIER_ID,
        size_bytes=TIER_ID_BYTES,
    )


def sealed_under(head: bytes) -> str:
    """The id, in hexadecimal, of the tier secret that a record was sealed under, from its first `HEAD_BYTES`."""
    return head[1:HEAD_BYTES].hex() if head[:1] == bytes((VERSION,)) else ""


def seal_record(token: Token, tier: TierSecret, payload: bytes) -> bytes:
    """Seal the record of `token`."""
    return seal_record_with_nonce(token, tier, payload, nonce=nacl.utils.random(NONCE_BYTES))


def seal_record_with_nonce(token: Token, tier: TierSecret, payload: bytes, *, nonce: bytes) -> bytes:
    """`seal_record` with a given nonce, for test vectors."""
    body = nacl.bindings.crypto_aead_xchacha20poly1305_ietf_encrypt(
        payload,
        token.record_id,
        nonce,
        token.seal_key(tier),
    )
    return bytes((VERSION,)) + tier_id(tier) + nonce + body


def open_record(token: Token, record: bytes, tiers: Sequence[TierSecret]) -> bytes:
    """The payload; raises `Malformed`, `NoSuchKey` (another tier's record) or `Damaged`."""
    if len(record) < _HEAD_BYTES + _TAG_BYTES or record[0] != VERSION:
        raise Malformed("not a session record of a known version")
    named = record[1 : 1 + TIER_ID_BYTES]
    tier = next((each for each in tiers if nacl.bindings.sodium_memcmp(tier_id(each), named)), None)
    if tier is None:
        raise NoSuchKey("the record was sealed under a tier secret that this process does not hold")
    try:
        return nacl.bindings.crypto_aead_xchacha20poly1305_ietf_decrypt(
            record[_HEAD_BYTES:],
            token.record_id,
            record[1 + TIER_ID_BYTES : _HEAD_BYTES],
            token.seal_key(tier),
        )
    except CryptoError:
        raise Damaged("the session record does not open with this token") from None
