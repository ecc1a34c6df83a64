"""Files that hold secrets: made once, whole and private, and refused when others could read them.

Invariants: mode 0600; written to a new name, synced and linked or renamed into place, so that no reader sees half a
file and no second first start overwrites a key; symbolic links are not followed; who changes a file holds its lock from
reading to writing, so that of two changes none is lost.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from keys.errors import MasterUnusable

_PRIVATE: Final = 0o600


def create_private_file(path: Path, data: bytes) -> None:
    """Write `data` to `path` unless a file stands there; raises `MasterUnusable` where that cannot be done."""
    try:
        _link_into_place(path, data)
    except OSError as error:
        raise MasterUnusable(f"cannot write the key file {path}: {error.strerror}") from None


def change_private_file(
    path: Path,
    change: Callable[[bytes], bytes],
    *,
    keeps_its_age: Callable[[bytes, bytes], bool] | None = None,
) -> bytes:
    """Put what `change` makes of a key file in its place, and return it; raises `MasterUnusable` as reading does.

    Where `keeps_its_age` says so of the content before and after, the file's time of modification stays as it was.
    """
    try:
        lock = os.open(
            path.with_name(f".{path.name}.lock"),
            os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC,
            _PRIVATE,
        )
    except OSError as error:
        raise MasterUnusable(f"cannot lock the key file {path}: {error.strerror}") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        before = read_private_file(path)
        data = change(before)
        is_as_old = keeps_its_age is not None and keeps_its_age(before, data)
        _rename_into_place(path, data, modified_ns=path.stat().st_mtime_ns if is_as_old else None)
    except OSError as error:
        raise MasterUnusable(f"cannot write the key file {path}: {error.strerror}") from None
    finally:
        os.close(lock)
    return data


def read_private_file(path: Path) -> bytes:
    """The content of a key file; raises `MasterUnusable` with a sentence that says what to do."""
    try:
        # Not blocking: a pipe in the place of a key file is refused below, and never waited for.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise MasterUnusable(f"cannot read the key file {path}: {error.strerror}") from None
    try:
        return _read_regular(descriptor, path)
    finally:
        os.close(descriptor)


def _read_regular(descriptor: int, path: Path) -> bytes:
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        raise MasterUnusable(f"{path} is no file, and so no key file")
    if stat.S_IMODE(mode) & 0o077:
        raise MasterUnusable(f"the key file {path} is readable by others; run: chmod 600 {path}")
    try:
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read()
    except OSError as error:
        raise MasterUnusable(f"cannot read the key file {path}: {error.strerror}") from None


def _link_into_place(path: Path, data: bytes) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _draft(path, data) as draft, contextlib.suppress(FileExistsError):
        path.hardlink_to(draft)
    _sync_folder(path.parent)


def _rename_into_place(path: Path, data: bytes, *, modified_ns: int | None) -> None:
    with _draft(path, data) as draft:
        if modified_ns is not None:
            os.utime(draft, ns=(modified_ns, modified_ns))
        draft.replace(path)
    _sync_folder(path.parent)


@contextlib.contextmanager
def _draft(path: Path, data: bytes) -> Iterator[Path]:
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _PRIVATE)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        yield draft
    finally:
        draft.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
