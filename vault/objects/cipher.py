"""The keys of one file, and its chunks: C2SP chunked-encryption, instantiation Cobblestone-256.

`key (32) ‖ base nonce (12) ‖ commitment (32) = HKDF-Expand-SHA512(prk=recording key, info=…)`, and chunk k is
AES-256-GCM under the base nonce XOR k, with no associated data.

Invariants:
- the commitment is compared in constant time before any chunk is opened: a wrong key, patient, role or file is
  `KeyMismatch`, a chunk that fails after that is `DamagedObject`, and the two are never confused;
- a `FileSealer` seals chunk 0, 1, 2 … once each and then its last one: it cannot be resumed, rewound or made for
  an existing file, so that no nonce meets two plaintexts;
- the derived key never leaves its object; no plaintext of a chunk that fails is returned.
"""

from __future__ import annotations

import hmac
import os
from typing import Final, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from cryptography.utils import Buffer

from keys.contexts import file_context
from keys.errors import KeyMismatch
from keys.ids import FileId, new_file_id
from vault.objects.access import RecordingAccess
from vault.objects.container import (
    CHUNK_BYTES,
    COMMITMENT_BYTES,
    MAX_CHUNKS,
    SALT_BYTES,
    SEALED_CHUNK_BYTES,
    TAG_BYTES,
    Header,
    header_prefix,
)
from vault.objects.errors import DamagedObject, WrongChunk

_INFO: Final = b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\0"
_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12


class FileCipher:
    """Opens the chunks of one file, in any order and any number of times."""

    __slots__ = ("_aead", "_base_nonce", "header")

    def __init__(self, header: Header, *, aead: AESGCM, base_nonce: int) -> None:
        self.header = header
        self._aead = aead
        self._base_nonce = base_nonce

    @classmethod
    def open(cls, header: Header, *, access: RecordingAccess, role: str) -> Self:
        """The cipher of the file that `header` begins; raises `KeyMismatch`.

        The header's ids must be those of `access`: an object of another recording is refused before any
        derivation, as another key is refused after it.
        """
        if header.recording_id != access.recording_id or header.key_id != access.key_id:
            raise KeyMismatch("the object belongs to another recording, or is sealed under another key")
        aead, base_nonce, commitment = _derive(access, role=role, file_id=header.file_id, salt=header.salt)
        if not hmac.compare_digest(commitment, header.commitment):
            raise KeyMismatch("the object is sealed under another key, or for another patient, role or file")
        return cls(header, aead=aead, base_nonce=base_nonce)

    @staticmethod
    def seal(access: RecordingAccess, *, role: str) -> FileSealer:
        """A sealer for a new file, with a file id and a salt of its own."""
        return FileCipher.with_salt(os.urandom(SALT_BYTES), access=access, role=role, file_id=new_file_id())

    @staticmethod
    def with_salt(salt: bytes, *, access: RecordingAccess, role: str, file_id: FileId) -> FileSealer:
        """`seal` with a given salt and file id, for test vectors alone.

        Two sealers of the same salt, file id, role and access share key and nonces: using both on different
        plaintexts gives the difference of the plaintexts and the authentication key away.
        """
        aead, base_nonce, commitment = _derive(access, role=role, file_id=file_id, salt=salt)
        header = Header(
            recording_id=access.recording_id,
            file_id=file_id,
            key_id=access.key_id,
            salt=salt,
            commitment=commitment,
        )
        return FileSealer(header, aead=aead, base_nonce=base_nonce)

    def open_chunk(self, sealed: Buffer, *, index: int) -> bytes:
        """The plaintext of chunk `index`; raises `DamagedObject`."""
        return bytes(self.open_chunks(sealed, first_index=index))

    def open_chunks(self, sealed: Buffer, *, first_index: int) -> bytearray:
        """The plaintext of consecutive whole chunks from `first_index` on, all of them verified.

        Only the file's last chunk may be short, and it must stand last in `sealed`. Whether that was the last
        chunk that the file has is for the caller to know from an authenticated size. Raises `DamagedObject`.
        """
        cipher = memoryview(sealed)
        count, plain_bytes = _shape(len(cipher), first_index=first_index)
        out = bytearray(plain_bytes)
        plain = memoryview(out)
        decrypt_into, base_nonce = self._aead.decrypt_into, self._base_nonce
        index = first_index
        try:
            for index in range(first_index, first_index + count):
                at = index - first_index
                decrypt_into(
                    (base_nonce ^ index).to_bytes(_NONCE_BYTES, "big"),
                    cipher[at * SEALED_CHUNK_BYTES : (at + 1) * SEALED_CHUNK_BYTES],
                    None,
                    plain[at * CHUNK_BYTES : (at + 1) * CHUNK_BYTES],
                )
        except InvalidTag:
            raise DamagedObject(f"chunk {index} is not authentic") from None
        return out

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of file {self.header.file_id}>"


