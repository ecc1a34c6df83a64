"""The sealed object: its 128-byte header, and the arithmetic between plaintext and ciphertext offsets.

Bytes 72… of an object are exactly one message of C2SP chunked-encryption, instantiation Cobblestone-256
(c2sp.org/chunked-encryption): salt ‖ commitment ‖ chunks. A chunk holds 16 384 bytes of plaintext and the last
one, which is always shorter, 0 to 16 383: a plaintext that is an exact multiple ends in an empty chunk.

Invariants:
- `Header.parse` takes what `Header.pack` makes and refuses everything else;
- every plaintext size has exactly one ciphertext size; a ciphertext that ends on a chunk boundary is truncated;
- "plain" and "cipher" stand in the name of every offset; cipher offsets count from the object's first byte.
"""

from __future__ import annotations

import struct
import uuid
from dataclasses import dataclass
from typing import Final, Self

from keys.ids import FileId, KeyId, RecordingId
from vault.objects.errors import DamagedObject, MalformedObject

# The first byte is not ASCII, the line ends catch text-mode transfers: the reasons of PNG's signature.
MAGIC: Final = b"\x89RVM\r\n\x1a\n"
FORMAT_VERSION: Final = 1
SUITE_COBBLESTONE_256: Final = 1
CHUNK_BITS: Final = 14

HEADER_BYTES: Final = 128
# What the key commitment binds; the rest of the header is the salt and the commitment itself.
HEADER_PREFIX_BYTES: Final = 72
SALT_BYTES: Final = 24
COMMITMENT_BYTES: Final = 32
TAG_BYTES: Final = 16
CHUNK_BYTES: Final = 1 << CHUNK_BITS
SEALED_CHUNK_BYTES: Final = CHUNK_BYTES + TAG_BYTES
# "the message MUST NOT exceed 2^38 chunks (4 PiB)", C2SP chunked-encryption, message chunking.
MAX_CHUNKS: Final = 1 << 38
# An upload part is whole chunks, 8 396 800 bytes; the header travels in part 1. S3 asks for 5 MiB or more.
PART_CHUNKS: Final = 512

_FIXED: Final = MAGIC + struct.pack(
    ">BBBBI", FORMAT_VERSION, SUITE_COBBLESTONE_256, CHUNK_BITS, 0, HEADER_BYTES
)
_LAYOUT: Final = struct.Struct(">16s16s16s16s8s24s32s")
_RESERVED: Final = bytes(8)


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """The first 128 bytes of an object. Nothing in it is secret, and nothing in it is to be believed unopened."""

    recording_id: RecordingId
    file_id: FileId
    key_id: KeyId
    salt: bytes
    commitment: bytes

    def __post_init__(self) -> None:
        if len(self.salt) != SALT_BYTES or len(self.commitment) != COMMITMENT_BYTES:
            raise MalformedObject("a header has a salt of 24 bytes and a commitment of 32")

    def pack(self) -> bytes:
        """The 128 bytes of FORMATS, section 1."""
        prefix = header_prefix(recording_id=self.recording_id, file_id=self.file_id, key_id=self.key_id)
        return prefix + self.salt + self.commitment

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """The header in `data`; raises `MalformedObject` unless `data` is exactly one header of this version."""
        if len(data) != HEADER_BYTES:
            raise MalformedObject(f"a header has {HEADER_BYTES} bytes")
        fixed, recording, file, key, reserved, salt, commitment = _LAYOUT.unpack(data)
        if fixed != _FIXED or reserved != _RESERVED:
            raise MalformedObject("not a sealed object of a known version")
        return cls(
            recording_id=RecordingId(uuid.UUID(bytes=recording)),
            file_id=FileId(uuid.UUID(bytes=file)),
            key_id=KeyId(uuid.UUID(bytes=key)),
            salt=salt,
            commitment=commitment,
        )


def header_prefix(*, recording_id: RecordingId, file_id: FileId, key_id: KeyId) -> bytes:
    """The first 72 bytes of a header: the part that goes into the key derivation's context."""
    return _FIXED + recording_id.bytes + file_id.bytes + key_id.bytes + _RESERVED


