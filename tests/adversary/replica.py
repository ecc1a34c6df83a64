"""Another server of the stream role, a process of its own on the world's catalog, Redis and objects."""

from __future__ import annotations

import http.client
import os
import shutil
import sys
from pathlib import Path

from tests.servers.child import ChildServer
from tests.world import World


def stream_environment(world: World, folder: Path) -> dict[str, str]:
    """What a stream role on another machine is told: where everything is, and its tier secret."""
    settings = world.settings
    tier = folder / "tier"
    if not tier.exists():
        shutil.copy(settings.tier_file, tier)
    told = {
        "DATA_DIR": str(folder / "data"),
        "CATALOG_URL": settings.catalog,
        "REDIS_URL": settings.redis,
        "OBJECTS_URL": settings.objects,
        "TIER_SECRET_FILE": str(tier),
    }
    # The object store's credentials: on S3, they are all that this role has.
    store = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    return store | {f"REPLAYVAULT_{name}": value for name, value in told.items()}


def program() -> str:
    """The installed command."""
    return str(Path(sys.executable).with_name("replayvault"))


class StreamServer(ChildServer):
    """`replayvault serve --role stream`; use as a context manager, off the event loop."""

    name = "stream"

    def __init__(self, world: World, **more: str) -> None:
        super().__init__()
        self.told = stream_environment(world, self.folder) | more

    @property
    def environment(self) -> dict[str, str]:
        """The world's places, and every import on record in the log."""
        return super().environment | self.told | {"PYTHONPROFILEIMPORTTIME": "1"}

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        """Everything that it wrote."""
        return self._log.read_text(encoding="utf-8")

    def modules(self) -> set[str]:
        """The modules that it imported."""
        return {
            line.rpartition("|")[2].strip()
            for line in self.log.splitlines()
            if line.startswith("import time:")
        }

    def _command(self) -> list[str]:
        return [program(), "serve", "--role", "stream", "--host", "127.0.0.1", "--port", str(self.port)]

    def _ready(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=1)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
