"""What is past its time: keys past their cryptoperiod (NIST SP 800-57 part 1, 5.3), and patients past their retention.

Invariants: nothing is changed and nothing opened; whoever is past their retention is proposed for erasure, and erased
by nobody here; every question is bounded, and an answer that is not whole says so.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from keys import halves
from keys.database import Database
from keys.halves import MasterPlace
from keys.ids import PatientRef, TenantId
from keys.master.protocol import Master
from keys.tier import written_at
from vault.catalog import due as catalog_due
from vault.catalog import retention, service_tokens
from vault.catalog.due import Aged
from vault.catalog.retention import LastSeen, RetentionClass

_PAGE: Final = 500
_TOKENS: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Periods:
    """How old each kind of key may become, and how long before its end a service token is named."""

    master: dt.timedelta = dt.timedelta(days=365)
    patient: dt.timedelta = dt.timedelta(days=730)
    tier: dt.timedelta = dt.timedelta(days=365)
    token_notice: dt.timedelta = dt.timedelta(days=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How many patients past their retention are named, and in how many pages they are looked for (None: all)."""

    named: int = 100
    pages: int | None = None


@dataclass(frozen=True, slots=True)
class Surveyor:
    """Looks at one catalog, one keeper of the master key and one tier secret."""

    catalog: Database
    master: Master
    tier_file: Path

    async def due(
        self,
        *,
        now: dt.datetime,
        tenant: TenantId | None = None,
        periods: Periods = Periods(),
        bounds: Bounds = Bounds(),
    ) -> dict[str, Any]:
        """What is due, of one tenant or of the house; only the house has a master key and a tier secret.

        Raises `DatabaseUnavailable`, `MasterUnavailable`, `MasterUnusable` or `NoSuchKey`.
        """
        async with self.catalog.reading() as connection:
            old = await catalog_due.old_patient_keys(connection, before=now - periods.patient, tenant=tenant)
            drained = await catalog_due.drained_keys(connection, before=now, tenant=tenant)
            tokens = await service_tokens.ending(
                connection, now=now, before=now + periods.token_notice, tenant=tenant, limit=_TOKENS
            )
        proposed, is_whole = await self._past_retention(tenant, now=now, bounds=bounds)
        return {
            "master": None if tenant is not None else await self._master(now - periods.master),
            "tier_secret": None if tenant is not None else await self._tier(now - periods.tier),
            "patient_keys": _aged(old),
            "drained": _aged(drained),
            "tokens": [
                {
                    "id": str(each.token_id),
                    "tenant": each.tenant,
                    "name": each.name,
                    "expires_at": each.expires_at,
                }
                for each in tokens
            ],
            "erasures_proposed": proposed,
            "erasures_whole": is_whole,
        }

    async def _master(self, before: dt.datetime) -> dict[str, Any]:
        version, made_at = await self.master.current_version(), await self.master.made_at()
        current = MasterPlace(self.master.provider, self.master.key_name, version)
        async with self.catalog.reading() as connection:
            under = await halves.census(connection)
        return {
            "provider": current.provider,
            "key": current.key_name,
            "version": version,
            "made_at": made_at,
            "is_due": made_at is not None and made_at < before,
            "patient_keys_elsewhere": sum(each.count for each in under if each.place != current),
        }

    async def _tier(self, before: dt.datetime) -> dict[str, Any]:
        """The file is written when a secret is put into it: its age is that of the youngest secret."""
        made_at = await asyncio.to_thread(written_at, self.tier_file)
        return {"made_at": made_at, "is_due": made_at is not None and made_at < before}

    async def _past_retention(
        self, tenant: TenantId | None, *, now: dt.datetime, bounds: Bounds
    ) -> tuple[list[dict[str, Any]], bool]:
        async with self.catalog.reading() as connection:
            classes = await retention.classes(connection, tenant=tenant)
        found: list[dict[str, Any]] = []
        pages = 0
        for owner in dict.fromkeys(each.tenant for each in classes):
            own = _Classes([each for each in classes if each.tenant == owner])
            after: PatientRef | None = None
            while True:
                if pages == bounds.pages:
                    return found, False
                async with self.catalog.reading() as connection:
                    page = await retention.last_seen(connection, owner, after=after, limit=_PAGE)
                pages += 1
                found += [_proposal(each, own.of(each)) for each in page if own.is_past(each, now=now)]
                if len(found) > bounds.named:
                    return found[: bounds.named], False
                if len(page) < _PAGE:
                    break
                after = page[-1].patient.patient
        return found, True


class _Classes:
    """The classes of one tenant."""

    def __init__(self, classes: list[RetentionClass]) -> None:
        self._by_name = {each.name: each for each in classes}
        self._default = next((each for each in classes if each.is_default), None)

    def of(self, seen: LastSeen) -> RetentionClass | None:
        """The class that holds for a patient; None where none does, so that everything is kept."""
        if seen.retention_class is None:
            return self._default
        return self._by_name.get(seen.retention_class)

    def is_past(self, seen: LastSeen, *, now: dt.datetime) -> bool:
        """Whether a patient's newest recording is older than the class allows. Who has none is past nothing."""
        own = self.of(seen)
        if own is None or seen.newest_at is None:
            return False
        return seen.newest_at < now - dt.timedelta(days=own.keep_days)


def _proposal(seen: LastSeen, own: RetentionClass | None) -> dict[str, Any]:
    return {
        "tenant": seen.patient.tenant,
        "patient": seen.patient.patient,
        "class": "" if own is None else own.name,
        "newest_at": seen.newest_at,
    }


def _aged(found: Aged) -> dict[str, Any]:
    return {
        "count": found.count,
        "is_whole": found.count < catalog_due.COUNTED,
        "oldest_at": found.oldest_at,
    }
