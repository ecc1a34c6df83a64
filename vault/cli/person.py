"""Who types: the name that jobs and the audit log record.

Invariant: it comes from the kernel, never from the environment. Whoever logged in stays known through `sudo` and `su`
where the system keeps that (the audit login id); elsewhere it is the user of the process.
"""

from __future__ import annotations

import contextlib
import os
import pwd
from pathlib import Path
from typing import Final

_LOGIN: Final = Path("/proc/self/loginuid")
_UNSET: Final = 2**32 - 1
_LONGEST: Final = 64  # a job's row takes no more, and a name that is cut may be another's


def operator_name() -> str:
    """`operator:NAME`, or `operator:NUMBER` where there is no name that fits."""
    number = _login_id()
    if number is None:
        number = os.getuid()
    try:
        named = f"operator:{pwd.getpwuid(number).pw_name}"
    except KeyError:
        named = ""
    return named if 0 < len(named) <= _LONGEST else f"operator:{number}"


def _login_id() -> int | None:
    with contextlib.suppress(OSError, ValueError):
        number = int(_LOGIN.read_text(encoding="ascii"))
        return None if number == _UNSET else number
    return None
