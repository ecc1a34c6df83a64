"""A checkpoint: what one writer's file was at some moment, in a text that its process signed. Pure.

A signed note (keys.notes) in the form of https://c2sp.org/tlog-checkpoint:

    replayvault/audit/<writer>      the file's name without ".jsonl"
    <size>                          entries so far
    <root>                          Merkle root over their lines, in base64
    last <hash>                     of the last of them, in hexadecimal
    at <time>

Invariant: one checkpoint has one text; what reads differently from how it would be written is refused.
"""

from __future__ import annotations

import base64
import datetime as dt
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

from keys.errors import Malformed
from keys.notes import NoteKey, open_note, sign_note
from keys.secret import AuditKey

ORIGIN: Final = "replayvault/audit/"
_FORM: Final = re.compile(
    re.escape(ORIGIN) + r"([A-Za-z0-9][A-Za-z0-9._-]{0,127})\n"
    r"([1-9][0-9]{0,18})\n"
    r"([A-Za-z0-9+/]{43}=)\n"
    r"last ([0-9a-f]{64})\n"
    r"at ([0-9T:.+-]{29})\n",
    re.ASCII,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """The first `size` entries of a writer's file."""

    writer: str
    size: int
    root: bytes
    last_hash: str
    at: dt.datetime

    def text(self) -> str:
        """The text that is signed."""
        root = base64.b64encode(self.root).decode()
        at = self.at.astimezone(dt.UTC).isoformat(timespec="milliseconds")
        return f"{ORIGIN}{self.writer}\n{self.size}\n{root}\nlast {self.last_hash}\nat {at}\n"

    @classmethod
    def parse(cls, text: str) -> Self:
        """The checkpoint in a text; raises `Malformed`."""
        found = _FORM.fullmatch(text)
        if found is None:
            raise Malformed("not a checkpoint")
        try:
            made = cls(
                writer=found[1],
                size=int(found[2]),
                root=base64.b64decode(found[3]),
                last_hash=found[4],
                at=dt.datetime.fromisoformat(found[5]),
            )
        except ValueError:
            raise Malformed("a checkpoint's time is none") from None
        if made.at.tzinfo is None or made.text() != text:
            raise Malformed("a checkpoint in another form than it is written in")
        return made


def seal_checkpoint(checkpoint: Checkpoint, key: AuditKey) -> bytes:
    """The signed note of a checkpoint."""
    return sign_note(checkpoint.text(), key)


def open_checkpoint(note: bytes, keys: Sequence[NoteKey]) -> Checkpoint:
    """The checkpoint in a note that one of `keys` signed; raises `Malformed`, `NoSuchKey` or `Damaged`."""
    return Checkpoint.parse(open_note(note, keys))
