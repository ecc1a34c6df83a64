"""Making certificates: an entry in the audit log of this process, the proof that it is there, and a signature."""

from __future__ import annotations

import asyncio
import datetime as dt
import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keys.erasures import ErasureRow
from keys.secret import AuditKey
from vault.audit.checkpoint import Checkpoint, seal_checkpoint
from vault.audit.entry import Action, Decision, Event
from vault.audit.log import AuditLog, Head
from vault.audit.merkle import inclusion_proof, leaf_hash
from vault.erasure import evidence
from vault.erasure.certificate import FORMAT, OUT_OF_REACH, Inclusion, body_digest, sealed
from vault.erasure.errors import StillThere


@dataclass(frozen=True, slots=True)
class Notary:
    """Signs with the key that signs the audit log's checkpoints."""

    audit: AuditLog
    key: AuditKey
    release: str

    async def certify(self, row: ErasureRow, *, now: dt.datetime) -> str:
        """The certificate of an erasure whose backups have run out; raises `StillThere` or `AuditUnavailable`."""
        body = _body(row, now=now, release=self.release)
        words = f"erasure {row.erasure_id}: certificate {body_digest(body)}"
        await self.audit.write(
            Event(action=Action.ERASE_CERTIFY, decision=Decision.ALLOW, actor="system", note=words)
        )
        head = self.audit.head()
        inclusion = await asyncio.to_thread(self._included, head, words, now)
        return sealed(body, inclusion, self.key)

    def _included(self, head: Head, words: str, now: dt.datetime) -> Inclusion:
        path = self.audit.path
        leaves, index, line = _scan(path, head.size, words.encode())
        checkpoint = Checkpoint(
            writer=path.stem, size=head.size, root=head.root, last_hash=head.last_hash, at=now
        )
        return Inclusion(
            entry=line.decode(),
            index=index,
            size=head.size,
            proof=tuple(step.hex() for step in inclusion_proof(leaves, index)),
            checkpoint=seal_checkpoint(checkpoint, self.key).decode(),
        )


def _scan(path: Path, size: int, words: bytes) -> tuple[list[bytes], int, bytes]:
    """The leaves of a log, and its last entry that says `words`."""
    leaves, index, found = [], -1, b""
    with path.open("rb") as lines:
        for number, line in enumerate(itertools.islice(lines, size)):
            entry = line.removesuffix(b"\n")
            leaves.append(leaf_hash(entry))
            if words in entry:
                index, found = number, entry
    return leaves, index, found


def _body(row: ErasureRow, *, now: dt.datetime, release: str) -> dict[str, Any]:
    if row.destroyed_at is None or row.backups_expire_at is None or row.backups_expire_at > now:
        raise StillThere("a backup of the share store may still hold the share")
    return {
        "format": FORMAT,
        "erasure": str(row.erasure_id),
        "tenant": row.tenant,
        "patient": row.patient,
        "reason": row.reason,
        "requested_by": row.requested_by,
        "requested_at": _text(row.requested_at),
        "approved_by": row.approved_by,
        "hold_until": None if row.hold_until is None else _text(row.hold_until),
        "destroyed_at": _text(row.destroyed_at),
        "backups_expire_at": _text(row.backups_expire_at),
        "certified_at": _text(now),
        "release": release,
        "found": evidence.parse(row.evidence),
        "out_of_reach": list(OUT_OF_REACH),
    }


def _text(moment: dt.datetime) -> str:
    return moment.astimezone(dt.UTC).isoformat()
