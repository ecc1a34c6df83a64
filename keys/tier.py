"""The tier secret in a file: 32 bytes in base64url, one line each; the first seals, every one opens.

Two lines stand there while one secret replaces another.
"""

from __future__ import annotations

from pathlib import Path

from keys import payload
from keys.errors import Malformed, MasterUnusable
from keys.keyfile import create_private_file, read_private_file
from keys.secret import TierSecret


def create_tier_file(path: Path) -> None:
    """Make a file with one fresh secret, unless one stands there already; raises `MasterUnusable`."""
    fresh = TierSecret.generate().reveal(to="tier secret file")
    create_private_file(path, payload.to_text(fresh).encode() + b"\n")


def load_tier_file(path: Path) -> tuple[TierSecret, ...]:
    """The secrets, the sealing one first; raises `MasterUnusable`."""
    try:
        lines = read_private_file(path).decode("ascii").split()
        found = tuple(TierSecret(payload.to_bytes(line)) for line in lines)
    except (UnicodeDecodeError, Malformed):
        found = ()
    if not found:
        raise MasterUnusable(f"{path} holds no tier secret; it has one line of base64url for each")
    return found
