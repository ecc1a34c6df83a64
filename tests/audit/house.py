"""A house with nothing but an audit log, its checkpoints and its anchors in two places.

house = House(tmp_path)
async with house.writer("stream") as log: ...     # the product's own wiring
verdicts = await house.verify()                    # by the writer's role
"""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from keys.notes import NoteKey, load_public_keys
from vault.app.audited import anchor_places, audited
from vault.audit.log import AuditLog
from vault.audit.testimony import gather
from vault.audit.verifying import Verdict, verify
from vault.metrics import Metrics
from vault.objects.location import make_store
from vault.settings import AllSettings, load


def utc_now() -> dt.datetime:
    return dt.datetime.now(tz=dt.UTC)


class House:
    """Everything below one folder, the second place included."""

    def __init__(self, root: Path, **given: Any) -> None:
        self.second = root / "second"
        given.setdefault("audit_anchor_dir", self.second)
        self.second.mkdir(parents=True, exist_ok=True)
        self.settings = load(AllSettings, {}, data_dir=root / "data", **given)
        self.folder = self.settings.audit_folder
        self.metrics = Metrics()

    @contextlib.asynccontextmanager
    async def writer(self, role: str) -> AsyncIterator[AuditLog]:
        """A log, as a role has it."""
        store = make_store(self.settings.objects)
        async with (
            contextlib.aclosing(store),
            audited(self.settings, role=role, store=store, clock=utc_now, metrics=self.metrics) as log,
        ):
            yield log

    @property
    def unanchored(self) -> float:
        """The metric."""
        (family,) = self.metrics.audit_unanchored.collect()
        return float(family.samples[0].value)

    @property
    def keys(self) -> tuple[NoteKey, ...]:
        """The keys of this house."""
        return load_public_keys(self.settings.audit_public)

    async def verify(self, keys: Sequence[NoteKey] | None = None, *folders: Path) -> dict[str, Verdict]:
        """Verdicts by role."""
        store = make_store(self.settings.objects)
        places, chosen = anchor_places(self.settings, store), folders or (self.folder,)
        async with contextlib.aclosing(store):
            testimony = await gather(chosen, places, self.keys if keys is None else keys)
        assert testimony.unread == []
        return {verdict.writer.split("-")[1]: verdict for verdict in verify(chosen, testimony)}

    def file(self, role: str) -> Path:
        """A writer's file."""
        (path,) = self.folder.glob(f"*-{role}-*.jsonl")
        return path

    def lines(self, role: str) -> list[bytes]:
        """Its lines."""
        return self.file(role).read_bytes().splitlines(keepends=True)
