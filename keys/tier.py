"""The tier secret in a file: 32 bytes in base64url, one line each; the first seals, every one opens.

Two lines stand there while one secret replaces another. What a rotation has to remember meanwhile stands in a file
beside it, with ids and no secret.

Invariants:
- each change is one rename, and may be repeated: a rotation that was stopped anywhere goes on from what stands there;
- the file is as old as the youngest secret in it: what only changes their order, or takes one out, makes it no younger;
- a process that looks at the file again never loses what it holds to a file that cannot be read.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self, overload

from keys import payload
from keys.errors import Malformed, MasterUnusable
from keys.keyfile import change_private_file, create_private_file, read_private_file
from keys.records import tier_id
from keys.secret import TierSecret

_PAIR: Final = 2


def create_tier_file(path: Path) -> None:
    """Make a file with one fresh secret, unless one stands there already; raises `MasterUnusable`."""
    create_private_file(path, _encoded((TierSecret.generate(),)))


def load_tier_file(path: Path) -> tuple[TierSecret, ...]:
    """The secrets, the sealing one first; raises `MasterUnusable`."""
    return _decoded(read_private_file(path), path)


class LiveTiers(Sequence[TierSecret]):
    """The secrets of a file that is looked at again while the process runs."""

    def __init__(self, path: Path) -> None:
        """Reads the file; raises `MasterUnusable`."""
        self._path = path
        self._secrets = load_tier_file(path)

    def look(self) -> None:
        """Read the file again; raises `MasterUnusable`, and then holds what it held."""
        self._secrets = load_tier_file(self._path)

    @property
    def ids(self) -> tuple[str, ...]:
        """Ids of the secrets in hexadecimal, the sealing one first."""
        return _ids(self._secrets)

    @overload
    def __getitem__(self, at: int) -> TierSecret: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[TierSecret]: ...
    def __getitem__(self, at: int | slice) -> TierSecret | Sequence[TierSecret]:
        return self._secrets[at]

    def __iter__(self) -> Iterator[TierSecret]:
        return iter(self._secrets)

    def __len__(self) -> int:
        return len(self._secrets)


@dataclass(frozen=True, slots=True)
class TierRotation:
    """A rotation that was begun: the id of the secret that goes, and since when every replica seals with the other."""

    old: str
    sealed_since: dt.datetime | None = None

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """What was begun on the tier file at `path`, None where nothing was; raises `MasterUnusable`."""
        beside = _beside(path)
        if not beside.exists():
            return None
        try:
            found = json.loads(read_private_file(beside))
            since = found["sealed_since"]
            return cls(str(found["old"]), None if since is None else dt.datetime.fromisoformat(since))
        except (ValueError, KeyError, TypeError):
            raise MasterUnusable(
                f"{beside} does not say which secret goes: remove it, and begin again"
            ) from None

    @classmethod
    def begin(cls, path: Path) -> Self:
        """Say that the file's one secret is to go; raises `MasterUnusable` where there are more."""
        ids = _ids(load_tier_file(path))
        if len(ids) != 1:
            raise MasterUnusable(
                f"{path} has more than one secret, and no rotation was begun here: leave the first line alone in it"
            )
        begun = cls(ids[0])
        create_private_file(_beside(path), begun.as_file())
        return begun

    def note(self, path: Path, *, sealed_since: dt.datetime) -> Self:
        """Remember since when every replica seals with the new secret."""
        noted = type(self)(self.old, sealed_since)
        change_private_file(_beside(path), lambda _: noted.as_file())
        return noted

    def end(self, path: Path) -> None:
        """Forget it: the file has one secret again."""
        _beside(path).unlink(missing_ok=True)

    def as_file(self) -> bytes:
        """As it stands in its file."""
        since = None if self.sealed_since is None else self.sealed_since.isoformat()
        return json.dumps({"old": self.old, "sealed_since": since}).encode() + b"\n"


def tier_ids(path: Path) -> tuple[str, ...]:
    """Ids of a file's secrets in hexadecimal, the sealing one first; raises `MasterUnusable`."""
    return _ids(load_tier_file(path))


def written_at(path: Path) -> dt.datetime | None:
    """When a secret was last put into the file, by its time of modification; None where there is no file."""
    try:
        return dt.datetime.fromtimestamp(path.stat().st_mtime, dt.UTC)
    except FileNotFoundError:
        return None


def add_tier(path: Path, *, after: str) -> None:
    """Add a fresh secret, which opens and does not seal yet, where `after` stands alone."""
    fresh = TierSecret.generate()
    _change(path, lambda held: (*held, fresh) if _ids(held) == (after,) else held)


def seal_with_newest(path: Path, *, old: str) -> None:
    """Let the other secret of two seal, where `old` does."""
    _change(path, lambda held: held[::-1] if len(held) == _PAIR and _ids(held)[0] == old else held)


def drop_tier(path: Path, *, old: str) -> None:
    """Take the secret `old` out of the file, where it does not seal."""
    _change(path, lambda held: (held[0], *(each for each in held[1:] if _ids((each,)) != (old,))))


def _change(path: Path, change: Callable[[tuple[TierSecret, ...]], tuple[TierSecret, ...]]) -> None:
    change_private_file(
        path,
        lambda data: _encoded(change(_decoded(data, path))),
        keeps_its_age=lambda before, after: set(after.split()) <= set(before.split()),
    )


def _ids(secrets: Sequence[TierSecret]) -> tuple[str, ...]:
    return tuple(tier_id(each).hex() for each in secrets)


def _encoded(secrets: Sequence[TierSecret]) -> bytes:
    return b"".join(payload.to_text(each.reveal(to="tier secret file")).encode() + b"\n" for each in secrets)


def _decoded(data: bytes, path: Path) -> tuple[TierSecret, ...]:
    found: tuple[TierSecret, ...] = ()
    with contextlib.suppress(UnicodeDecodeError, Malformed):
        found = tuple(TierSecret(payload.to_bytes(line)) for line in data.decode("ascii").split())
    if not found:
        raise MasterUnusable(f"{path} holds no tier secret; it has one line of base64url for each")
    return found


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.rotation")
