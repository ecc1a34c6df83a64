"""Exit codes of every command, and how an error becomes one.

Invariant: an error is one sentence on stderr that says what to do; no traceback, nothing secret.
"""

from __future__ import annotations

import contextlib
import enum
import sys
from collections.abc import Iterator
from typing import Final

import click

from vault.cli.output import printable


class Exit(enum.IntEnum):
    """What a command's exit code means."""

    OK = 0
    FAILED = 1
    USAGE = 2
    IN_PROGRESS = 3
    REFUSED = 4
    PARTLY_FAILED = 5
    DEPENDENCY_DOWN = 6


# Module and class; the first line that an error is an instance of decides. Named, because loading every room's errors
# would take longer than most commands do: what is not loaded has not raised anything.
CODES: Final = (
    (Exit.USAGE, "vault.settings", "SettingsError"),
    (Exit.USAGE, "keys.errors", "MasterUnusable"),
    (Exit.USAGE, "vault.objects.errors", "StoreMisconfigured"),
    (Exit.USAGE, "vault.embedded", "EmbeddedError"),
    (Exit.USAGE, "vault.client.errors", "Misused"),
    (Exit.USAGE, "vault.rotation.errors", "MalformedHours"),
    (Exit.USAGE, "keys.errors", "MalformedId"),
    (Exit.USAGE, "vault.client.errors", "InvalidRequest"),
    (Exit.REFUSED, "keys.errors", "NotRetirable"),
    (Exit.REFUSED, "vault.rotation.errors", "StillNeeded"),
    (Exit.REFUSED, "vault.rotation.errors", "SecondNeeded"),
    (Exit.REFUSED, "vault.catalog.errors", "UnknownSchema"),
    (Exit.REFUSED, "vault.catalog.errors", "WrongState"),
    (Exit.REFUSED, "keys.errors", "ErasureRefused"),
    (Exit.REFUSED, "vault.erasure.errors", "ForeignTombstone"),
    (Exit.REFUSED, "vault.cli.guards", "GuardRefused"),
    (Exit.REFUSED, "vault.client.errors", "Unauthenticated"),
    (Exit.REFUSED, "vault.client.errors", "Forbidden"),
    (Exit.REFUSED, "vault.client.errors", "ConsultationTaken"),
    (Exit.REFUSED, "vault.client.errors", "PatientErased"),
    (Exit.REFUSED, "vault.client.errors", "ListingStopped"),
    (Exit.REFUSED, "vault.breaker.errors", "AnotherOpening"),
    (Exit.DEPENDENCY_DOWN, "vault.breaker.errors", "BreakerUnavailable"),
    (Exit.DEPENDENCY_DOWN, "keys.errors", "DatabaseUnavailable"),
    (Exit.DEPENDENCY_DOWN, "keys.errors", "MasterUnavailable"),
    (Exit.DEPENDENCY_DOWN, "vault.objects.errors", "StoreUnavailable"),
    (Exit.DEPENDENCY_DOWN, "vault.sessions.errors", "RecordsUnavailable"),
    (Exit.DEPENDENCY_DOWN, "vault.audit.errors", "AuditUnavailable"),
    (Exit.DEPENDENCY_DOWN, "vault.client.errors", "Unreachable"),
    (Exit.DEPENDENCY_DOWN, "vault.client.errors", "Busy"),
    (Exit.PARTLY_FAILED, "vault.audit.errors", "ChainBroken"),
    (Exit.PARTLY_FAILED, "vault.erasure.errors", "CertificateRefused"),
    (Exit.FAILED, "keys.errors", "KeysError"),
    (Exit.FAILED, "vault.catalog.errors", "CatalogError"),
    (Exit.FAILED, "vault.objects.errors", "ObjectsError"),
    (Exit.FAILED, "vault.sessions.errors", "SessionsError"),
    (Exit.FAILED, "vault.audit.errors", "AuditError"),
    (Exit.FAILED, "vault.erasure.errors", "ErasureError"),
    (Exit.FAILED, "vault.client.errors", "ReplayVaultError"),
)


def exit_of(error: Exception) -> Exit | None:
    """The code of an error of the house, None for a bug."""
    for code, module, name in CODES:
        kind = getattr(sys.modules.get(module), name, None)
        if isinstance(kind, type) and isinstance(error, kind):
            return code
    return None


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
        code = exit_of(error)
        if code is None:
            raise
        _leave(str(error), code)


def _leave(sentence: str, code: Exit) -> None:
    click.echo(f"replayvault: {printable(sentence)}", err=True)
    sys.exit(int(code))
