"""A patient key is made of two halves, and a patient's pseudonym of one.

`patient key = BLAKE2b-256(key=master half, person="replayvault-pky1",
data=erasure share ‖ context)`.

Invariants: either half alone is noise. The master half stands wrapped in the catalog, the erasure share in the
share store alone; destroying the share destroys every generation of the key and unlinks the audit log.
"""

from __future__ import annotations

from keys import contexts
from keys.digest import blake2b
from keys.ids import PatientRef, TenantId
from keys.secret import ErasureShare, MasterHalf, PatientKey


def join_halves(half: MasterHalf, share: ErasureShare, *, context: bytes) -> PatientKey:
    """The patient key of one generation; `context` is `contexts.patient_key_context` of it."""
    return PatientKey(
        blake2b(
            share.reveal(to="blake2b") + context,
            key=half.reveal(to="blake2b"),
            person=contexts.PERSON_PATIENT_KEY,
            size_bytes=32,
        ),
    )


def pseudonym(share: ErasureShare, *, tenant: TenantId, patient: PatientRef) -> str:
    """The patient's name in the audit log: 32 hexadecimal digits that nobody links without the share."""
    return blake2b(
        contexts.lp(tenant) + contexts.lp(patient),
        key=share.reveal(to="blake2b"),
        person=contexts.PERSON_PSEUDONYM,
        size_bytes=16,
    ).hex()
