"""The keeper of the master key that the settings name."""

from __future__ import annotations

from pathlib import Path

from keys.master.local import LocalMaster, load_master_file
from vault.settings import ControlSettings


def open_master(settings: ControlSettings) -> LocalMaster:
    """Raises `MasterUnusable`."""
    return load_master_file(settings.master_file, passphrase=read_passphrase(settings.master_passphrase_file))


def read_passphrase(path: Path | None) -> str | None:
    """The passphrase in a file, its last line break left out."""
    return None if path is None else path.read_text(encoding="utf-8").rstrip("\n")
