"""A real server as a child process: start, stop, kill -9, pause, resume, start again on the same data.

Invariants:
- a server never outlives its test worker, even one that was killed (guard.py);
- it owns one temporary folder (its data, socket and log) and one loopback port, both gone after `close`;
- start and stop are bounded in time; a failed start raises with the end of the server's log;
- nothing is printed: stdout and stderr go to the log in the folder.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

_GUARD = Path(__file__).with_name("guard.py")
_START_TIMEOUT_S = 30.0
_STOP_TIMEOUT_S = 10.0
_POLL_S = 0.01

# PR_SET_PDEATHSIG watches the *thread* that forked. One thread that lives as long as the process forks them all,
# so a server restarted from a short-lived thread of some test isn't killed when that thread ends.
_nursery = ThreadPoolExecutor(max_workers=1, thread_name_prefix="servers")

# Below the kernel's ephemeral range (32768…60999): no outgoing connection takes the port between two starts.
_PORTS = range(20_000, 32_000)


class ServerFailedError(Exception):
    """A real server did not start, or did not do what a test asked of it."""


def free_port() -> int:
    """Return a loopback TCP port nobody listens on, drawn at random so that test workers don't meet."""
    while True:
        port = secrets.choice(_PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def _descendants(pid: int) -> Iterator[int]:
    """Yield `pid` and every process below it: PostgreSQL's backends leave their parent's process group."""
    yield pid
    with contextlib.suppress(OSError):
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split():
            yield from _descendants(int(child))


class ChildServer(ABC):
    """A server that runs below this process; use as a context manager. See the module for its promises."""

    name: str
    stop_signal = signal.SIGTERM
    start_attempts = 1

    def __init__(self) -> None:
        # Short: a unix socket's path holds at most 107 bytes.
        self.folder = Path(tempfile.mkdtemp(prefix=f"rv-{self.name}-"))
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def _command(self) -> list[str]:
        """Return the argv of the server, its first word an absolute path."""

    @abstractmethod
    def _ready(self) -> bool:
        """Tell whether the server answers a real request; never blocks for more than a second."""

    def _user(self) -> str:
        """Name the account the server runs as; empty means ours."""
        return ""

    @property
    def pid(self) -> int:
        """Process id of the running server; raises `ServerFailedError` when it isn't running."""
        if self._process is None:
            message = f"{self.name} is not running"
            raise ServerFailedError(message)
        return self._process.pid

    @property
    def environment(self) -> dict[str, str]:
        """What the server sees of the environment: nothing of ours; its temporary files go to its folder."""
        return {
            "PATH": os.defpath,
            "HOME": str(self.folder),
            "TMPDIR": str(self.folder),
            "LC_ALL": "C.UTF-8",
            "TZ": "UTC",
        }

    def start(self) -> None:
        """Start on the folder's data and wait until the server answers, else raise `ServerFailedError`."""
        if self._process is not None:
            message = f"{self.name} runs already"
            raise ServerFailedError(message)
        for _ in range(self.start_attempts - 1):
            with contextlib.suppress(ServerFailedError):
                return self._start_once()
            time.sleep(0.2)
        return self._start_once()

    def stop(self) -> None:
        """Ask the server to end and wait; kill it when it doesn't. The data stays for the next `start`."""
        if self._process is None:
            return
        self.resume()
        self._process.send_signal(self.stop_signal)
        try:
            self._process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGKILL)
        self._reap()

    def kill(self) -> None:
        """End the server and its children as `kill -9` does: no goodbye, no last write."""
        self._signal(signal.SIGKILL)
        self._reap()

    def pause(self) -> None:
        """Freeze the server and its children (SIGSTOP): connections stay open and nothing answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused server go on (SIGCONT)."""
        self._signal(signal.SIGCONT)

    def close(self) -> None:
        """Stop the server and remove its folder."""
        try:
            self.stop()
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    def log_tail(self) -> str:
        """Return the last lines the server wrote, for the message of a failed test."""
        with contextlib.suppress(FileNotFoundError):
            return self._log.read_text(encoding="utf-8", errors="replace")[-2000:]
        return ""

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    @property
    def _log(self) -> Path:
        return self.folder / "server.log"

    def _start_once(self) -> None:
        with self._log.open("ab") as log:
            self._process = _nursery.submit(
                subprocess.Popen,
                [sys.executable, "-I", "-S", str(_GUARD), str(os.getpid()), self._user(), *self._command()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.environment,
                cwd=self.folder,
                start_new_session=True,
            ).result()
        self._wait_until_ready()

    def _wait_until_ready(self) -> None:
        process, deadline = self._process, time.monotonic() + _START_TIMEOUT_S
        assert process is not None
        while process.poll() is None and time.monotonic() < deadline:
            if self._ready():
                return
            time.sleep(_POLL_S)
        tail = self.log_tail()
        self.kill()
        message = f"{self.name} did not start (exit code {process.returncode}): {tail}"
        raise ServerFailedError(message)

    def _signal(self, number: signal.Signals) -> None:
        for pid in list(_descendants(self.pid)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def _reap(self) -> None:
        if self._process is not None:
            self._process.wait(_STOP_TIMEOUT_S)
            self._process = None
