"""Trying what a catalog, today's or a restored one, holds of an erased patient; the outcome goes into the evidence."""

from __future__ import annotations

import datetime as dt
from typing import Any

from keys import erasures
from keys.database import Database
from keys.erasure import FINAL, ErasureState
from keys.erasures import ErasureRow
from keys.errors import ErasureRefused
from keys.master.protocol import Master
from keys.proving import try_everything
from vault.catalog import erasing
from vault.erasure import evidence
from vault.erasure.errors import StillThere


async def attempt(
    catalog: Database, master: Master, row: ErasureRow, *, source: str, at: dt.datetime
) -> dict[str, Any] | None:
    """A finding of `vault.erasure.evidence`; None where the catalog knows nothing of the patient.

    Raises `ErasureRefused` before the share is gone: there would be nothing to prove.
    """
    if row.state not in FINAL:
        raise ErasureRefused(
            f"the erasure is {row.state.value}: there is nothing to prove before the share is gone"
        )
    async with catalog.snapshot() as connection:
        holdings = await erasing.holdings(connection, row.tenant, row.patient)
    if evidence.is_empty(holdings):
        return None
    tried = await try_everything(
        master, holdings.generations, holdings.wraps, tenant=row.tenant, patient=row.patient
    )
    return evidence.found(holdings, tried, source=source, at=at)


async def remember(shares: Database, row: ErasureRow, finding: dict[str, Any]) -> None:
    """Add a finding to an erasure's evidence, for the certificate to come.

    Raises `StillThere` where something opened, and `ErasureRefused` where the certificate is made.
    """
    if finding["tried"]["opened"]:
        raise StillThere("wraps open although the share is gone: report this, it is a bug")
    async with shares.writing() as connection:
        now = await erasures.find(connection, row.erasure_id, held=True)
        if now.state is ErasureState.CERTIFIED:
            raise ErasureRefused("nothing opened; but the certificate is made already, and does not change")
        await erasures.note(connection, row.erasure_id, evidence=evidence.with_more(now.evidence, finding))
