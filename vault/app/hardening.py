"""What every process of ours does to itself before it holds a key.

Invariants: no core dump (RLIMIT_CORE 0), no ptrace by other processes of the same user (PR_SET_DUMPABLE 0).
"""

from __future__ import annotations

import ctypes
import os
import resource
from typing import Final

_PR_SET_DUMPABLE: Final = 4


def harden_process() -> None:
    """Apply both, and a private umask; raises OSError where the kernel refuses."""
    os.umask(0o077)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_DUMPABLE) failed")
