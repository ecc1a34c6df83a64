"""What an operator should know of a transit key, and of the tokens that reach it.

Invariants: nothing is changed, and nothing of ours is opened: what a token may do is asked of the server, except for
opening, which the rotator tries on a probe; what cannot be learned is None, never taken for well.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from keys.errors import KeysError, MasterRefused, NoSuchKey
from keys.master.openbao import OpenBaoMaster
from keys.secret import MasterHalf

# Paths below the mount, and what whoever may write there can do.
_OPENS: Final = {"decrypt/{key}": "open wraps"}
_ROTATES: Final = {"keys/{key}/rotate": "make versions", "rewrap/{key}": "rewrap"}
_WRAPS: Final = {"encrypt/{key}": "wrap"}
_RULES: Final = {
    "keys/{key}": "delete or make the key",
    "keys/{key}/config": "change the key's settings",
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
    """What was learned; None where it could not be. What tokens may do is what they may do *too much*, in words."""

    key: KeySettings | None
    upserts_are_off: bool | None
    control_may: tuple[str, ...] | None
    rotator_may: tuple[str, ...] | None
    rotator_opens: bool | None


async def inspect(master: OpenBaoMaster) -> Inspected:
    """Look; raises `MasterUnavailable`, `NoSuchKey`, or another `KeysError` where the key does not work."""
    has_rotator = master.has_rotator
    rotating = {} if has_rotator else _ROTATES
    return Inspected(
        key=await _key(master),
        upserts_are_off=await _upserts_are_off(master),
        control_may=await _too_much(
            master, (_RULES | _CARRIES_AWAY | _ROTATES).items() - rotating.items(), may_rotate=False
        ),
        rotator_may=await _too_much(
            master, (_RULES | _CARRIES_AWAY | _WRAPS | _OPENS).items(), may_rotate=True
        )
        if has_rotator
        else None,
        rotator_opens=await _rotator_opens(master) if has_rotator else None,
    )


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
        found = await master.read("config/keys", may_rotate=True)
    except (MasterRefused, NoSuchKey):  # a server that has no such setting answers 404
        return None
    return bool(found.get("disable_upsert")) if found else None


async def _too_much(master: OpenBaoMaster, paths: Any, *, may_rotate: bool) -> tuple[str, ...] | None:
    """In words, what a token may do of these paths; None where it may not ask."""
    words = {master.path(path.format(key=master.key)): word for path, word in paths}
    try:
        found = await master.capabilities(sorted(words), may_rotate=may_rotate)
    except MasterRefused:
        return None
    return tuple(sorted(words[path] for path in words if _may(found, path, words[path])))


def _may(found: Mapping[str, Any], path: str, word: str) -> bool:
    granted = found.get(path)
    reading = {"read"} if word in _CARRIES_AWAY.values() else set()
    return isinstance(granted, list) and bool(set(granted) & (_WRITES | reading))


async def _rotator_opens(master: OpenBaoMaster) -> bool:
    """Whether the rotator's token opens a probe that the control role's token wrapped."""
    probe = await master.wrap(MasterHalf.generate(), context=b"probe")
    with contextlib.suppress(KeysError):
        await master.unwrap(probe, context=b"probe", by_rotator=True)
        return True
    return False
