"""Sealed values and wraps: what opens, and by which name everything else is refused."""

from __future__ import annotations

import nacl.bindings
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keys import contexts
from keys.digest import blake2b
from keys.errors import Damaged, KeyMismatch, KeysError, Malformed
from keys.seal import OVERHEAD_BYTES, seal, seal_with_nonce, unseal
from keys.secret import MasterHalf, MasterKey, PatientKey, RecordingKey
from keys.wrap import WRAP_BYTES, unwrap, wrap

KEY = RecordingKey(bytes(range(32)))
OTHER = RecordingKey(bytes(range(1, 33)))
PERSON, CONTEXT = contexts.PERSON_METADATA, b"where it stands"


def refusal_of(sealed: bytes, *, under: RecordingKey = KEY, context: bytes = CONTEXT) -> type[KeysError]:
    with pytest.raises(KeysError) as refusal:
        unseal(sealed, under, person=PERSON, context=context)
    return type(refusal.value)


@given(plain=st.binary(max_size=600), context=st.binary(max_size=100))
def test_it_opens_what_it_sealed(plain: bytes, context: bytes) -> None:
    sealed = seal(plain, KEY, person=PERSON, context=context)
    assert len(sealed) == len(plain) + OVERHEAD_BYTES
    assert plain == unseal(sealed, KEY, person=PERSON, context=context)


def test_two_seals_of_the_same_differ() -> None:
    sealed = {seal(b"same", KEY, person=PERSON, context=CONTEXT) for _ in range(200)}
    assert len({each[1:25] for each in sealed}) == 200


@pytest.mark.parametrize("bit", range(8))
def test_every_flipped_bit_has_its_name(bit: int) -> None:
    sealed = seal(b"a title", KEY, person=PERSON, context=CONTEXT)
    for byte in range(len(sealed)):
        turned = bytearray(sealed)
        turned[byte] ^= 1 << bit
        expected = Malformed if byte == 0 else KeyMismatch if byte < 57 else Damaged
        assert refusal_of(bytes(turned)) is expected, byte


def test_every_length_has_its_name() -> None:
    sealed = seal(b"a title", KEY, person=PERSON, context=CONTEXT)
    for size in range(len(sealed)):
        assert refusal_of(sealed[:size]) is (Malformed if size < OVERHEAD_BYTES else Damaged), size
    assert refusal_of(sealed + b"\0") is Damaged


@pytest.mark.parametrize("version", [0, 2, 255])
def test_another_version_is_malformed_before_anything_else(version: int) -> None:
    sealed = seal(b"a title", KEY, person=PERSON, context=CONTEXT)
    assert refusal_of(bytes((version,)) + sealed[1:], under=OTHER) is Malformed


def test_another_key_context_or_purpose_is_a_mismatch() -> None:
    sealed = seal(b"a title", KEY, person=PERSON, context=CONTEXT)
    assert refusal_of(sealed, under=OTHER) is KeyMismatch
    assert refusal_of(sealed, context=b"") is KeyMismatch
    assert refusal_of(sealed, context=CONTEXT + b"\0") is KeyMismatch
    with pytest.raises(KeyMismatch):
        unseal(sealed, KEY, person=contexts.PERSON_WRAP, context=CONTEXT)


def test_a_mismatch_wins_over_damage() -> None:
    """The commitment is compared first: somebody else's damaged bytes are still somebody else's."""
    sealed = bytearray(seal(b"a title", KEY, person=PERSON, context=CONTEXT))
    sealed[-1] ^= 1
    assert refusal_of(bytes(sealed), under=OTHER) is KeyMismatch


def test_one_ciphertext_under_two_keys_opens_for_neither_but_its_own() -> None:
    """Without the commitment a Poly1305 ciphertext can be made that opens under two keys; with it, under one."""
    nonce = bytes(24)
    keys = [
        blake2b(nonce + CONTEXT, key=each.reveal(to="test"), person=PERSON, size_bytes=64)
        for each in (KEY, OTHER)
    ]
    body = two_key_xchacha(keys[0][:32], keys[1][:32], nonce=nonce, aad=CONTEXT)
    opened = [
        nacl.bindings.crypto_aead_xchacha20poly1305_ietf_decrypt(body, CONTEXT, nonce, each[:32])
        for each in keys
    ]
    assert opened[0] != opened[1]

    committed = b"\x01" + nonce + keys[0][32:] + body
    assert unseal(committed, KEY, person=PERSON, context=CONTEXT) == opened[0]
    assert refusal_of(committed, under=OTHER) is KeyMismatch


