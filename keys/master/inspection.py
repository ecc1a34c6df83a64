"""What an operator should know of a transit key, and of the tokens that reach it.

Invariants: nothing is changed, and nothing of ours is opened: what a token may do is asked of the server, except that
the rotator tries to open a probe, and the retirer offers a setting what it cannot be; what cannot be learned is None,
never taken for well.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from keys.errors import KeysError, MasterRefused, NoSuchKey
from keys.master.openbao import Door, OpenBaoMaster
from keys.secret import MasterHalf

# Paths below the mount, and what whoever may write there can do.
_OPENS: Final = {"decrypt/{key}": "open wraps"}
_ROTATES: Final = {"keys/{key}/rotate": "make versions", "rewrap/{key}": "rewrap"}
_WRAPS: Final = {"encrypt/{key}": "wrap"}
_RETIRES: Final = {"keys/{key}/trim": "destroy old versions"}
_CHANGES: Final = "change the key's settings"
_RULES: Final = {
    "keys/{key}": "delete or make the key",
    "keys/{key}/config": _CHANGES,
    "keys/{key}/import": "put another key in its place",
    "config/keys": "change the engine's settings",
}
_CARRIES_AWAY: Final = {"export/encryption-key/{key}": "export the key", "backup/{key}": "back the key up"}
_WRITES: Final = frozenset({"root", "sudo", "create", "update", "delete", "patch"})


@dataclass(frozen=True, slots=True)
class KeySettings:
    """How the key was made. `may_leave`: it can be exported, or backed up in the clear."""

    is_derived: bool
    may_leave: bool
    may_be_deleted: bool


@dataclass(frozen=True, slots=True)
class Inspected:
    """What was learned; None where it could not be. What tokens may do is what they may do *too much*, in words.

    `rotator` and `retirer` are None where there is no such token, `retires` where the retirer may not show it.
    """

    key: KeySettings | None
    upserts_are_off: bool | None
    control_may: tuple[str, ...] | None
    rotator: RotatorRights | None
    retirer: RetirerRights | None


@dataclass(frozen=True, slots=True)
class RotatorRights:
    """Of the token that makes versions and rewraps."""

    opens: bool
    may: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class RetirerRights:
    """Of the token that takes versions out of use. `retires`: it may do what it is for."""

    retires: bool | None
    may: tuple[str, ...] | None


async def inspect(master: OpenBaoMaster) -> Inspected:
    """Look; raises `MasterUnavailable`, `NoSuchKey`, or another `KeysError` where the key does not work."""
    # What has no token of its own is done with the master token, which may do it, then.
    also = {} if Door.ROTATOR in master.doors else _ROTATES
    return Inspected(
        key=await _key(master),
        upserts_are_off=await _upserts_are_off(master),
        control_may=await _too_much(
            master, (_RULES | _CARRIES_AWAY | _ROTATES).items() - also.items(), door=Door.CONTROL
        ),
        rotator=await _rotator(master) if Door.ROTATOR in master.doors else None,
        retirer=await _retirer(master) if Door.RETIRER in master.doors else None,
    )


async def _rotator(master: OpenBaoMaster) -> RotatorRights:
    paths = (_RULES | _CARRIES_AWAY | _WRAPS).items()
    return RotatorRights(await _opens(master), await _too_much(master, paths, door=Door.ROTATOR))


async def _retirer(master: OpenBaoMaster) -> RetirerRights:
    """Its policy must let it change two settings of the key; whether others too, is seen by offering nonsense."""
    asked = (_RULES | _CARRIES_AWAY | _WRAPS | _OPENS | _ROTATES | _RETIRES).items()
    may = await _too_much(master, asked, door=Door.RETIRER)
    if may is None:
        return RetirerRights(None, None)
    needed = {_CHANGES, *_RETIRES.values()}
    others = set(may) - needed
    if needed & set(may):
        with contextlib.suppress(MasterRefused):
            await master.offer("deletion_allowed", door=Door.RETIRER)
            others.add(_CHANGES)
    return RetirerRights(needed <= set(may), tuple(sorted(others)))


async def _key(master: OpenBaoMaster) -> KeySettings | None:
    try:
        facts = await master.facts()
    except MasterRefused:
        return None
    return KeySettings(
        is_derived=bool(facts.get("derived")),
        may_leave=bool(facts.get("exportable") or facts.get("allow_plaintext_backup")),
        may_be_deleted=bool(facts.get("deletion_allowed")),
    )


async def _upserts_are_off(master: OpenBaoMaster) -> bool | None:
    try:
        found = await master.read("config/keys", door=Door.ROTATOR)
    except (MasterRefused, NoSuchKey):  # a server that has no such setting answers 404
        return None
    return bool(found.get("disable_upsert")) if found else None


async def _too_much(master: OpenBaoMaster, paths: Any, *, door: Door) -> tuple[str, ...] | None:
    """In words, what a token may do of these paths; None where it may not ask."""
    words = {master.path(path.format(key=master.key)): word for path, word in paths}
    try:
        found = await master.capabilities(sorted(words), door=door)
    except MasterRefused:
        return None
    return tuple(sorted(words[path] for path in words if _may(found, path, words[path])))


def _may(found: Mapping[str, Any], path: str, word: str) -> bool:
    granted = found.get(path)
    reading = {"read"} if word in _CARRIES_AWAY.values() else set()
    return isinstance(granted, list) and bool(set(granted) & (_WRITES | reading))


async def _opens(master: OpenBaoMaster) -> bool:
    """Whether the rotator's token opens a probe that the control role's token wrapped."""
    probe = await master.wrap(MasterHalf.generate(), context=b"probe")
    with contextlib.suppress(KeysError):
        await master.unwrap(probe, context=b"probe", door=Door.ROTATOR)
        return True
    return False
