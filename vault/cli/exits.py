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
from vault.audit.errors import AuditError, AuditUnavailable, ChainBroken
from vault.catalog.errors import CatalogError, UnknownSchema
from vault.cli.guards import GuardRefused
from vault.cli.output import printable
from vault.client import errors as client
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


# The first line that an error is an instance of decides.
_CODES: tuple[tuple[tuple[type[Exception], ...], Exit], ...] = (
    ((SettingsError, MasterUnusable, StoreMisconfigured, EmbeddedError), Exit.USAGE),
    ((client.Misused, client.InvalidRequest), Exit.USAGE),
    ((UnknownSchema, GuardRefused), Exit.REFUSED),
    (
        (client.Unauthenticated, client.Forbidden, client.ConsultationTaken, client.PatientErased),
        Exit.REFUSED,
    ),
    ((DatabaseUnavailable, MasterUnavailable, StoreUnavailable), Exit.DEPENDENCY_DOWN),
    ((RecordsUnavailable, AuditUnavailable), Exit.DEPENDENCY_DOWN),
    ((client.Unreachable, client.Busy), Exit.DEPENDENCY_DOWN),
    ((ChainBroken,), Exit.PARTLY_FAILED),
    ((KeysError, CatalogError, ObjectsError, AuditError, client.ReplayVaultError), Exit.FAILED),
)


@contextlib.contextmanager
def sentences() -> Iterator[None]:
    """Turn what the house raises into a sentence and an exit code."""
    try:
        yield
    except BrokenPipeError:
        raise  # whoever read our output has seen enough; click ends quietly
    except OSError as error:
        place = f" {error.filename}:" if error.filename else ""
        _leave(f"{place} {error.strerror or type(error).__name__}".strip(), Exit.DEPENDENCY_DOWN)
    except Exception as error:
        code = next((code for kinds, code in _CODES if isinstance(error, kinds)), None)
        if code is None:
            raise
        _leave(str(error), code)


def _leave(sentence: str, code: Exit) -> None:
    click.echo(f"replayvault: {printable(sentence)}", err=True)
    sys.exit(int(code))
