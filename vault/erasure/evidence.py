"""What was destroyed, and that nothing of it opens: digests and counts, gathered before the rows are cleared. Pure.

`digest(kind, data) = BLAKE2b-256(person="replayvault-ers1", data=LP(kind) ‖ data)`, in hex. A list's digest is that of
its items' digests in order, joined.

Invariant: evidence holds no key, no wrap and no reference of the tenant's; whoever has an old backup can show by it
that what he has is what was destroyed.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable
from typing import Any, Final

from keys import contexts
from keys.digest import blake2b
from keys.keyring import PatientKeyRow
from keys.proving import Tried
from vault.catalog.erasing import Holdings

CATALOG: Final = "catalog"


def found(holdings: Holdings, tried: Tried, *, source: str, at: dt.datetime) -> dict[str, Any]:
    """What was found in one catalog, and how trying it ended."""
    wraps = [digest("wrap", wrap.wrapped) for wrap, _ in holdings.wraps]
    names = [digest("object", f"{row.recording_id}/{row.file_id}".encode()) for row in holdings.objects]
    return {
        "source": source,
        "at": at.astimezone(dt.UTC).isoformat(timespec="seconds"),
        "patient_keys": [_key(row) for row in holdings.generations],
        "recording_wraps": {"count": len(wraps), "digest": list_digest(wraps)},
        "objects": {"count": len(names), "digest": list_digest(names)},
        "handovers": {"count": holdings.handovers},
        "tried": {
            "halves": tried.halves,
            "halves_unwrapped": tried.halves_unwrapped,
            "wraps": tried.wraps,
            "attempts": tried.attempts,
            "opened": tried.opened,
            "errors": dict(sorted(tried.errors.items())),
        },
    }


def is_empty(holdings: Holdings) -> bool:
    """Whether nothing of the patient is left in a catalog."""
    return not (holdings.generations or holdings.wraps or holdings.objects or holdings.handovers)


def parse(text: str | None) -> list[dict[str, Any]]:
    """Evidence as the share store keeps it."""
    return [] if text is None else list(json.loads(text))


def with_more(text: str | None, more: dict[str, Any]) -> str:
    """Evidence with one more finding; one that says nothing new about its source takes the earlier one's place."""
    earlier = parse(text)
    if earlier and _same(earlier[-1], more):
        earlier.pop()
    return json.dumps([*earlier, more], sort_keys=True)


def digest(kind: str, data: bytes) -> str:
    """The digest of one thing."""
    return blake2b(contexts.lp(kind) + data, person=contexts.PERSON_ERASURE, size_bytes=32).hex()


def list_digest(digests: Iterable[str]) -> str:
    """The digest of many, by their own."""
    return digest("list", bytes.fromhex("".join(digests)))


def _key(row: PatientKeyRow) -> dict[str, Any]:
    return {
        "key_id": str(row.key_id),
        "generation": row.generation,
        "master": f"{row.wrap.provider} {row.wrap.key_name} v{row.wrap.key_version}",
        "digest": digest("half", row.wrap.blob),
    }


def _same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    names = ("source", "patient_keys", "recording_wraps", "objects", "handovers")
    return all(one.get(name) == other.get(name) for name in names)
