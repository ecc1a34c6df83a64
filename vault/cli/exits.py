"""Exit codes of every command, and how an error becomes one.

Invariant: an error is one sentence on stderr that says what to do; no traceback, nothing secret.
"""

from __future__ import annotations

import contextlib
import enum
import sys
from collections.abc import Iterator

import click

from keys.errors import DatabaseUnavailable, KeysError, MasterUnavailable, MasterUnusable
from vault.audit.errors import AuditUnavailable
from vault.catalog.errors import CatalogError, UnknownSchema
from vault.embedded import EmbeddedError
from vault.objects.errors import ObjectsError, StoreMisconfigured, StoreUnavailable
from vault.sessions.errors import RecordsUnavailable
from vault.settings import SettingsError


class Exit(enum.IntEnum):
    """What a command's exit code means."""

    OK = 0
    FAILED = 1
    USAGE = 2
    IN_PROGRESS = 3
    REFUSED = 4
    PARTLY_FAILED = 5
    DEPENDENCY_DOWN = 6


_USAGE = (SettingsError, MasterUnusable, StoreMisconfigured, EmbeddedError)
_DOWN = (DatabaseUnavailable, MasterUnavailable, StoreUnavailable, RecordsUnavailable, AuditUnavailable)


@contextlib.contextmanager
def sentences() -> Iterator[None]:
    """Turn what the house raises into a sentence and an exit code."""
    try:
        yield
    except _USAGE as error:
        _leave(error, Exit.USAGE)
    except UnknownSchema as error:
        _leave(error, Exit.REFUSED)
    except _DOWN as error:
        _leave(error, Exit.DEPENDENCY_DOWN)
    except (KeysError, CatalogError, ObjectsError) as error:
        _leave(error, Exit.FAILED)
    except OSError as error:
        _leave(error, Exit.DEPENDENCY_DOWN)


def _leave(error: Exception, code: Exit) -> None:
    click.echo(f"replayvault: {error}", err=True)
    sys.exit(int(code))
