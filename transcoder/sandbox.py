"""How a hostile file is opened: the policy under which every ffmpeg and ffprobe runs.

Invariants: the environment is empty (no FFREPORT, no proxy), the working folder is `/`, stdin is closed, the
process leads a session of its own so that it can be killed as a group; RLIMIT_FSIZE and RLIMIT_CORE are 0 in every
policy that can be written down; where the kernel has Landlock the process can read and execute one program, read
what the dynamic loader needs for it, write nowhere, and connect to the gateway's port only.

Landlock restricts TCP, not UDP: the allow-list of protocols in `command` is what keeps ffmpeg from opening any.
"""

from __future__ import annotations

import enum
import json
import os
import struct
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from . import jail
from .errors import SandboxUnavailable

_GIB = 1 << 30
_PT_INTERP = 3
_ELF_HEADER_BYTES = 64
# Where Debian, Fedora and Alpine keep shared libraries. The loader maps them with READ_FILE alone.
_LIBRARY_FOLDERS = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib")
_LOADER_FILES = ("/etc/ld.so.cache",)


class Landlock(enum.Enum):
    """Whether the kernel's own walls are wanted."""

    WHEN_AVAILABLE = "when-available"
    REQUIRED = "required"


@dataclass(frozen=True, slots=True)
class Sandbox:
    """Limits of one process. 2 GiB of address space hold the largest source; see threads in `command`."""

    address_space_bytes: int = 2 * _GIB
    open_files: int = 256
    cpu_s: int = 6 * 3600
    landlock: Landlock = Landlock.WHEN_AVAILABLE

    def wrap(self, argv: list[str], *, connect_ports: tuple[int, ...]) -> list[str]:
        """Put the jail in front of `argv`, whose first word is an absolute path.

        Raises SandboxUnavailable when Landlock is required and missing.
        """
        policy = {
            "parent": os.getpid(),
            "limits": self._limits(),
            "landlock": self._rules(argv[0], connect_ports),
        }
        launcher = [sys.executable, "-I", "-S", jail.__file__]
        return [*launcher, json.dumps(policy, separators=(",", ":")), *argv]

    def _limits(self) -> dict[str, int]:
        return {
            "RLIMIT_FSIZE": 0,
            "RLIMIT_CORE": 0,
            "RLIMIT_NOFILE": self.open_files,
            "RLIMIT_AS": self.address_space_bytes,
            "RLIMIT_CPU": self.cpu_s,
        }

    def _rules(self, program: str, connect_ports: tuple[int, ...]) -> dict[str, Any] | None:
        abi = jail.landlock_abi()
        if abi == 0:
            if self.landlock is Landlock.REQUIRED:
                raise SandboxUnavailable
            return None
        loader = interpreter_of(Path(program))
        execute = [program] if loader is None else [program, loader]
        read = (
            []
            if loader is None
            else [path for path in (*_LIBRARY_FOLDERS, *_LOADER_FILES) if Path(path).exists()]
        )
        return {"abi": abi, "execute": execute, "read": read, "connect": list(connect_ports)}


def landlock_abi() -> int:
    """Landlock ABI of the running kernel; 0 when it has none."""
    return jail.landlock_abi()


def describe_sandbox(sandbox: Sandbox | None = None) -> dict[str, object]:
    """Say in plain types what a run is protected by, for `doctor`."""
    policy, abi = sandbox or Sandbox(), jail.landlock_abi()
    return {
        "landlock_abi": abi,
        "landlock": policy.landlock.value,
        "filesystem_confined": abi >= 1,
        "network_confined": abi >= 4,  # noqa: PLR2004  # TCP rules came with ABI 4
        "signals_confined": abi >= 6,  # noqa: PLR2004  # scopes came with ABI 6
        "limits": policy._limits(),  # noqa: SLF001  # its own module
    }


def port_of(url: str) -> int:
    """Port of a loopback URL; raises ValueError for any other host or scheme, because only the gateway is served."""
    parts = urlsplit(url)
    if parts.scheme != "http" or parts.hostname != "127.0.0.1" or parts.port is None:
        raise ValueError("only http://127.0.0.1:PORT/ URLs are handed to ffmpeg")
    return parts.port


def interpreter_of(program: Path) -> str | None:
    """Path of the dynamic loader named in the ELF header (PT_INTERP); None for a static or a foreign program."""
    with program.open("rb") as file:
        return interpreter_in(file.read(4096))


def interpreter_in(head: bytes) -> str | None:
    """As `interpreter_of`, from a file's first 4 KiB. ELF64 little-endian (every machine the images run on)."""
    if len(head) < _ELF_HEADER_BYTES or head[:6] != b"\x7fELF\x02\x01":
        return None
    table_offset, entry_size, entries = struct.unpack_from("<Q14xHH", head, 32)
    for index in range(entries):
        offset = table_offset + index * entry_size
        if offset + 56 > len(head):
            return None
        kind, start, size = struct.unpack_from("<I4xQ16xQ", head, offset)
        if kind == _PT_INTERP:
            return head[start : start + size].rstrip(b"\0").decode("utf-8", "replace")
    return None
