"""Every byte that a process and its children write, by strace; and where.

`-xx` shows every string, file names included, as hexadecimal, so that a search needs no unescaping; `-y` shows what
a file descriptor stands for.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.media.tools import program

_WRITING = (
    "write,pwrite64,writev,pwritev,pwritev2,sendfile,copy_file_range,splice,vmsplice,tee,"
    "open,openat,openat2,creat,execve,io_uring_setup,memfd_create,mmap"
)
_CALL = re.compile(r"^(\d+) +(\w+)\((.*)", re.DOTALL)
_TARGET = re.compile(r"^(?:AT_FDCWD|-?\d+)(?:<((?:\\x[0-9a-f]{2})*)>)?")
_STRING = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')


@dataclass(frozen=True, slots=True)
class Call:
    """One system call: who, which, the file its first argument stands for, the names it gives, and all of it."""

    pid: int
    name: str
    target: str
    text: str

    @property
    def strings(self) -> list[str]:
        """Its text arguments."""
        return [_text(found) for found in _STRING.findall(self.text)]

    @property
    def opens_for_writing(self) -> bool:
        """Whether it asks for a file to write to."""
        opening = self.name in {"open", "openat", "openat2", "creat"}
        return opening and any(flag in self.text for flag in ("O_WRONLY", "O_RDWR", "O_CREAT"))

    @property
    def reaches_a_file(self) -> bool:
        """Whether it writes to something that has a path: not a socket, a pipe or a counter."""
        return self.target.startswith("/") and not self.target.startswith(("/dev/null", "/proc/"))

    def holds(self, needle: bytes) -> bool:
        """Whether the bytes stand in its arguments."""
        return _hex(needle) in self.text


def tracer(log: Path) -> tuple[str, ...]:
    """The program and options to put before a command."""
    strace = program("strace", package="strace")
    return (strace, "-f", "-qq", "-y", "-xx", "-s", "100000000", "-e", f"trace={_WRITING}", "-o", str(log))


def calls(log: Path) -> Iterator[Call]:
    """The calls in a tracer's log."""
    with log.open(encoding="ascii") as lines:
        for line in lines:
            found = _CALL.match(line)
            if found is not None:
                target = _TARGET.match(found[3])
                name = "" if target is None or target[1] is None else _text(target[1])
                yield Call(int(found[1]), found[2], name, found[3])


def files_holding(folders: Iterable[Path], needles: Iterable[bytes]) -> list[tuple[Path, bytes]]:
    """Every file below the folders, name or content, that holds one of the needles."""
    wanted = tuple(needles)
    hits = []
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
            text = str(path).encode() + b"\0" + content
            hits += [(path, needle) for needle in wanted if needle in text]
    return hits


def _hex(data: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in data)


def _text(shown: str) -> str:
    return bytes.fromhex(shown.replace("\\x", "")).decode(errors="replace")
