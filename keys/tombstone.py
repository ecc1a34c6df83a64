"""A tombstone: that a patient was erased, sealed, to stand where no backup of a database reaches.

Sealed JSON `{"at", "patient", "tenant"}`, padded with spaces to a multiple of `PAD_BYTES`, under the tombstone key with
the erasure's id as context (`contexts.tombstone_context`).

Invariant: without the share store a tombstone tells nothing but that somebody was erased.
"""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import dataclass
from typing import Final

from keys import contexts
from keys.erasures import ErasureId
from keys.errors import Malformed, MalformedId
from keys.ids import PatientRef, TenantId, parse_patient, parse_tenant
from keys.seal import seal, unseal
from keys.secret import TombstoneKey

PAD_BYTES: Final = 512


@dataclass(frozen=True, slots=True)
class Tombstone:
    """Who was erased, and when that was decided for good."""

    tenant: TenantId
    patient: PatientRef
    at: dt.datetime


def seal_tombstone(tombstone: Tombstone, erasure_id: ErasureId, key: TombstoneKey) -> bytes:
    """The sealed tombstone of an erasure."""
    fields = {
        "tenant": tombstone.tenant,
        "patient": tombstone.patient,
        "at": tombstone.at.astimezone(dt.UTC).isoformat(),
    }
    plain = json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()
    padded = plain + b" " * (-len(plain) % PAD_BYTES)
    context = contexts.tombstone_context(erasure_id)
    return seal(padded, key, person=contexts.PERSON_TOMBSTONE, context=context)


def open_tombstone(sealed: bytes, erasure_id: ErasureId, key: TombstoneKey) -> Tombstone:
    """What a tombstone says; raises `KeyMismatch`, `Damaged` or `Malformed`."""
    context = contexts.tombstone_context(erasure_id)
    plain = unseal(sealed, key, person=contexts.PERSON_TOMBSTONE, context=context)
    try:
        fields = json.loads(plain)
        at = dt.datetime.fromisoformat(fields["at"])
        made = Tombstone(parse_tenant(fields["tenant"]), parse_patient(fields["patient"]), at)
    except (ValueError, TypeError, KeyError, MalformedId):
        raise Malformed("not a tombstone") from None
    if at.tzinfo is None:
        raise Malformed("not a tombstone: its time has no zone")
    return made
