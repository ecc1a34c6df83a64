"""Bearer tokens as the client holds them.

Invariants: a token does not print, compare, copy or pickle; its text leaves through `reveal(to=…)` alone; whatever
is not exactly of a token's form is refused before it gets near a header, and the refusal does not quote it.
"""

from __future__ import annotations

import enum
import re
from pathlib import Path
from typing import Final, NoReturn, Self, SupportsIndex

from vault.client.errors import InvalidToken

_TOKEN: Final = re.compile(r"(rv[kst])_[A-Za-z0-9_-]{43}", re.ASCII)
# A token has 47 characters; whoever names a larger file named the wrong one.
MAX_FILE_BYTES: Final = 1024


class TokenKind(enum.Enum):
    """What a token is for; the value is its prefix."""

    SERVICE = "rvk"
    SESSION = "rvs"
    TICKET = "rvt"

    @property
    def described(self) -> str:
        """For sentences."""
        return f"{self.name.lower()} token ({self.value}_…)"


class Token:
    """One bearer token."""

    __slots__ = ("_text", "kind")

    def __init__(self, text: str) -> None:
        """Raises `InvalidToken`."""
        found = _TOKEN.fullmatch(text)
        if found is None:
            raise InvalidToken(
                "not a token of Replay Vault: one has 47 characters and starts with rvk_ or rvs_"
            )
        self._text = text
        self.kind = TokenKind(found[1])

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """The token in a file, white space around it ignored; raises `InvalidToken`. Blocks."""
        try:
            with path.open("rb") as file:
                data = file.read(MAX_FILE_BYTES)
        except OSError as error:
            raise InvalidToken(f"cannot read the token file {path}: {error.strerror}") from None
        try:
            return cls(data.decode("ascii").strip())
        except (UnicodeDecodeError, InvalidToken):
            raise InvalidToken(
                f"the file {path} does not hold a token of Replay Vault, or more than one"
            ) from None

    def require(self, kind: TokenKind) -> Self:
        """Itself; raises `InvalidToken` where it is of another kind."""
        if self.kind is not kind:
            raise InvalidToken(f"a {kind.described} is due here, and this is a {self.kind.described}")
        return self

    def reveal(self, *, to: str) -> str:
        """The token's text; `to` names who receives it."""
        if not to:
            raise ValueError("name who receives the token")
        return self._text

    def __repr__(self) -> str:
        return f"<{self.kind.name.lower()} token, not shown>"

    __str__ = __repr__

    def __format__(self, _spec: str) -> str:
        return repr(self)

    def _refuse(self, *_: object) -> NoReturn:
        raise TypeError("a token is not compared, hashed, copied or pickled")

    def __eq__(self, other: object) -> bool:
        self._refuse(other)

    __hash__ = None  # type: ignore[assignment]

    def __reduce_ex__(self, _protocol: SupportsIndex) -> NoReturn:
        self._refuse()

    def __copy__(self) -> NoReturn:
        self._refuse()

    def __deepcopy__(self, _memo: object) -> NoReturn:
        self._refuse()