@dataclass(frozen=True, slots=True, kw_only=True)
class FileFacts:
    """What must be remembered of a sealed file, in an authenticated place, to read it with one request."""

    role: str
    header: Header
    plain_size_bytes: int

    def __post_init__(self) -> None:
        cipher_size_bytes(self.plain_size_bytes)

    @property
    def file_id(self) -> FileId:
        """The file's id, as its header says."""
        return self.header.file_id

    @property
    def cipher_size_bytes(self) -> int:
        """Size of the whole object, header included."""
        return cipher_size_bytes(self.plain_size_bytes)


def chunk_count(plain_size_bytes: int) -> int:
    """Number of chunks of a plaintext, the short last one included; raises `ValueError` out of bounds."""
    count = plain_size_bytes // CHUNK_BYTES + 1
    if not 1 <= count <= MAX_CHUNKS:
        raise ValueError(f"a plaintext has 0 to {MAX_CHUNKS * CHUNK_BYTES - 1} bytes")
    return count


def cipher_size_bytes(plain_size_bytes: int) -> int:
    """Size of the object that seals `plain_size_bytes` bytes; raises `ValueError` out of bounds."""
    return HEADER_BYTES + plain_size_bytes + TAG_BYTES * chunk_count(plain_size_bytes)


def plain_size_bytes(cipher_size_bytes: int) -> int:
    """Size of the plaintext in an object of `cipher_size_bytes` bytes; raises `DamagedObject` for impossible sizes.

    Sizes of the form 128 + k·16 400 are truncations at a chunk boundary (the last chunk is missing), and sizes
    less than a tag above them cut the last chunk short. A possible size is authentic only once the last chunk
    has been opened.
    """
    full, rest = divmod(cipher_size_bytes - HEADER_BYTES, SEALED_CHUNK_BYTES)
    if full < 0 or rest < TAG_BYTES:
        raise DamagedObject("the object is truncated: no sealed object has this size")
    if full >= MAX_CHUNKS:
        raise DamagedObject("the object is larger than a sealed object can be")
    return full * CHUNK_BYTES + rest - TAG_BYTES


def chunk_cipher_offset(index: int) -> int:
    """Where chunk `index` begins in the object."""
    return HEADER_BYTES + index * SEALED_CHUNK_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkRange:
    """The whole chunks that cover a plaintext range; `lead_bytes` of their plaintext come before it."""

    first_index: int
    last_index: int
    first_cipher_byte: int
    last_cipher_byte: int
    lead_bytes: int

    @property
    def cipher_bytes(self) -> int:
        """How many bytes of the object that is."""
        return self.last_cipher_byte - self.first_cipher_byte + 1


def chunk_range(*, first_plain_byte: int, last_plain_byte: int, plain_size_bytes: int) -> ChunkRange:
    """The chunks to fetch for plaintext bytes `first_plain_byte` to `last_plain_byte`, both included.

    A range that reaches the end of the plaintext includes the last chunk even where that one is empty, so that
    the end is authenticated with it. Raises `ValueError` for a range that is not inside the plaintext.
    """
    if not 0 <= first_plain_byte <= last_plain_byte < plain_size_bytes:
        raise ValueError("the range is not inside the plaintext")
    reaches_end = last_plain_byte == plain_size_bytes - 1
    last_index = plain_size_bytes // CHUNK_BYTES if reaches_end else last_plain_byte // CHUNK_BYTES
    return _chunks(
        first_index=first_plain_byte // CHUNK_BYTES,
        last_index=last_index,
        lead_bytes=first_plain_byte % CHUNK_BYTES,
        plain_size_bytes=plain_size_bytes,
    )


def last_chunk(plain_size_bytes: int) -> ChunkRange:
    """The last chunk alone: opening it authenticates the size."""
    index = chunk_count(plain_size_bytes) - 1
    return _chunks(first_index=index, last_index=index, lead_bytes=0, plain_size_bytes=plain_size_bytes)


def _chunks(*, first_index: int, last_index: int, lead_bytes: int, plain_size_bytes: int) -> ChunkRange:
    end = min(chunk_cipher_offset(last_index + 1), cipher_size_bytes(plain_size_bytes))
    return ChunkRange(
        first_index=first_index,
        last_index=last_index,
        first_cipher_byte=chunk_cipher_offset(first_index),
        last_cipher_byte=end - 1,
        lead_bytes=lead_bytes,
    )
