"""The file cipher against the published oracle, against misplaced and damaged chunks, and against itself."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import hmac
import pickle
import traceback

import pytest
from cryptography.cobblestone import Cobblestone256Decryptor, Cobblestone256Encryptor
from hypothesis import given, settings
from hypothesis import strategies as st

from keys.contexts import file_context
from keys.errors import KeyMismatch
from keys.ids import new_file_id, new_key_id, new_recording_id, parse_patient, parse_tenant
from keys.secret import RecordingKey
from tests.objects.sealing import EDGES, ROLE, C, new_access, noise, seal
from tests.objects.two_keys import two_key_ciphertext
from vault.objects.access import RecordingAccess
from vault.objects.cipher import FileCipher, _derive
from vault.objects.container import (
    HEADER_BYTES,
    HEADER_PREFIX_BYTES,
    MAX_CHUNKS,
    SEALED_CHUNK_BYTES,
    Header,
    header_prefix,
)
from vault.objects.errors import DamagedObject, MalformedObject, WrongChunk


def unseal(data: bytes, access: RecordingAccess, *, role: str = ROLE) -> bytes:
    cipher = FileCipher.open(Header.parse(data[:HEADER_BYTES]), access=access, role=role)
    return bytes(cipher.open_chunks(data[HEADER_BYTES:], first_index=0))


def context_of(prefix: bytes, access: RecordingAccess, *, role: str = ROLE) -> bytes:
    return file_context(header_prefix=prefix, tenant=access.tenant, patient=access.patient, role=role)


class TestOracle:
    """Bytes 72… of an object are one message of `cryptography.cobblestone`, in both directions."""

    @pytest.mark.parametrize("size", EDGES)
    def test_it_opens_what_we_seal(self, size: int) -> None:
        access, plain = new_access(), noise(size)
        sealed = seal(plain, access)
        context = context_of(sealed[:HEADER_PREFIX_BYTES], access)
        decryptor = Cobblestone256Decryptor(access.key.reveal(to="oracle"), context)
        assert decryptor.update(sealed[HEADER_PREFIX_BYTES:]) + decryptor.finalize() == plain

    @pytest.mark.parametrize("size", EDGES)
    def test_we_open_what_it_seals(self, size: int) -> None:
        access, plain, file_id = new_access(), noise(size), new_file_id()
        prefix = header_prefix(recording_id=access.recording_id, file_id=file_id, key_id=access.key_id)
        encryptor = Cobblestone256Encryptor(access.key.reveal(to="oracle"), context_of(prefix, access))
        message = encryptor.update(plain) + encryptor.finalize()
        assert unseal(prefix + message, access) == plain


def test_chunks_open_in_any_order() -> None:
    access, plain = new_access(), noise(3 * C + 5)
    sealed = seal(plain, access)
    cipher = FileCipher.open(Header.parse(sealed[:HEADER_BYTES]), access=access, role=ROLE)
    for index in (3, 1, 2, 0, 1):
        start = HEADER_BYTES + index * SEALED_CHUNK_BYTES
        chunk = sealed[start : start + SEALED_CHUNK_BYTES]
        assert cipher.open_chunk(chunk, index=index) == plain[index * C : (index + 1) * C]


def test_a_new_file_has_an_id_and_a_salt_of_its_own() -> None:
    access = new_access()
    headers = [FileCipher.seal(access, role=ROLE).header for _ in range(200)]
    for values in ({h.file_id for h in headers}, {h.salt for h in headers}, {h.commitment for h in headers}):
        assert len(values) == 200


def test_vectors_can_be_made_with_a_given_salt() -> None:
    access, file_id = new_access(), new_file_id()
    one, two = (
        FileCipher.with_salt(bytes(24), access=access, role=ROLE, file_id=file_id).seal_chunk(
            b"same", index=0, final=True
        )
        for _ in range(2)
    )
    assert one == two


class TestMismatch:
    """Whatever is not the same place or key fails its commitment, before a chunk is touched."""

    def test_each_bit_of_a_header(self) -> None:
        access = new_access()
        sealed = seal(b"words", access)
        for bit in range(HEADER_BYTES * 8):
            flipped = bytearray(sealed)
            flipped[bit // 8] ^= 0x80 >> bit % 8
            is_fixed = bit < 16 * 8 or 64 * 8 <= bit < 72 * 8
            with pytest.raises(MalformedObject if is_fixed else KeyMismatch):
                unseal(bytes(flipped), access)

    def test_another_key_patient_tenant_or_recording(self) -> None:
        access = new_access()
        sealed = seal(b"words", access)
        others = (
            dataclasses.replace(access, key=RecordingKey.generate()),
            dataclasses.replace(access, patient=parse_patient("patient-2")),
            dataclasses.replace(access, tenant=parse_tenant("other")),
            dataclasses.replace(access, recording_id=new_recording_id()),
            dataclasses.replace(access, key_id=new_key_id()),
        )
        for other in others:
            with pytest.raises(KeyMismatch):
                unseal(sealed, other)

    def test_another_role(self) -> None:
        access = new_access()
        with pytest.raises(KeyMismatch):
            unseal(seal(b"words", access), access, role="360p.mp4")

    def test_fields_do_not_run_into_each_other(self) -> None:
        access = new_access(tenant="ab", patient="c")
        other = dataclasses.replace(access, tenant=parse_tenant("a"), patient=parse_patient("bc"))
        with pytest.raises(KeyMismatch):
            unseal(seal(b"words", access), other)

    def test_one_ciphertext_under_two_keys(self) -> None:
        """THREATS A7: without the commitment it opens for both; with it, for neither but its own."""
        ours = new_access()
        theirs = dataclasses.replace(ours, key=RecordingKey.generate(), patient=parse_patient("patient-2"))
        file_id, salt = new_file_id(), noise(24)
        derived = [_derive(each, role=ROLE, file_id=file_id, salt=salt) for each in (ours, theirs)]
        prefix = header_prefix(recording_id=ours.recording_id, file_id=file_id, key_id=ours.key_id)
        raw = [_raw_key(each, prefix=prefix, salt=salt) for each in (ours, theirs)]
        chunk = two_key_ciphertext(
            raw[0], raw[1], blocks=[int.from_bytes(noise(16, seed=s), "big") for s in (5, 6)]
        )
        sealed = prefix + salt + derived[0][2] + chunk
        header = Header.parse(sealed[:HEADER_BYTES])

        unchecked = [FileCipher(header, aead=aead, base_nonce=nonce) for aead, nonce, _ in derived]
        plain = [cipher.open_chunk(chunk, index=0) for cipher in unchecked]
        assert plain[0] != plain[1]

        assert unseal(sealed, ours) == plain[0]
        with pytest.raises(KeyMismatch):
            unseal(sealed, theirs)


def _raw_key(access: RecordingAccess, *, prefix: bytes, salt: bytes) -> tuple[bytes, bytes]:
    """Key and nonce of chunk 0, derived a second time by RFC 5869, section 2.3, written out."""
    info = b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\0" + salt + context_of(prefix, access)
    key = access.key.reveal(to="reference")
    t1 = hmac.new(key, info + b"\1", hashlib.sha512).digest()
    return t1[:32], t1[32:44]


class TestDamage:
    """THREATS A5: a chunk that was not sealed at this place of this file."""

    plain = noise(4 * C + 100)

    def chunks(self, sealed: bytes) -> list[bytes]:
        body = sealed[HEADER_BYTES:]
        return [body[at : at + SEALED_CHUNK_BYTES] for at in range(0, len(body), SEALED_CHUNK_BYTES)]

    def refused(self, sealed: bytes, chunks: list[bytes], access: RecordingAccess, *, at: int) -> None:
        with pytest.raises(DamagedObject, match=f"chunk {at} "):
            unseal(sealed[:HEADER_BYTES] + b"".join(chunks), access)

    @pytest.mark.parametrize("place", range(5))
    def test_spliced_from_elsewhere(self, place: int) -> None:
        access = new_access()
        sealed = seal(self.plain, access)
        donors = (
            seal(self.plain, access),  # another file of the same recording and role
            seal(self.plain, access, role="360p.mp4"),
            seal(self.plain, dataclasses.replace(access, patient=parse_patient("patient-2"))),
            seal(self.plain, dataclasses.replace(access, recording_id=new_recording_id())),
            seal(self.plain, dataclasses.replace(access, key=RecordingKey.generate())),
        )
        for donor in donors:
            chunks = self.chunks(sealed)
            chunks[place] = self.chunks(donor)[place]
            self.refused(sealed, chunks, access, at=place)

    def test_swapped(self) -> None:
        access = new_access()
        sealed = seal(self.plain, access)
        chunks = self.chunks(sealed)
        chunks[1], chunks[2] = chunks[2], chunks[1]
        self.refused(sealed, chunks, access, at=1)

    def test_duplicated(self) -> None:
        access = new_access()
        sealed = seal(self.plain, access)
        chunks = self.chunks(sealed)
        self.refused(sealed, [*chunks[:3], chunks[2], *chunks[3:]], access, at=3)

    def test_dropped(self) -> None:
        access = new_access()
        sealed = seal(self.plain, access)
        chunks = self.chunks(sealed)
        self.refused(sealed, [*chunks[:1], *chunks[2:]], access, at=1)

    def test_opened_at_another_place(self) -> None:
        access = new_access()
        sealed = seal(self.plain, access)
        cipher = FileCipher.open(Header.parse(sealed[:HEADER_BYTES]), access=access, role=ROLE)
        with pytest.raises(DamagedObject):
            cipher.open_chunk(self.chunks(sealed)[0], index=1 << 32)

    @pytest.mark.parametrize("size", [1, 15, 16, 17, 115])
    def test_cut_short_inside_the_last_chunk(self, size: int) -> None:
        access = new_access()
        sealed = seal(self.plain, access)
        chunks = self.chunks(sealed)
        self.refused(sealed, [*chunks[:4], chunks[4][:size]], access, at=4)

    def test_nothing_at_all(self) -> None:
        access = new_access()
        with pytest.raises(DamagedObject):
            unseal(seal(b"", access)[:HEADER_BYTES], access)

    @settings(max_examples=60)
    @given(bit=st.integers(min_value=0, max_value=(2 * SEALED_CHUNK_BYTES + 16) * 8 - 1))
    def test_any_bit_of_any_chunk(self, bit: int) -> None:
        access = _ONE_ACCESS
        sealed = bytearray(_ONE_OBJECT)
        sealed[HEADER_BYTES + bit // 8] ^= 0x80 >> bit % 8
        with pytest.raises(DamagedObject, match=f"chunk {bit // 8 // SEALED_CHUNK_BYTES} "):
            unseal(bytes(sealed), access)


_ONE_ACCESS = new_access()
_ONE_OBJECT = seal(noise(2 * C), _ONE_ACCESS)


class TestSealer:
    """No nonce meets two plaintexts."""

    def test_a_chunk_is_sealed_once(self) -> None:
        sealer = FileCipher.seal(new_access(), role=ROLE)
        sealer.seal_chunk(bytes(C), index=0, final=False)
        for index in (0, 2, -1):
            with pytest.raises(WrongChunk):
                sealer.seal_chunk(bytes(C), index=index, final=False)
        sealer.seal_chunk(b"end", index=1, final=True)
        for index in (1, 2):
            with pytest.raises(WrongChunk):
                sealer.seal_chunk(b"end", index=index, final=True)

    def test_an_index_is_spent_even_when_sealing_fails(self) -> None:
        sealer = FileCipher.seal(new_access(), role=ROLE)
        with pytest.raises(ValueError, match="buffer"):
            sealer.seal_chunk_into(bytearray(5), plain=bytes(C), index=0, final=False)
        with pytest.raises(WrongChunk):
            sealer.seal_chunk(bytes(C), index=0, final=False)

    @pytest.mark.parametrize(
        ("size", "final"), [(C, True), (C - 1, False), (0, False), (C + 1, True), (C + 1, False)]
    )
    def test_only_the_last_chunk_is_short_and_always(self, size: int, final: bool) -> None:  # noqa: FBT001
        sealer = FileCipher.seal(new_access(), role=ROLE)
        with pytest.raises(WrongChunk):
            sealer.seal_chunk(bytes(size), index=0, final=final)

    def test_the_number_of_chunks_is_bounded(self) -> None:
        access = new_access()
        sealer = FileCipher.seal(access, role=ROLE)
        sealer._next_index = MAX_CHUNKS
        with pytest.raises(WrongChunk):
            sealer.seal_chunk(b"", index=MAX_CHUNKS, final=True)
        sealed = seal(b"", access)
        cipher = FileCipher.open(Header.parse(sealed[:HEADER_BYTES]), access=access, role=ROLE)
        for index in (MAX_CHUNKS, -1):
            with pytest.raises(WrongChunk):
                cipher.open_chunk(sealed[HEADER_BYTES:], index=index)


class TestSecrecy:
    """The derived key stays where it is."""

    def test_ciphers_print_an_id_alone(self) -> None:
        access = new_access()
        sealer = FileCipher.seal(access, role=ROLE)
        cipher = FileCipher.open(sealer.header, access=access, role=ROLE)
        for each in (sealer, cipher):
            assert repr(each) == str(each) == f"<{type(each).__name__} of file {sealer.header.file_id}>"

    def test_ciphers_are_not_pickled_or_copied_deeply(self) -> None:
        access = new_access()
        sealer = FileCipher.seal(access, role=ROLE)
        for each in (sealer, FileCipher.open(sealer.header, access=access, role=ROLE)):
            with pytest.raises(TypeError):
                pickle.dumps(each)
            with pytest.raises(TypeError):
                copy.deepcopy(each)

    def test_an_access_prints_no_key(self) -> None:
        access = new_access()
        assert access.key.reveal(to="test").hex() not in repr(access)
        assert repr(access.key.reveal(to="test")) not in repr(access)

    def test_errors_hold_no_bytes_of_the_object(self) -> None:
        access = new_access()
        sealed = bytearray(seal(b"a watermark that must not show", access))
        sealed[-1] ^= 1
        with pytest.raises(DamagedObject) as caught:
            unseal(bytes(sealed), access)
        assert "watermark" not in "".join(traceback.format_exception(caught.value))
