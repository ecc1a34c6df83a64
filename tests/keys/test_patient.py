"""A patient key needs both halves, and each generation is a key of its own."""

from __future__ import annotations

import uuid

from hypothesis import given
from hypothesis import strategies as st

from keys.contexts import patient_key_context
from keys.ids import Generation, KeyId, parse_patient, parse_tenant
from keys.patient import join_halves, pseudonym
from keys.secret import ErasureShare, MasterHalf

TENANT, PATIENT = parse_tenant("clinic"), parse_patient("patient-1")
KEY_ID = KeyId(uuid.UUID(int=7))
raw_keys = st.binary(min_size=32, max_size=32)


def context(generation: int = 1, *, patient: str = "patient-1", key_id: KeyId = KEY_ID) -> bytes:
    return patient_key_context(
        tenant=TENANT,
        patient=parse_patient(patient),
        key_id=key_id,
        generation=Generation(generation),
    )


def joined(half: bytes, share: bytes, place: bytes) -> bytes:
    return join_halves(MasterHalf(half), ErasureShare(share), context=place).reveal(to="test")


@given(half=raw_keys, share=raw_keys, others=st.lists(raw_keys, min_size=1, max_size=20))
def test_either_half_alone_leaves_every_key_open(half: bytes, share: bytes, others: list[bytes]) -> None:
    """With one half fixed, each value of the other gives another key: knowing one rules none out."""
    key = joined(half, share, context())
    assert joined(half, share, context()) == key
    assert key not in (half, share)
    assert len({joined(half, each, context()) for each in {*others, share}}) == len({*others, share})
    assert len({joined(each, share, context()) for each in {*others, half}}) == len({*others, half})


def test_the_halves_are_not_interchangeable() -> None:
    one, other = bytes(32), bytes([1] * 32)
    assert joined(one, other, context()) != joined(other, one, context())


def test_each_generation_patient_and_key_id_has_a_key_of_its_own() -> None:
    places = [context(each) for each in range(1, 50)]
    places += [context(patient="patient-2"), context(key_id=KeyId(uuid.UUID(int=8)))]
    assert len({joined(bytes(32), bytes(32), each) for each in places}) == len(places)


def test_keys_look_random() -> None:
    """From halves of nothing but zeros: about half of all bits are set, and no byte stands out."""
    keys = b"".join(joined(bytes(32), bytes(32), context(each)) for each in range(1, 1001))
    ones = sum(each.bit_count() for each in keys)
    assert abs(ones - len(keys) * 4) < 3000  # six standard deviations of 256 000 coin throws
    assert max(keys.count(value) for value in range(256)) < 220  # 125 expected


class TestPseudonym:
    """A pseudonym is stable while the share stands, and nobody's without it."""

    def test_it_is_32_hex_digits_and_stays(self) -> None:
        share = ErasureShare.generate()
        name = pseudonym(share, tenant=TENANT, patient=PATIENT)
        assert name == pseudonym(share, tenant=TENANT, patient=PATIENT)
        assert len(name) == 32
        assert set(name) <= set("0123456789abcdef")

    def test_another_share_tenant_or_patient_gives_another(self) -> None:
        share = ErasureShare(bytes(32))
        names = {
            pseudonym(share, tenant=TENANT, patient=PATIENT),
            pseudonym(ErasureShare(b"\1" * 32), tenant=TENANT, patient=PATIENT),
            pseudonym(share, tenant=parse_tenant("other"), patient=PATIENT),
            pseudonym(share, tenant=TENANT, patient=parse_patient("patient-2")),
            pseudonym(share, tenant=parse_tenant("clinicp"), patient=parse_patient("atient-1")),
        }
        assert len(names) == 5
