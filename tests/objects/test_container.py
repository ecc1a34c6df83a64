"""Header and offset arithmetic, at every edge."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from keys.ids import new_file_id
from tests.objects.sealing import EDGES, C, fixed_access
from vault.objects.cipher import FileCipher
from vault.objects.container import (
    HEADER_BYTES,
    MAX_CHUNKS,
    SEALED_CHUNK_BYTES,
    Header,
    chunk_cipher_offset,
    chunk_count,
    chunk_range,
    cipher_size_bytes,
    last_chunk,
    plain_size_bytes,
)
from vault.objects.errors import DamagedObject, MalformedObject

SIZES = st.integers(min_value=0, max_value=5 * C) | st.integers(min_value=0, max_value=MAX_CHUNKS * C - 1)


def a_header() -> Header:
    return FileCipher.with_salt(
        bytes(range(24)), access=fixed_access(), role="original", file_id=new_file_id()
    ).header


def test_the_header_has_the_published_layout() -> None:
    header = a_header()
    data = header.pack()
    assert data[:16].hex() == "8952564d0d0a1a0a" + "01" + "01" + "0e" + "00" + "00000080"
    assert data[16:32] == header.recording_id.bytes
    assert data[32:48] == header.file_id.bytes
    assert data[48:64] == header.key_id.bytes
    assert data[64:72] == bytes(8)
    assert data[72:96] == header.salt
    assert data[96:] == header.commitment
    assert len(data) == HEADER_BYTES
    assert Header.parse(data) == header


@pytest.mark.parametrize("bit", [*range(16 * 8), *range(64 * 8, 72 * 8)])
def test_each_bit_of_the_fixed_and_reserved_fields_is_checked(bit: int) -> None:
    data = bytearray(a_header().pack())
    data[bit // 8] ^= 0x80 >> bit % 8
    with pytest.raises(MalformedObject):
        Header.parse(bytes(data))


@pytest.mark.parametrize("size", [0, 1, 127, 129, 256])
def test_a_header_of_another_length_is_refused(size: int) -> None:
    with pytest.raises(MalformedObject):
        Header.parse((a_header().pack() * 2)[:size])


@pytest.mark.parametrize(("salt", "commitment"), [(23, 32), (25, 32), (24, 31), (24, 33)])
def test_a_header_cannot_be_made_with_other_lengths(salt: int, commitment: int) -> None:
    header = a_header()
    with pytest.raises(MalformedObject):
        Header(
            recording_id=header.recording_id,
            file_id=header.file_id,
            key_id=header.key_id,
            salt=bytes(salt),
            commitment=bytes(commitment),
        )


@pytest.mark.parametrize(
    ("plain", "cipher"),
    [
        (0, 144),
        (1, 145),
        (C - 1, 128 + 16_399),
        (C, 128 + 16_400 + 16),
        (C + 1, 128 + 16_400 + 17),
        (2 * C, 128 + 32_800 + 16),
    ],
)
def test_sizes(plain: int, cipher: int) -> None:
    assert cipher_size_bytes(plain) == cipher
    assert plain_size_bytes(cipher) == plain


@given(plain=SIZES)
def test_every_plaintext_size_comes_back(plain: int) -> None:
    assert plain_size_bytes(cipher_size_bytes(plain)) == plain


@given(cipher=st.integers(min_value=-1, max_value=HEADER_BYTES + 4 * SEALED_CHUNK_BYTES))
@example(cipher=HEADER_BYTES)
@example(cipher=HEADER_BYTES + SEALED_CHUNK_BYTES)
@example(cipher=HEADER_BYTES + SEALED_CHUNK_BYTES + 15)
def test_a_ciphertext_size_is_that_of_one_plaintext_or_refused(cipher: int) -> None:
    try:
        plain = plain_size_bytes(cipher)
    except DamagedObject:
        tail = (cipher - HEADER_BYTES) % SEALED_CHUNK_BYTES
        assert cipher < HEADER_BYTES or tail < 16
    else:
        assert cipher_size_bytes(plain) == cipher


def test_sizes_out_of_bounds_are_refused() -> None:
    assert chunk_count(MAX_CHUNKS * C - 1) == MAX_CHUNKS
    for size in (-1, MAX_CHUNKS * C):
        with pytest.raises(ValueError, match="bytes"):
            cipher_size_bytes(size)
    with pytest.raises(DamagedObject):
        plain_size_bytes(HEADER_BYTES + MAX_CHUNKS * SEALED_CHUNK_BYTES + 16)


@given(data=st.data(), size=st.integers(min_value=1, max_value=6 * C))
def test_a_range_covers_its_plaintext_with_whole_chunks_and_no_more(data: st.DataObject, size: int) -> None:
    first = data.draw(st.integers(min_value=0, max_value=size - 1))
    last = data.draw(st.integers(min_value=first, max_value=size - 1))
    chunks = chunk_range(first_plain_byte=first, last_plain_byte=last, plain_size_bytes=size)
    assert chunks.first_index * C + chunks.lead_bytes == first
    assert 0 <= chunks.lead_bytes < C
    assert chunks.first_cipher_byte == chunk_cipher_offset(chunks.first_index)
    end = chunks.last_cipher_byte + 1
    assert end == min(chunk_cipher_offset(chunks.last_index + 1), cipher_size_bytes(size))
    assert chunks.cipher_bytes == end - chunks.first_cipher_byte
    is_end = last == size - 1
    assert chunks.last_index == (chunk_count(size) - 1 if is_end else last // C)


@pytest.mark.parametrize(("first", "last"), [(-1, 0), (0, 10), (10, 10), (5, 4)])
def test_a_range_outside_the_plaintext_is_refused(first: int, last: int) -> None:
    with pytest.raises(ValueError, match="range"):
        chunk_range(first_plain_byte=first, last_plain_byte=last, plain_size_bytes=10)


@pytest.mark.parametrize("size", EDGES)
def test_the_last_chunk_ends_the_object(size: int) -> None:
    chunks = last_chunk(size)
    assert chunks.last_cipher_byte + 1 == cipher_size_bytes(size)
    assert chunks.cipher_bytes == size % C + 16


@given(data=st.binary(max_size=300))
def test_parsing_anything_raises_nothing_but_our_error(data: bytes) -> None:
    with pytest.raises(MalformedObject):
        Header.parse(data)
