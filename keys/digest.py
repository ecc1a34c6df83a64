"""Keyed and personalised BLAKE2b (RFC 7693) by libsodium; one place, so that no call forgets its purpose."""

from __future__ import annotations

import nacl.encoding
import nacl.hash


def blake2b(data: bytes, *, person: bytes, size_bytes: int, key: bytes = b"") -> bytes:
    """BLAKE2b of `data`, `size_bytes` long, under `key` if given, for the purpose `person` (16 bytes)."""
    return nacl.hash.blake2b(
        data,
        digest_size=size_bytes,
        key=key,
        person=person,
        encoder=nacl.encoding.RawEncoder,
    )
