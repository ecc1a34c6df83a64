"""A service as `replayvault serve` runs it, and people who type commands at it, as processes of their own.

    done = desk.run("recordings", "ls", "--json")        # by the backend's token
    done = desk.run("get", recording, token=desk.session) # by a patient's
    done = desk.invoke("recordings", "ls")                # the same in this process: quicker, for what is refused
    assert done.code == Exit.OK; done.json

Every run is looked at: no token of the desk in what it prints, and no traceback.
"""

from __future__ import annotations

import contextlib
import ctypes
import http
import http.client
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.media import Media
from tests.servers.child import ChildServer
from vault.cli import replayvault

COMMAND = str(Path(sys.prefix) / "bin" / "replayvault")
TITLE = "Knee, six weeks after surgery"
_TIMEOUT_S = 60.0
_PR_SET_DUMPABLE = 4
_TOKEN = re.compile(r"rv[kst]_[A-Za-z0-9_-]{43}")


class VaultServer(ChildServer):
    """`replayvault serve`, everything in one folder."""

    name = "vault"

    @property
    def data(self) -> Path:
        """Its data folder."""
        return self.folder / "data"

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def _command(self) -> list[str]:
        return [COMMAND, "serve", "--port", str(self.port), "--data-dir", str(self.data)]

    def _ready(self) -> bool:
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=1)
        with contextlib.suppress(OSError), contextlib.closing(line):
            line.request("GET", "/readyz")
            return line.getresponse().status == http.HTTPStatus.OK
        return False


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Its output as one JSON document."""
        return json.loads(self.out)


@dataclass(slots=True)
class Desk:
    """Someone at a shell, in a folder of their own."""

    server: VaultServer
    folder: Path

    @property
    def backend(self) -> Path:
        """The file with the backend's token."""
        return self.folder / "backend.token"

    @property
    def session(self) -> Path:
        """The file with the session token of patient p-1."""
        return self.folder / "session.token"

    def environment(
        self, token: Path | str | None = None, more: Mapping[str, str] | None = None
    ) -> dict[str, str]:
        """What the shell has exported."""
        return {
            "PATH": f"{Path(COMMAND).parent}:{os.defpath}",
            "HOME": str(self.folder),
            "LC_ALL": "C.UTF-8",
            "TZ": "UTC",
            "REPLAYVAULT_URL": self.server.url,
            "REPLAYVAULT_DATA_DIR": str(self.server.data),
            "REPLAYVAULT_TOKEN_FILE": str(token or self.backend),
            **(more or {}),
        }

    def run(
        self,
        *words: str | Path,
        token: Path | str | None = None,
        stdin: str = "",
        shows_token: bool = False,
        more: Mapping[str, str] | None = None,
    ) -> Done:
        """Run `replayvault` with these words; `more` is added to the environment."""
        done = subprocess.run(
            [COMMAND, *map(str, words)],
            input=stdin,
            capture_output=True,
            text=True,
            cwd=self.folder,
            env=self.environment(token, more),
            timeout=_TIMEOUT_S,
            check=False,
        )
        self.look_at(done.stdout + done.stderr, shows_token=shows_token)
        return Done(done.returncode, done.stdout, done.stderr)

    def invoke(
        self,
        *words: str | Path,
        token: Path | str | None = None,
        stdin: str = "",
        more: Mapping[str, str] | None = None,
    ) -> Done:
        """As `run`, in this process and its folder; what a command does to its process is taken back after the test."""
        done = CliRunner().invoke(
            replayvault, [*map(str, words)], input=stdin, env=self.environment(token, more)
        )
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        self.look_at(done.stdout + done.stderr, shows_token=False)
        return Done(done.exit_code, done.stdout, done.stderr)

    def look_at(self, printed: str, *, shows_token: bool) -> None:
        """Raise AssertionError for a traceback, a token that is not to be shown, or none where one is."""
        assert "Traceback" not in printed, printed
        assert shows_token == (_TOKEN.search(printed) is not None)

    def secret(self, file: Path) -> str:
        """The token in a file."""
        return file.read_text(encoding="ascii").strip()


@pytest.fixture(autouse=True)
def _process_as_before() -> Iterator[None]:
    """Take back what `harden_process` does: other tests share this process."""
    mask = os.umask(0o077)
    os.umask(mask)
    yield
    os.umask(mask)
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0)


@pytest.fixture(scope="session")
def vault_server() -> Iterator[VaultServer]:
    """One service for this worker."""
    with VaultServer() as server:
        yield server


@pytest.fixture(scope="session")
def desk(vault_server: VaultServer, tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """A desk with a backend's token."""
    made = Desk(vault_server, tmp_path_factory.mktemp("desk"))
    scopes = [word for scope in ("ingest", "sessions", "tickets") for word in ("--scope", scope)]
    done = made.run("tokens", "create", "--tenant", "clinic", *scopes, "--save", made.backend)
    assert done.code == 0, done
    return made


@pytest.fixture(scope="session")
def stored(desk: Desk, media: Media) -> dict[str, Any]:
    """A published recording of patient p-1, as `put --json` tells it; the desk has a session of p-1 then."""
    words = (
        "--patient",
        "p-1",
        "--consultation",
        "c-1",
        "--title",
        TITLE,
        "--clinician",
        "Dr Osei",
        "--json",
    )
    done = desk.run("put", media.path("audio.webm"), *words, "--consulted-at", "2026-03-01T09:30+01:00")
    assert done.code == 0, done
    assert desk.run("sessions", "open", "--patient", "p-1", "--ttl", "1h", "--save", desk.session).code == 0
    return dict(done.json)


@pytest.fixture(scope="session")
def recording(stored: dict[str, Any]) -> str:
    """Its id."""
    return str(stored["id"])
