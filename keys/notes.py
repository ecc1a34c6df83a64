"""Signed notes (https://c2sp.org/signed-note): a text that anyone can check, and that one Ed25519 key signed.

Invariants:
- a key is chosen by the hash that the signature line names, never by trying;
- a text is returned only after a signature by one of the keys given was verified;
- the key file is private, made once; public keys are lines of text that may be handed to anybody.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

from keys import payload
from keys.errors import Damaged, Malformed, MasterUnusable, NoSuchKey
from keys.keyfile import create_private_file, read_private_file
from keys.secret import AuditKey

KEY_NAME: Final = "replayvault-audit"
_ED25519: Final = b"\x01"  # the algorithm's number in a signed note
_HASH_BYTES: Final = 4
_KEY_BYTES: Final = 32
_SIGNATURE: Final = re.compile("\N{EM DASH} ([^\\s+]+) ([A-Za-z0-9+/]+={0,2})")
_MAX_NOTE_BYTES: Final = 4096


@dataclass(frozen=True, slots=True)
class NoteKey:
    """A public key, as a signed note's `vkey` names it."""

    name: str
    key: bytes

    @property
    def hash(self) -> bytes:
        """Four bytes of SHA-256 over name, line feed, algorithm and key: how a signature line names its key."""
        return hashlib.sha256(self.name.encode() + b"\n" + _ED25519 + self.key).digest()[:_HASH_BYTES]

    def __str__(self) -> str:
        return f"{self.name}+{self.hash.hex()}+{base64.b64encode(_ED25519 + self.key).decode()}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """The key in its text form `name+hash+base64`; raises `Malformed`."""
        name, _, rest = text.partition("+")
        raw = _from_base64(rest.partition("+")[2])
        if len(raw) != _KEY_BYTES + 1 or not re.fullmatch(r"[^\s+]+", name):
            raise Malformed("a public audit key is name+hash+base64 of an Ed25519 key")
        made = cls(name, raw[1:])
        if str(made) != text:
            raise Malformed("a public audit key does not fit its own hash")
        return made


def public_key(key: AuditKey) -> NoteKey:
    """What verifies the signatures of `key`."""
    return NoteKey(KEY_NAME, bytes(_signing(key).verify_key))


def sign_note(text: str, key: AuditKey) -> bytes:
    """The note of `text`, which ends with a line feed."""
    public = public_key(key)
    signature = _signing(key).sign(text.encode()).signature
    line = base64.b64encode(public.hash + signature).decode()
    return f"{text}\n\N{EM DASH} {public.name} {line}\n".encode()


def open_note(note: bytes, keys: Sequence[NoteKey]) -> str:
    """The text of a note that one of `keys` signed; raises `Malformed`, `NoSuchKey` or `Damaged`."""
    text, lines = _split(note)
    signatures = [_signature(line) for line in lines]
    known = [
        (key, signature)
        for name, signed, signature in signatures
        for key in keys
        if key.name == name and key.hash == signed
    ]
    if not known:
        raise NoSuchKey("signed by a key that was not given")
    for key, signature in known:
        try:
            VerifyKey(key.key).verify(text.encode(), signature)
        except (BadSignatureError, ValueError):
            raise Damaged("the signature does not fit the text") from None
    return text


def create_audit_key(path: Path) -> None:
    """Make a file with a fresh key, unless one stands there already; raises `MasterUnusable`."""
    fresh = AuditKey.generate().reveal(to="audit key file")
    create_private_file(path, payload.to_text(fresh).encode() + b"\n")


def load_audit_key(path: Path) -> AuditKey:
    """The key in a file; raises `MasterUnusable`."""
    try:
        return AuditKey(payload.to_bytes(read_private_file(path).decode("ascii").removesuffix("\n")))
    except (UnicodeDecodeError, Malformed):
        raise MasterUnusable(f"{path} holds no audit key; it has one line of base64url") from None


def publish_audit_key(key: NoteKey, path: Path) -> None:
    """Add `key` to a file of public keys, unless it stands there; earlier keys stay. Raises `MasterUnusable`."""
    line = f"{key}\n"
    try:
        create_private_file(path, line.encode())
        if line not in path.read_text(encoding="utf-8"):
            with path.open("a", encoding="utf-8") as file:
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
    except (OSError, UnicodeDecodeError):
        raise MasterUnusable(f"cannot write the public audit key to {path}") from None


def load_public_keys(path: Path) -> tuple[NoteKey, ...]:
    """The public keys in a file, one a line; raises `MasterUnusable`."""
    try:
        found = tuple(NoteKey.parse(line) for line in path.read_text(encoding="ascii").splitlines())
    except (OSError, UnicodeDecodeError, Malformed):
        found = ()
    if not found:
        raise MasterUnusable(f"{path} holds no public audit key; name the audit.pub of each role")
    return found


def _signing(key: AuditKey) -> SigningKey:
    return SigningKey(key.reveal(to="Ed25519"))


def _split(note: bytes) -> tuple[str, list[str]]:
    try:
        whole = note.decode()
    except UnicodeDecodeError:
        whole = ""
    text, blank, rest = whole.rpartition("\n\n")
    lines = rest.splitlines()
    if not blank or len(note) > _MAX_NOTE_BYTES or not lines or rest != "".join(f"{it}\n" for it in lines):
        raise Malformed("a signed note is a text, an empty line and signature lines")
    if any(not it.isprintable() for it in text.split("\n")):
        raise Malformed("a signed note has no control characters")
    return text + "\n", lines


def _signature(line: str) -> tuple[str, bytes, bytes]:
    found = _SIGNATURE.fullmatch(line)
    raw = _from_base64(found[2]) if found else b""
    if found is None or len(raw) <= _HASH_BYTES:
        raise Malformed("a signature line is a dash, a name and base64")
    return found[1], raw[:_HASH_BYTES], raw[_HASH_BYTES:]


def _from_base64(text: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Malformed("not base64") from None
    if base64.b64encode(data).decode() != text:
        raise Malformed("not canonical base64")
    return data
