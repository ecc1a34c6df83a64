"""Who is at the keyboard, as the audit log and approvals name them."""

from __future__ import annotations

import os
import pwd
from typing import Final

_ROOT: Final = 0
_LONGEST: Final = 50


def person() -> str:
    """`operator:<account>`: the account that this process runs as; behind `sudo`, the one that called it."""
    number = os.getuid()
    if number == _ROOT:
        given = os.environ.get("SUDO_UID", "")
        number = int(given) if given.isdecimal() else number
    try:
        name = pwd.getpwuid(number).pw_name
    except KeyError:
        name = str(number)
    return f"operator:{name[:_LONGEST]}"
