"""A fresh token on its way out: into a private file, or once to standard output."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Final

import click

from vault.cli.output import say

save_option: Final = click.option(
    "--save",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the token to this file (mode 0600) instead of printing it.",
)


def hand_out(text: str, *, save: Path | None, as_json: bool) -> None:
    """Write the token to `save`, or print it where no JSON document holds it. Raises OSError."""
    if save is not None:
        write_private(save, text)
        say(f"the token stands in {save}")
    elif not as_json:
        click.echo(text)
        say("this is the only time that the token is shown")


def write_private(path: Path, text: str) -> None:
    """Put `text` at `path` at once and readable by its owner alone, whatever stood there. Raises OSError."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(descriptor)
        draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
