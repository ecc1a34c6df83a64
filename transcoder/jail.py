"""The last program before ffmpeg: puts limits on itself, locks itself in, becomes ffmpeg by `execv`.

Started as a script (`python -I -S jail.py POLICY PROGRAM ARGUMENT…`) and not as a `preexec_fn`: code that runs
between fork and exec in a process with threads may meet a lock that no thread will ever release, and asyncio
offers no way to make that safe. A fresh interpreter has one thread, costs some 20 ms, and is easy to test alone.
It therefore imports the standard library only, and nothing of this package.

POLICY is JSON: {"parent": pid, "limits": {"RLIMIT_…": n}, "landlock": null | {"abi": n, "execute": [path…],
"read": [path…], "connect": [port…]}}.

Invariants: the policy is applied in full or the process ends with status 126 before anything is executed; from
then on nothing can be written, no core dump can hold the recording, no privilege can be gained, and the process
dies with its parent.

Sources: landlock(7) and include/uapi/linux/landlock.h; prctl(2); core(5).
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any

REFUSED_STATUS = 126

_SYS_LANDLOCK_CREATE_RULESET = 444  # the same numbers on every architecture (they came after the unification)
_SYS_LANDLOCK_ADD_RULE = 445
_SYS_LANDLOCK_RESTRICT_SELF = 446
_CREATE_RULESET_VERSION = 1
_RULE_PATH_BENEATH, _RULE_NET_PORT = 1, 2
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38

_FS_EXECUTE, _FS_READ_FILE = 1 << 0, 1 << 2
# Rights that exist from each ABI on. Handling a right means denying it wherever no rule grants it.
_FS_RIGHTS_BY_ABI = {1: (1 << 13) - 1, 2: 1 << 13, 3: 1 << 14, 5: 1 << 15}
_NET_BIND_TCP, _NET_CONNECT_TCP, _NET_SINCE_ABI = 1 << 0, 1 << 1, 4
_SCOPE_ABSTRACT_UNIX_SOCKET, _SCOPE_SIGNAL, _SCOPE_SINCE_ABI = 1 << 0, 1 << 1, 6

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


class _Ruleset(ctypes.Structure):
    _fields_ = (
        ("handled_access_fs", ctypes.c_uint64),
        ("handled_access_net", ctypes.c_uint64),
        ("scoped", ctypes.c_uint64),
    )


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


class _NetPort(ctypes.Structure):
    _fields_ = (("allowed_access", ctypes.c_uint64), ("port", ctypes.c_uint64))


def landlock_abi() -> int:
    """Ask the kernel which Landlock ABI it offers; 0 where it has none or has it switched off."""
    found: int = _libc.syscall(
        ctypes.c_long(_SYS_LANDLOCK_CREATE_RULESET),
        None,
        ctypes.c_size_t(0),
        ctypes.c_uint32(_CREATE_RULESET_VERSION),
    )
    return max(found, 0)


def limit(limits: dict[str, int]) -> None:
    """Apply resource limits, soft and hard alike, never above a hard limit that is already there.

    Alike also for RLIMIT_CPU: at a soft limit below the hard one ffmpeg catches SIGXCPU and ends as if it had done
    its work; at the hard limit the kernel sends SIGKILL.
    """
    for name, wanted in limits.items():
        which = getattr(resource, name)
        _, hard = resource.getrlimit(which)
        value = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(which, (value, value))


def lock(policy: dict[str, Any]) -> None:
    """Enter a Landlock domain: only the listed files, only the listed TCP ports, for ever. Raises OSError."""
    abi = int(policy["abi"])
    handled_fs = sum(rights for since, rights in _FS_RIGHTS_BY_ABI.items() if since <= abi)
    ruleset = _Ruleset(handled_access_fs=handled_fs)
    if abi >= _NET_SINCE_ABI:
        ruleset.handled_access_net = _NET_BIND_TCP | _NET_CONNECT_TCP
    if abi >= _SCOPE_SINCE_ABI:
        ruleset.scoped = _SCOPE_ABSTRACT_UNIX_SOCKET | _SCOPE_SIGNAL
    ruleset_fd = _landlock(_SYS_LANDLOCK_CREATE_RULESET, ctypes.byref(ruleset), _ruleset_size(abi), 0)
    for access, paths in ((_FS_EXECUTE | _FS_READ_FILE, policy["execute"]), (_FS_READ_FILE, policy["read"])):
        for path in paths:
            _allow_path(ruleset_fd, path, access)
    if abi >= _NET_SINCE_ABI:
        for port in policy["connect"]:
            rule = _NetPort(_NET_CONNECT_TCP, int(port))
            _landlock(_SYS_LANDLOCK_ADD_RULE, ruleset_fd, _RULE_NET_PORT, ctypes.byref(rule), 0)
    _landlock(_SYS_LANDLOCK_RESTRICT_SELF, ruleset_fd, 0)
    os.close(ruleset_fd)


def _ruleset_size(abi: int) -> int:
    """Older kernels refuse a structure with fields that they do not know unless these are zero; be exact."""
    if abi >= _SCOPE_SINCE_ABI:
        return 24
    return 16 if abi >= _NET_SINCE_ABI else 8


def _allow_path(ruleset_fd: int, path: str, access: int) -> None:
    path_fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        rule = _PathBeneath(access, path_fd)
        _landlock(_SYS_LANDLOCK_ADD_RULE, ruleset_fd, _RULE_PATH_BENEATH, ctypes.byref(rule), 0)
    finally:
        os.close(path_fd)


def _landlock(number: int, *arguments: Any) -> int:
    widened = [ctypes.c_long(value) if isinstance(value, int) else value for value in arguments]
    result: int = _libc.syscall(ctypes.c_long(number), *widened)
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(ctypes.c_int(option), ctypes.c_ulong(value), *[ctypes.c_ulong(0)] * 3) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def _dump_nothing() -> None:
    """Empty the core-dump filter: RLIMIT_CORE 0 does not stop a core_pattern that pipes to a program (core(5))."""
    with contextlib.suppress(FileNotFoundError):  # a kernel without core dumps has no filter either
        Path("/proc/self/coredump_filter").write_text("0", encoding="ascii")


def _die_with(parent: int) -> None:
    """Ask for SIGKILL when the parent's thread ends, and notice a parent that is gone already."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        raise ProcessLookupError


def confine(policy: dict[str, Any]) -> None:
    """Apply the whole policy to this process. Raises OSError, KeyError or ValueError when any of it fails."""
    _die_with(int(policy["parent"]))
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    _dump_nothing()
    if policy["landlock"] is not None:
        lock(policy["landlock"])
    limit(policy["limits"])


def main(arguments: list[str]) -> int:
    """Confine, then become the program. Returns only when that failed, saying nothing of why: see the status."""
    try:
        confine(json.loads(arguments[0]))
        os.execve(arguments[1], arguments[1:], {})  # noqa: S606  # becoming the program is the purpose
    except (OSError, KeyError, ValueError, TypeError, IndexError, MemoryError):
        return REFUSED_STATUS


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
