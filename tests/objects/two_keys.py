"""One AES-GCM ciphertext that is authentic under two keys (Dodis, Grubbs, Ristenpart, Woodage: CRYPTO 2018).

GCM's tag is GHASH(H, C ‖ lengths) ⊕ E(K, J0) (NIST SP 800-38D, section 7.1), linear in each block of C over
GF(2^128). So all blocks but one may be chosen, and the last one solves "the tag under the first key equals the
tag under the second".
"""

from __future__ import annotations

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

_ONE = 1 << 127  # bit 0 of a GCM block is its most significant one
_POLYNOMIAL = 0xE1 << 120


def multiply(x: int, y: int) -> int:
    """Return x · y in GCM's GF(2^128)."""
    product = 0
    for bit in range(127, -1, -1):
        if x >> bit & 1:
            product ^= y
        y = y >> 1 ^ (_POLYNOMIAL if y & 1 else 0)
    return product


def power(x: int, exponent: int) -> int:
    """Return x to the power of `exponent`."""
    result = _ONE
    while exponent:
        if exponent & 1:
            result = multiply(result, x)
        x = multiply(x, x)
        exponent >>= 1
    return result


def block(key: bytes, data: bytes) -> int:
    """AES of one block, as a number."""
    encryptor = Cipher(algorithms.AES(key), modes.ECB()).encryptor()  # noqa: S305 - the block cipher itself
    return int.from_bytes(encryptor.update(data), "big")


def two_key_ciphertext(
    first: tuple[bytes, bytes], second: tuple[bytes, bytes], *, blocks: list[int]
) -> bytes:
    """Ciphertext and tag that open under both (key, nonce) pairs: `blocks`, and one block more."""
    lengths = (len(blocks) + 1) * 128
    # tag = Σ block_i · H^(n+1-i) ⊕ lengths · H ⊕ E(K, J0); the free block is the last, with factor H².
    constant, factor = 0, 0
    for key, nonce in (first, second):
        h = block(key, bytes(16))
        for place, value in enumerate(reversed(blocks)):
            constant ^= multiply(value, power(h, place + 3))
        constant ^= multiply(lengths, h) ^ block(key, nonce + b"\0\0\0\1")
        factor ^= multiply(h, h)
    solved = multiply(constant, power(factor, (1 << 128) - 2))
    key, nonce = first
    h = block(key, bytes(16))
    tag = multiply(lengths, h) ^ block(key, nonce + b"\0\0\0\1")
    for place, value in enumerate(reversed([*blocks, solved])):
        tag ^= multiply(value, power(h, place + 2))
    return b"".join(value.to_bytes(16, "big") for value in (*blocks, solved, tag))
