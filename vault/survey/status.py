"""How many keys there are, and how much stands under them. By the catalog alone."""

from __future__ import annotations

from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from keys import halves
from keys.ids import TenantId
from vault.catalog import rotation


async def status(connection: AsyncConnection, *, tenant: TenantId | None = None) -> dict[str, Any]:
    """Patient keys under each version of each master key, and recordings under patient keys in each state."""
    under = await halves.census(connection, tenant=tenant)
    states = await rotation.census(connection, tenant=tenant)
    return {
        "master": [
            {
                "provider": each.place.provider,
                "key": each.place.key_name,
                "version": each.place.key_version,
                "patient_keys": each.count,
                "oldest": each.oldest_at,
            }
            for each in under
        ],
        "patient": [
            {"state": each.state, "keys": each.keys, "recordings": each.recordings} for each in states
        ],
    }
