"""How a command reaches the service: address and token, by options or by the environment.

Invariants: a token comes from a file or from standard input, never from an argument or an environment variable's
value, which other users of the machine can see; a token that is given where a file's name is due is not repeated.
"""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

import click

from vault.client import PatientSession, ReplayVault, Token
from vault.client.errors import InvalidToken
from vault.client.token import MAX_FILE_BYTES, TokenKind

DEFAULT_URL: Final = "http://127.0.0.1:8080"
STDIN: Final = "-"
_LOOKS_LIKE_TOKEN: Final = re.compile(r"rv[kst]_", re.ASCII)

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """Where the service is, and where the token is. Reads the token when it is needed, once."""

    url: str
    token_file: str | None
    plain_http: bool

    def token(self) -> Token:
        """The token; raises `InvalidToken` with what to do."""
        if self.token_file is None:
            raise InvalidToken(
                "name the file that holds your token: --token-file FILE, or REPLAYVAULT_TOKEN_FILE; "
                "- reads it from standard input"
            )
        if _LOOKS_LIKE_TOKEN.match(self.token_file):
            raise InvalidToken(
                "a token was given where the name of its file is due; it may have been seen: revoke it"
            )
        if self.token_file == STDIN:
            return Token(_read_stdin())
        return Token.from_file(Path(self.token_file))

    def backend(self) -> ReplayVault:
        """The service by a service token."""
        return self.backend_with(self.token())

    def backend_with(self, token: Token) -> ReplayVault:
        """The service by a token that was read before."""
        return ReplayVault(self.url, token.require(TokenKind.SERVICE), plain_http=self.plain_http)

    def patient(self) -> PatientSession:
        """The service by a session token."""
        return self.patient_with(self.token())

    def patient_with(self, token: Token) -> PatientSession:
        """The service by a session token that was read before."""
        return PatientSession(self.url, token.require(TokenKind.SESSION), plain_http=self.plain_http)


def connected(command: Callable[Concatenate[Connection, P], R]) -> Callable[..., R]:
    """Give a command the options of a connection, and a `Connection` as its first argument."""

    @click.option(
        "--url",
        envvar="REPLAYVAULT_URL",
        default=DEFAULT_URL,
        show_default=True,
        show_envvar=True,
        help="The service.",
    )
    @click.option(
        "--token-file",
        metavar="FILE",
        envvar="REPLAYVAULT_TOKEN_FILE",
        show_envvar=True,
        help="File with the token; - reads standard input.",
    )
    @click.option(
        "--plain-http", is_flag=True, help="Allow http to another machine, where the network itself encrypts."
    )
    @functools.wraps(command)
    def with_connection(*given: Any, url: str, token_file: str | None, plain_http: bool, **named: Any) -> R:
        connection = Connection(url=url, token_file=token_file, plain_http=plain_http)
        return command(connection, *given, **named)

    return with_connection


def _read_stdin() -> str:
    if sys.stdin.isatty():
        typed: str = click.prompt("Token", hide_input=True, err=True)
        return typed.strip()
    return sys.stdin.buffer.read(MAX_FILE_BYTES).decode("ascii", "replace").strip()
