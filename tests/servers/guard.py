"""Becomes another program that can't outlive its parent: `guard.py PARENT_PID USER COMMAND…`.

Run as a script by child.py. It gives up root when USER is not empty, asks the kernel for SIGKILL when the
parent ends (PR_SET_PDEATHSIG, kept across exec, dropped by a change of user: hence the order), forbids core
dumps, and execs. The process id stays the same. Imports only the standard library, because the user it turns
into may not be able to read the virtual environment.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import resource
import signal
import sys

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main(*, parent_pid: int, user: str, command: list[str]) -> None:
    """Drop to `user`, tie our life to `parent_pid` and exec `command`; never returns."""
    if user:
        entry = pwd.getpwnam(user)
        os.setgroups([])
        os.setgid(entry.pw_gid)
        os.setuid(entry.pw_uid)
    if ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL) != 0:
        sys.exit("prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent_pid:
        sys.exit("the parent ended before its server started")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.execv(command[0], command)  # noqa: S606 - no shell is the point


if __name__ == "__main__":
    main(parent_pid=int(sys.argv[1]), user=sys.argv[2], command=sys.argv[3:])
