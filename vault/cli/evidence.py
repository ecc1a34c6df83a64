"""What commands about the audit log stand on: its folders, its public keys, and what was signed about it elsewhere."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from keys.errors import MasterUnusable
from keys.notes import NoteKey, load_public_keys
from vault.app.audited import anchor_places
from vault.audit.errors import AuditUnavailable
from vault.audit.testimony import Testimony, gather
from vault.audit.verifying import verify
from vault.audit.viewing import Log
from vault.cli.exits import Exit
from vault.cli.ground import operator_settings
from vault.cli.output import say
from vault.objects.location import make_store
from vault.settings import AllSettings

F = TypeVar("F", bound=Callable[..., Any])

_audit_dirs: Final = click.option(
    "--audit-dir",
    "audit_dirs",
    multiple=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="An audit folder; name that of every host.  [default: this one's]",
)
_public_keys: Final = click.option(
    "--public-key",
    "public_keys",
    multiple=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="A file of public keys whose signatures count.  [default: audit.pub in the data folder]",
)


def evidence_options(command: F) -> F:
    """Where the log and the keys are."""
    return _audit_dirs(_public_keys(command))


@dataclass(frozen=True, slots=True)
class Sources:
    """Where to look."""

    settings: AllSettings
    folders: tuple[Path, ...]
    public_keys: tuple[Path, ...]

    def keys(self) -> tuple[NoteKey, ...]:
        """Every key whose signatures count; raises `MasterUnusable`."""
        files = self.public_keys or (self.settings.audit_public,)
        return tuple(key for path in files for key in load_public_keys(path))

    def testimony(self, keys: tuple[NoteKey, ...]) -> Testimony:
        """All that was signed about the log."""
        return asyncio.run(self._gather(keys))

    def log(self) -> Log:
        """The entries, and what is broken about them: a report that leaves that out would be a lie."""
        log = Log(self.folders)
        try:
            testimony = self.testimony(self.keys())
        except MasterUnusable as error:
            testimony = Testimony(unread=[f"no checkpoint could be checked: {error}"])
        log.broken += testimony.unread
        for verdict in verify(self.folders, testimony):
            log.broken += verdict.sentences()
        return log

    async def _gather(self, keys: tuple[NoteKey, ...]) -> Testimony:
        store = make_store(self.settings.objects)
        async with contextlib.aclosing(store):
            return await gather(self.folders, anchor_places(self.settings, store), keys)


def sources(data_dir: Path | None, audit_dirs: tuple[Path, ...], public_keys: tuple[Path, ...]) -> Sources:
    """Where to look; raises `AuditUnavailable` where there is no such folder."""
    settings = operator_settings(data_dir=data_dir)
    folders = audit_dirs or (settings.audit_folder,)
    for folder in folders:
        if not folder.is_dir():
            raise AuditUnavailable(
                f"there is no audit folder {folder}: say where it is (REPLAYVAULT_AUDIT_DIR, or --audit-dir)"
            )
    return Sources(settings, folders, public_keys)


def leave(broken: list[str]) -> None:
    """Name what is broken on standard error, and end with exit code 5 where anything is."""
    for sentence in dict.fromkeys(broken):
        say(f"replayvault: the audit log is broken: {sentence}")
    if broken:
        say("replayvault: keep every file as it is, it is evidence")
    sys.exit(int(Exit.PARTLY_FAILED if broken else Exit.OK))
