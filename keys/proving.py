"""That nothing opens: every wrap that is at hand is tried with every half that still unwraps.

Invariant: what is tried is what somebody could try who has the catalog, any backup of it, and the keeper of the master
key with every version, and lacks the erasure share: each half joined with a share of zeros.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from keys import contexts
from keys.errors import KeysError, MasterUnavailable
from keys.ids import KeyId, PatientRef, TenantId
from keys.keyring import PatientKeyRow
from keys.master.protocol import Master
from keys.opening import open_recording_key
from keys.patient import join_halves
from keys.recording_wraps import RecordingWrap
from keys.secret import ErasureShare
from keys.session import GrantedKey

_AT_ONCE: Final = 200


@dataclass(slots=True)
class Tried:
    """How many halves unwrapped, and how all attempts on wraps ended: error → how often."""

    halves: int = 0
    halves_unwrapped: int = 0
    wraps: int = 0
    attempts: int = 0
    opened: int = 0
    errors: Counter[str] = field(default_factory=Counter)


async def try_everything(
    master: Master,
    generations: Sequence[PatientKeyRow],
    wraps: Iterable[tuple[RecordingWrap, KeyId]],
    *,
    tenant: TenantId,
    patient: PatientRef,
) -> Tried:
    """Try each wrap, given with the id of the recording key inside it. Raises `MasterUnavailable`."""
    tried = Tried()
    keys = [key for row in generations if (key := await _without_share(master, row, tried)) is not None]
    for number, (wrap, recording_key_id) in enumerate(wraps):
        tried.wraps += 1
        for key in keys:
            _try(tried, wrap, recording_key_id, key, tenant=tenant, patient=patient)
        if number % _AT_ONCE == 0:
            await asyncio.sleep(0)
    return tried


async def _without_share(master: Master, row: PatientKeyRow, tried: Tried) -> GrantedKey | None:
    tried.halves += 1
    context = contexts.patient_key_context(
        tenant=row.tenant, patient=row.patient, key_id=row.key_id, generation=row.generation
    )
    try:
        half = await master.unwrap(row.wrap, context=context)
    except MasterUnavailable:
        raise
    except KeysError as error:
        tried.errors[f"half: {type(error).__name__}"] += 1
        return None
    tried.halves_unwrapped += 1
    nothing = ErasureShare(bytes(ErasureShare.SIZE_BYTES))
    return GrantedKey(row.key_id, row.generation, join_halves(half, nothing, context=context))


def _try(
    tried: Tried,
    wrap: RecordingWrap,
    recording_key_id: KeyId,
    key: GrantedKey,
    *,
    tenant: TenantId,
    patient: PatientRef,
) -> None:
    tried.attempts += 1
    try:
        open_recording_key(
            (wrap,),
            (key,),
            tenant=tenant,
            patient=patient,
            recording_id=wrap.recording_id,
            recording_key_id=recording_key_id,
        )
    except KeysError as error:
        tried.errors[type(error).__name__] += 1
    else:
        tried.opened += 1
