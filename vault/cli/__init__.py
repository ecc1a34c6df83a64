"""The command `replayvault`.

Each sub-command is a module that is loaded when it is asked for: the stream role's process must not even import what
could reach a master key.
"""

from __future__ import annotations

import sys
from typing import Final

import click

from vault.cli.examples import LazyGroup

# name → module of this package that defines a click command of the same name
COMMANDS: Final = {
    "demo": "vault.cli.demo",
    "serve": "vault.cli.serve",
    "worker": "vault.cli.worker",
    "doctor": "vault.cli.doctor",
    "put": "vault.cli.put",
    "get": "vault.cli.get",
    "sessions": "vault.cli.sessions",
    "recordings": "vault.cli.recordings",
    "tokens": "vault.cli.tokens",
    "keys": "vault.cli.keys",
    "jobs": "vault.cli.jobs",
    "audit": "vault.cli.audit",
    "breaker": "vault.cli.breaker",
    "inspect": "vault.cli.inspecting",
}


@click.group(
    cls=LazyGroup,
    modules=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    examples=(
        "replayvault demo",
        "replayvault serve",
        "replayvault tokens create --tenant clinic --scope ingest --scope sessions --save backend.token",
        'replayvault put video.webm --patient p-17 --consultation c-1 --title "Follow-up"',
    ),
)
@click.version_option(package_name="replayvault")
def replayvault() -> None:
    """Encrypted storage and streaming of consultation recordings, one key for each patient.

    Exit codes: 0 done, 1 failed, 2 wrong use, 3 in progress, 4 refused, 5 partly failed, 6 a dependency is down.
    """


def main() -> None:
    """Entry point; exit codes are those of `vault.cli.exits`."""
    sys.exit(replayvault(standalone_mode=True))