class FileSealer:
    """Seals the chunks of one new file, each exactly once and in order."""

    __slots__ = ("_aead", "_base_nonce", "_ended", "_next_index", "header")

    def __init__(self, header: Header, *, aead: AESGCM, base_nonce: int) -> None:
        self.header = header
        self._aead = aead
        self._base_nonce = base_nonce
        self._next_index = 0
        self._ended = False

    def seal_chunk(self, plain: Buffer, *, index: int, final: bool) -> bytes:
        """Chunk `index` sealed: 16 bytes longer than `plain`.

        Chunks come in order, each once. All but the final one have 16 384 bytes, the final one fewer, perhaps
        none. Raises `WrongChunk` for anything else.
        """
        return self._aead.encrypt(self._claim(plain, index=index, final=final), plain, None)

    def seal_chunk_into(self, out: Buffer, *, plain: Buffer, index: int, final: bool) -> int:
        """`seal_chunk` into `out`, which is exactly 16 bytes longer than `plain`; returns the bytes written."""
        return self._aead.encrypt_into(self._claim(plain, index=index, final=final), plain, None, out)

    def _claim(self, plain: Buffer, *, index: int, final: bool) -> bytes:
        """The nonce of chunk `index`, given out once."""
        size_bytes = memoryview(plain).nbytes
        is_short = size_bytes < CHUNK_BYTES
        if size_bytes > CHUNK_BYTES or is_short is not final:
            raise WrongChunk("all chunks but the final one have 16384 bytes, and the final one has fewer")
        if self._ended or index != self._next_index or index >= MAX_CHUNKS:
            raise WrongChunk("chunks are sealed once each and in order, and none after the final one")
        # Claimed before the nonce is used: a failure in between must not leave the index free again.
        self._next_index += 1
        self._ended = final
        return (self._base_nonce ^ index).to_bytes(_NONCE_BYTES, "big")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of file {self.header.file_id}>"


def _derive(access: RecordingAccess, *, role: str, file_id: FileId, salt: bytes) -> tuple[AESGCM, int, bytes]:
    prefix = header_prefix(recording_id=access.recording_id, file_id=file_id, key_id=access.key_id)
    context = file_context(header_prefix=prefix, tenant=access.tenant, patient=access.patient, role=role)
    size_bytes = _KEY_BYTES + _NONCE_BYTES + COMMITMENT_BYTES
    hkdf = HKDFExpand(algorithm=SHA512(), length=size_bytes, info=_INFO + salt + context)
    out = hkdf.derive(access.key.reveal(to="hkdf-expand-sha512"))
    base_nonce = int.from_bytes(out[_KEY_BYTES : _KEY_BYTES + _NONCE_BYTES], "big")
    return AESGCM(out[:_KEY_BYTES]), base_nonce, out[_KEY_BYTES + _NONCE_BYTES :]


def _shape(cipher_bytes: int, *, first_index: int) -> tuple[int, int]:
    """Number of chunks in `cipher_bytes` bytes of whole chunks, and the size of their plaintext."""
    full, rest = divmod(cipher_bytes, SEALED_CHUNK_BYTES)
    count = full + (rest > 0)
    if count == 0 or 0 < rest < TAG_BYTES:
        raise DamagedObject(f"chunk {first_index + full} is truncated")
    if first_index < 0 or first_index + count > MAX_CHUNKS:
        raise WrongChunk("a file has at most 2^38 chunks")
    return count, cipher_bytes - count * TAG_BYTES
