"""What operators' commands stand on: the settings of the whole house, and a hardened process."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import click

from vault.app.hardening import harden_process
from vault.settings import AllSettings, load

data_dir_option: Final = click.option(
    "--data-dir", type=click.Path(file_okay=False, path_type=Path), help="Where everything is kept."
)


def operator_settings(**given: Any) -> AllSettings:
    """Settings of the whole house, this process hardened; raises `SettingsError`."""
    harden_process()
    return load(AllSettings, **given)