def two_key_xchacha(first: bytes, second: bytes, *, nonce: bytes, aad: bytes) -> bytes:
    """A ciphertext that XChaCha20-Poly1305 opens under both keys: Poly1305 is linear in the ciphertext.

    With two blocks c0, c1 and a tag, each key asks for one equation modulo 2^130 - 5; c0 is searched until the
    solution c1 is a block of 16 bytes and both tags agree modulo 2^128.
    """
    prime = (1 << 130) - 5
    one_time = [_poly_key(key, nonce) for key in (first, second)]
    (r, s), (u, v) = one_time
    blocks_aad = [aad[at : at + 16].ljust(16, b"\0") for at in range(0, len(aad), 16)]
    lengths = len(aad).to_bytes(8, "little") + (32).to_bytes(8, "little")
    # Powers of the accumulator: the blocks of aad, then c0, c1, then the lengths.
    known = [*(_block(each) for each in blocks_aad), None, None, _block(lengths)]
    count = len(known)
    for c0 in range(1 << 20):
        filled = [*known]
        filled[-3] = _block(c0.to_bytes(16, "little"))
        sides = []
        for point, pad in ((r, s), (u, v)):
            total = sum(
                each * pow(point, count - at, prime) for at, each in enumerate(filled) if each is not None
            )
            sides.append((total, pow(point, 2, prime), pad))
        # tag = acc + pad (mod 2^128): try the few ways in which the reductions can differ.
        for lift in range(-4, 5):
            difference = sides[1][0] - sides[0][0] + sides[1][2] - sides[0][2] + lift * (1 << 128)
            c1 = difference * pow(sides[0][1] - sides[1][1], -1, prime) % prime - (1 << 128)
            if not 0 <= c1 < 1 << 128:
                continue
            tags = {
                ((total + (c1 + (1 << 128)) * square) % prime + pad) % (1 << 128)
                for total, square, pad in sides
            }
            if len(tags) == 1:
                return (
                    c0.to_bytes(16, "little") + c1.to_bytes(16, "little") + tags.pop().to_bytes(16, "little")
                )
    raise AssertionError("no such ciphertext was found")


def _block(data: bytes) -> int:
    return int.from_bytes(data + b"\1", "little")


def _poly_key(key: bytes, nonce: bytes) -> tuple[int, int]:
    """The one-time key of Poly1305: the first block of the key stream (RFC 8439, section 2.6)."""
    subkey = _hchacha20(key, nonce[:16])
    stream = _chacha20_block(subkey, bytes(4) + nonce[16:])
    r = int.from_bytes(stream[:16], "little") & 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF
    return r, int.from_bytes(stream[16:32], "little")


def _rounds(state: list[int]) -> list[int]:
    x = list(state)
    columns = ((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15))
    diagonals = ((0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14))
    for _ in range(10):
        for a, b, c, d in columns + diagonals:
            for one, two, three, turn in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
                x[one] = (x[one] + x[two]) & 0xFFFFFFFF
                mixed = x[three] ^ x[one]
                x[three] = (mixed << turn | mixed >> 32 - turn) & 0xFFFFFFFF
    return x


def _words(data: bytes) -> list[int]:
    return [int.from_bytes(data[at : at + 4], "little") for at in range(0, len(data), 4)]


def _bytes(words: list[int]) -> bytes:
    return b"".join(each.to_bytes(4, "little") for each in words)


def _hchacha20(key: bytes, nonce: bytes) -> bytes:
    x = _rounds(_words(b"expand 32-byte k" + key + nonce))
    return _bytes(x[:4] + x[12:])


def _chacha20_block(key: bytes, nonce: bytes) -> bytes:
    state = _words(b"expand 32-byte k" + key + bytes(4) + nonce)
    return _bytes([(a + b) & 0xFFFFFFFF for a, b in zip(state, _rounds(state), strict=True)])


class TestWrap:
    """A wrap holds one key of one kind."""

    def test_it_has_105_bytes_and_opens(self) -> None:
        child = PatientKey.generate()
        wrapped = wrap(child, MasterKey(bytes(32)), context=CONTEXT)
        assert len(wrapped) == WRAP_BYTES == 105
        opened = unwrap(wrapped, MasterKey(bytes(32)), context=CONTEXT, kind=PatientKey)
        assert opened.reveal(to="test") == child.reveal(to="test")

    def test_it_takes_the_kind_that_is_asked_for(self) -> None:
        wrapped = wrap(MasterHalf.generate(), KEY, context=CONTEXT)
        assert type(unwrap(wrapped, KEY, context=CONTEXT, kind=MasterHalf)) is MasterHalf

    @pytest.mark.parametrize("size", [0, 1, 72, 73, 104, 106, 210])
    def test_another_length_is_malformed(self, size: int) -> None:
        data = (wrap(KEY, OTHER, context=CONTEXT) * 2)[:size]
        with pytest.raises(Malformed):
            unwrap(data, OTHER, context=CONTEXT, kind=RecordingKey)

    def test_a_sealed_value_of_32_bytes_for_another_purpose_is_no_wrap(self) -> None:
        sealed = seal(bytes(32), KEY, person=PERSON, context=CONTEXT)
        assert len(sealed) == WRAP_BYTES
        with pytest.raises(KeyMismatch):
            unwrap(sealed, KEY, context=CONTEXT, kind=RecordingKey)


def test_a_given_nonce_gives_given_bytes() -> None:
    one, two = (seal_with_nonce(b"x", KEY, person=PERSON, context=CONTEXT, nonce=bytes(24)) for _ in range(2))
    assert one == two
