"""Committing authenticated encryption of small things: key wraps and metadata.

`version (1) ‖ nonce (24) ‖ commitment (32) ‖ XChaCha20-Poly1305 ciphertext (n + 16)`, where
`encryption key (32) ‖ commitment (32) = BLAKE2b-512(key=parent, person=purpose, data=nonce ‖ context)`.

Invariants:
- the length is checked first, the commitment second and in constant time, the AEAD last;
- XChaCha20-Poly1305 alone does not commit to its key: a ciphertext can be built that opens under two. The
  commitment makes that a collision of BLAKE2b-512;
- a wrong key or place is `KeyMismatch`, damaged bytes are `Damaged`: the two are never confused.
"""

from __future__ import annotations

from typing import Final

import nacl.bindings
import nacl.utils
from nacl.exceptions import CryptoError

from keys.digest import blake2b
from keys.errors import Damaged, KeyMismatch, Malformed
from keys.secret import Secret

VERSION: Final = 1
NONCE_BYTES: Final = 24
COMMITMENT_BYTES: Final = 32
TAG_BYTES: Final = 16
OVERHEAD_BYTES: Final = 1 + NONCE_BYTES + COMMITMENT_BYTES + TAG_BYTES

_NONCE: Final = slice(1, 1 + NONCE_BYTES)
_COMMITMENT: Final = slice(_NONCE.stop, _NONCE.stop + COMMITMENT_BYTES)


def seal(plaintext: bytes, under: Secret, *, person: bytes, context: bytes) -> bytes:
    """Seal `plaintext`; the result is `OVERHEAD_BYTES` longer."""
    return seal_with_nonce(
        plaintext,
        under,
        person=person,
        context=context,
        nonce=nacl.utils.random(NONCE_BYTES),
    )


def seal_with_nonce(plaintext: bytes, under: Secret, *, person: bytes, context: bytes, nonce: bytes) -> bytes:
    """`seal` with a given nonce, for test vectors. A nonce must never be used twice under one key."""
    key, commitment = _derive(under, person=person, context=context, nonce=nonce)
    body = nacl.bindings.crypto_aead_xchacha20poly1305_ietf_encrypt(plaintext, context, nonce, key)
    return bytes((VERSION,)) + nonce + commitment + body


def unseal(sealed: bytes, under: Secret, *, person: bytes, context: bytes) -> bytes:
    """Open what `seal` made; raises `Malformed`, `KeyMismatch` or `Damaged`."""
    if len(sealed) < OVERHEAD_BYTES or sealed[0] != VERSION:
        raise Malformed("not a sealed value of a known version")
    nonce = sealed[_NONCE]
    key, commitment = _derive(under, person=person, context=context, nonce=nonce)
    if not nacl.bindings.sodium_memcmp(commitment, sealed[_COMMITMENT]):
        raise KeyMismatch(f"sealed under another {under.purpose}, or for another place")
    try:
        return nacl.bindings.crypto_aead_xchacha20poly1305_ietf_decrypt(
            sealed[_COMMITMENT.stop :],
            context,
            nonce,
            key,
        )
    except CryptoError:
        raise Damaged("the sealed value was altered") from None


def _derive(under: Secret, *, person: bytes, context: bytes, nonce: bytes) -> tuple[bytes, bytes]:
    out = blake2b(nonce + context, key=under.reveal(to="blake2b"), person=person, size_bytes=64)
    return out[:32], out[32:]
