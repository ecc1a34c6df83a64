"""`replayvault keys`: which keys there are, what stands under them, and new ones in their place.

Works on the catalog itself, as `replayvault tokens` does; the control role does the work. Each verb is a module of its
own, loaded when it is asked for.
"""

from __future__ import annotations

from typing import Final

import click

from vault.cli.examples import LazyGroup

# name → module of this package that defines a click command of the same name
VERBS: Final = {
    "status": "vault.cli.keys.status",
    "rotate": "vault.cli.keys.rotate",
    "rewrap": "vault.cli.keys.rewrap",
    "erase": "vault.cli.keys.erase",
    "hold": "vault.cli.keys.hold",
    "retire": "vault.cli.keys.retire",
    "reencrypt": "vault.cli.keys.reencrypt",
    "compromise": "vault.cli.keys.compromise",
    "due": "vault.cli.keys.due",
    "census": "vault.cli.keys.census",
    "retention": "vault.cli.keys.retention",
}


@click.group(
    cls=LazyGroup,
    modules=VERBS,
    examples=("replayvault keys status", "replayvault keys rotate patient --dry-run"),
)
def keys() -> None:
    """Master keys, patient keys and what stands under them.

    Rotating replaces the key that wraps, and leaves recordings as they are: for hygiene, for staff who left, for a
    move to another keeper of the master key. It does not help against whoever copied a key while it was in use: that
    takes encrypting anew, which `compromise` does in the right order.
    """
