"""`replayvault serve`: answer HTTP, in one role or in all of them."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from vault import settings as house
from vault.cli.examples import Exampled
from vault.cli.exits import sentences
from vault.cli.running import run_until_stopped

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from vault.app.serving import Served

# role → settings, module and function; a role's module is loaded for that role alone
_ROLES: Final[dict[str, tuple[type[house.ServeSettings], str, str]]] = {
    "all": (house.AllSettings, "vault.app.everything", "every_role"),
    "control": (house.ControlSettings, "vault.app.control", "control_role"),
    "stream": (house.StreamSettings, "vault.app.stream", "stream_role"),
}


@click.command(
    cls=Exampled,
    examples=(
        "replayvault serve",
        "replayvault serve --port 9000 --data-dir /srv/replayvault",
        "REPLAYVAULT_CATALOG_URL=postgresql+asyncpg://db/replayvault replayvault serve --role stream",
    ),
)
@click.option("--role", type=click.Choice(list(_ROLES)), default="all", show_default=True)
@click.option("--host", help="Address to listen on.  [default: 127.0.0.1]")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on.  [default: 8080]")
@click.option(
    "--data-dir", type=click.Path(file_okay=False, path_type=Path), help="Where everything is kept."
)
def serve(role: str, host: str | None, port: int | None, data_dir: Path | None) -> None:
    """Serve the API and the page.

    With no configuration at all, one process does everything on one machine and keeps its data in one folder.
    """
    kind, module, name = _ROLES[role]
    with sentences():
        given = house.load(kind, host=host, port=port, data_dir=data_dir)
        run_until_stopped(lambda: _serving(given, getattr(importlib.import_module(module), name)))


@contextlib.asynccontextmanager
async def _serving(settings: Any, role: Any) -> AsyncIterator[None]:
    from vault.app.serving import build_app, listening  # noqa: PLC0415 - after the role's own imports

    opened: AbstractAsyncContextManager[Served] = role(settings)
    async with opened as served:
        app = build_app(served, settings)
        async with listening(app, host=settings.host, port=settings.port) as url:
            click.echo(f"listening on {url}", err=True)
            yield
