"""The command `replayvault`.

Each sub-command is a module that is loaded when it is asked for: the stream role's process must not even import what
could reach a master key.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any, Final

import click

# name → module of this package that defines a click command of the same name
COMMANDS: Final = {
    "demo": "vault.cli.demo",
    "serve": "vault.cli.serve",
    "worker": "vault.cli.worker",
}


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of the table, which is the order of use."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load the command's module."""
        del ctx
        module = COMMANDS.get(cmd_name)
        if module is None:
            return None
        command: Any = getattr(importlib.import_module(module), cmd_name)
        if not isinstance(command, click.Command):
            raise TypeError(f"{module}.{cmd_name} is not a command")
        return command


@click.group(
    cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(package_name="replayvault")
def replayvault() -> None:
    r"""Encrypted storage and streaming of consultation recordings, one key for each patient.

    \b
    Try it:            replayvault demo
    Run it:            replayvault serve
    Store a recording: replayvault put --patient p-17 --consultation c-1 --title "Follow-up" video.webm
    """


def main() -> None:
    """Entry point; exit codes are those of `vault.cli.exits`."""
    sys.exit(replayvault(standalone_mode=True))
