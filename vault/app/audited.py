"""The audit log of one process with its checkpoints and anchors.

Invariant: what closes the log comes first, then its last checkpoint, then that checkpoint's anchors.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
from collections.abc import AsyncIterator, Callable
from typing import Final

from keys.notes import NoteKey, create_audit_key, load_audit_key, public_key, publish_audit_key
from keys.secret import AuditKey
from vault.audit.anchoring import Anchoring
from vault.audit.checkpointing import Checkpointer
from vault.audit.log import AuditLog
from vault.logs import warnings_aside
from vault.metrics import Metrics
from vault.objects.anchor_folder import FolderAnchors
from vault.objects.anchors import AnchorPlace
from vault.objects.location import make_store
from vault.objects.store import ObjectStore
from vault.settings import CommonSettings

_OPERATOR: Final = "operator"


@contextlib.asynccontextmanager
async def audited(
    settings: CommonSettings,
    *,
    role: str,
    store: ObjectStore,
    clock: Callable[[], dt.datetime],
    metrics: Metrics | None = None,
) -> AsyncIterator[AuditLog]:
    """The log for the length of the block; raises `AuditUnavailable` or `MasterUnusable`."""
    key = await asyncio.to_thread(prepare_audit_key, settings)
    log = await AuditLog.open(settings.audit_folder, role=role, release=settings.release, clock=clock)
    checkpointer = Checkpointer(log, key, clock=clock)
    anchorings = _anchorings(settings, store, checkpointer, public_key(key))
    if metrics is not None:
        metrics.audit_unanchored.set_function(lambda: log.size - min(it.anchored for it in anchorings))
    tasks = [asyncio.create_task(checkpointer.run(), name="audit-checkpoints")]
    tasks += [asyncio.create_task(it.run(), name="audit-anchors") for it in anchorings]
    try:
        yield log
    finally:
        await log.aclose()
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        await checkpointer.make()
        await asyncio.gather(*(it.aclose() for it in anchorings))


@contextlib.asynccontextmanager
async def operator_log(
    settings: CommonSettings, *, clock: Callable[[], dt.datetime]
) -> AsyncIterator[AuditLog]:
    """A log for the length of an operator's command, signed and anchored at its end; raises as `audited` does.

    What it warns of goes to standard error: standard output is the command's result.
    """
    with warnings_aside():
        async with (
            contextlib.aclosing(make_store(settings.objects)) as store,
            audited(settings, role=_OPERATOR, store=store, clock=clock) as log,
        ):
            yield log


def prepare_audit_key(settings: CommonSettings) -> AuditKey:
    """The signing key, made at first start unless a setting names it, its public half beside it."""
    if settings.audit_key_file is None:
        create_audit_key(settings.audit_key)
    key = load_audit_key(settings.audit_key)
    publish_audit_key(public_key(key), settings.audit_public)
    return key


def anchor_places(settings: CommonSettings, store: ObjectStore) -> dict[str, AnchorPlace]:
    """Where anchors stand, by name."""
    places: dict[str, AnchorPlace] = {"the object store": store}
    if settings.audit_anchor_dir is not None:
        places["the second place"] = FolderAnchors(settings.audit_anchor_dir)
    return places


def _anchorings(
    settings: CommonSettings, store: ObjectStore, checkpointer: Checkpointer, key: NoteKey
) -> list[Anchoring]:
    places = anchor_places(settings, store)
    return [Anchoring(place, checkpointer.path, key=key, name=name) for name, place in places.items()]
