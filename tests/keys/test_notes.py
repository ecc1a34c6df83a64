"""Keys of the audit log: private and public files, and notes that only the right key signed."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keys.errors import KeysError, MasterUnusable
from keys.notes import (
    NoteKey,
    create_audit_key,
    load_audit_key,
    load_public_keys,
    open_note,
    public_key,
    publish_audit_key,
    sign_note,
)
from keys.secret import AuditKey

KEY, OTHER = AuditKey(bytes(range(32))), AuditKey(bytes(range(1, 33)))
TEXT = "replayvault/audit/a\n7\n"
NOTE = sign_note(TEXT, KEY)


def test_a_note_opens_under_its_key_alone() -> None:
    assert open_note(NOTE, [public_key(OTHER), public_key(KEY)]) == TEXT
    for keys in ([], [public_key(OTHER)], [NoteKey("another-name", public_key(KEY).key)]):
        with pytest.raises(KeysError):
            open_note(NOTE, keys)


@given(st.integers(0, len(NOTE) - 1), st.integers(1, 255))
def test_no_byte_of_a_note_can_change(at: int, mask: int) -> None:
    altered = NOTE[:at] + bytes([NOTE[at] ^ mask]) + NOTE[at + 1 :]
    with pytest.raises(KeysError):
        open_note(altered, [public_key(KEY)])


@given(st.binary(max_size=300))
def test_what_is_no_note_is_refused_by_our_own_errors(data: bytes) -> None:
    for note in (data, NOTE + data, TEXT.encode() + b"\n" + data):
        if note != NOTE:
            with pytest.raises(KeysError):
                open_note(note, [public_key(KEY)])


def test_a_key_is_made_once_private_and_published(tmp_path: Path) -> None:
    path, public = tmp_path / "audit.key", tmp_path / "audit.pub"
    create_audit_key(path)
    before = path.read_bytes()
    create_audit_key(path)
    assert path.read_bytes() == before
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    ours = public_key(load_audit_key(path))
    for _ in range(2):
        publish_audit_key(ours, public)
    publish_audit_key(public_key(OTHER), public)
    assert load_public_keys(public) == (ours, public_key(OTHER))
    assert open_note(sign_note(TEXT, load_audit_key(path)), load_public_keys(public)) == TEXT
    path.chmod(0o640)
    with pytest.raises(MasterUnusable, match="chmod 600"):
        load_audit_key(path)


@pytest.mark.parametrize("content", ["", "x\n", f"{public_key(KEY)}\nx\n", str(public_key(KEY))[:-4]])
def test_a_file_without_public_keys_is_a_sentence(tmp_path: Path, content: str) -> None:
    (tmp_path / "audit.pub").write_text(content, encoding="ascii")
    with pytest.raises(MasterUnusable, match=r"audit\.pub"):
        load_public_keys(tmp_path / "audit.pub")
