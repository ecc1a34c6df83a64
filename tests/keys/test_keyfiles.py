"""Files that hold secrets: made once, whole and private, and refused in any other state."""

from __future__ import annotations

import json
import os
import stat
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from nacl.pwhash import argon2id

from keys import payload
from keys.errors import KeyMismatch, MasterUnusable, NoSuchKey
from keys.keyfile import create_private_file, read_private_file
from keys.master import local
from keys.master.local import LocalMaster, create_master_file, load_master_file
from keys.master.protocol import MasterWrap
from keys.secret import MasterHalf, MasterKey
from keys.tier import create_tier_file, load_tier_file

CONTEXT = b"where it stands"


class TestPrivateFile:
    """The ground of every key file."""

    def test_it_is_private_from_the_first_byte_on(self, tmp_path: Path) -> None:
        old = os.umask(0)
        try:
            create_private_file(tmp_path / "deep" / "key", b"secret")
        finally:
            os.umask(old)
        assert stat.S_IMODE((tmp_path / "deep" / "key").stat().st_mode) == 0o600
        assert stat.S_IMODE((tmp_path / "deep").stat().st_mode) == 0o700
        assert read_private_file(tmp_path / "deep" / "key") == b"secret"

    def test_one_that_stands_there_stays(self, tmp_path: Path) -> None:
        create_private_file(tmp_path / "key", b"first")
        create_private_file(tmp_path / "key", b"second")
        assert read_private_file(tmp_path / "key") == b"first"

    def test_nothing_else_is_left(self, tmp_path: Path) -> None:
        create_private_file(tmp_path / "key", b"first")
        create_private_file(tmp_path / "key", b"second")
        assert [each.name for each in tmp_path.iterdir()] == ["key"]

    def test_of_many_makers_at_once_one_wins_and_nobody_reads_half(self, tmp_path: Path) -> None:
        path, contents = tmp_path / "key", [bytes([n]) * 100_000 for n in range(16)]

        def make_and_read(content: bytes) -> bytes:
            create_private_file(path, content)
            return read_private_file(path)

        with ThreadPoolExecutor(16) as threads:
            read = set(threads.map(make_and_read, contents))
        assert len(read) == 1
        assert read <= set(contents)

    @pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o666, 0o610, 0o601, 0o620])
    def test_one_that_others_may_touch_is_refused(self, tmp_path: Path, mode: int) -> None:
        create_private_file(tmp_path / "key", b"secret")
        (tmp_path / "key").chmod(mode)
        with pytest.raises(MasterUnusable, match="chmod 600"):
            read_private_file(tmp_path / "key")

    def test_a_symbolic_link_is_not_followed(self, tmp_path: Path) -> None:
        create_private_file(tmp_path / "other", b"secret")
        (tmp_path / "key").symlink_to(tmp_path / "other")
        with pytest.raises(MasterUnusable):
            read_private_file(tmp_path / "key")

    def test_a_dangling_link_is_not_written_through(self, tmp_path: Path) -> None:
        (tmp_path / "key").symlink_to(tmp_path / "elsewhere")
        create_private_file(tmp_path / "key", b"secret")
        assert not (tmp_path / "elsewhere").exists()

    def test_a_folder_or_pipe_in_its_place_is_refused_at_once(self, tmp_path: Path) -> None:
        (tmp_path / "folder").mkdir(mode=0o700)
        os.mkfifo(tmp_path / "pipe", mode=0o600)
        before, descriptors = time.monotonic(), len(list(Path("/proc/self/fd").iterdir()))
        for name in ("folder", "pipe", "missing"):
            with pytest.raises(MasterUnusable):
                read_private_file(tmp_path / name)
        assert time.monotonic() - before < 5
        assert len(list(Path("/proc/self/fd").iterdir())) == descriptors

    def test_a_folder_that_cannot_be_made_is_told(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(b"")
        with pytest.raises(MasterUnusable, match="cannot write"):
            create_private_file(tmp_path / "file" / "key", b"secret")


@pytest.fixture
def cheap_argon2(monkeypatch: pytest.MonkeyPatch) -> None:
    """The least work that libsodium allows: the parameters stand in the file, so the code is the same."""
    monkeypatch.setattr(argon2id, "OPSLIMIT_MODERATE", argon2id.OPSLIMIT_MIN)
    monkeypatch.setattr(argon2id, "MEMLIMIT_MODERATE", argon2id.MEMLIMIT_MIN)


def keys_of(master: LocalMaster) -> dict[int, bytes]:
    return {number: key.reveal(to="test") for number, key in master.keys.items()}


@pytest.mark.usefixtures("cheap_argon2")
class TestLocalMaster:
    """The master key in a file, in clear or under a passphrase."""

    @pytest.mark.parametrize("passphrase", [None, "correct horse", "\u00fc" * 40])
    def test_it_is_made_once_and_read_again(self, tmp_path: Path, passphrase: str | None) -> None:
        path = tmp_path / "master.key"
        create_master_file(path, passphrase=passphrase)
        first = load_master_file(path, passphrase=passphrase)
        create_master_file(path, passphrase=passphrase)
        again = load_master_file(path, passphrase=passphrase)
        assert keys_of(first) == keys_of(again)
        assert first.name == again.name
        assert first.keys.keys() == {1}

    def test_under_a_passphrase_the_key_is_not_in_the_file(self, tmp_path: Path) -> None:
        path = tmp_path / "master.key"
        create_master_file(path, passphrase="correct horse")
        raw = keys_of(load_master_file(path, passphrase="correct horse"))[1]
        from_file = payload.to_bytes(json.loads(path.read_bytes())["versions"][0]["key"])
        assert raw not in from_file
        assert len(from_file) == 105

    def test_the_wrong_passphrase_opens_nothing(self, tmp_path: Path) -> None:
        path = tmp_path / "master.key"
        create_master_file(path, passphrase="correct horse")
        for wrong in ("", "correct horse ", "Correct horse"):
            with pytest.raises(MasterUnusable, match="does not open"):
                load_master_file(path, passphrase=wrong)

    def test_a_passphrase_missing_or_needless_is_told(self, tmp_path: Path) -> None:
        create_master_file(tmp_path / "locked", passphrase="correct horse")
        with pytest.raises(MasterUnusable, match="REPLAYVAULT_MASTER_PASSPHRASE_FILE"):
            load_master_file(tmp_path / "locked")
        create_master_file(tmp_path / "clear")
        with pytest.raises(MasterUnusable, match="made without one"):
            load_master_file(tmp_path / "clear", passphrase="correct horse")

    def test_every_byte_that_is_turned_is_noticed_or_harmless(self, tmp_path: Path) -> None:
        """Never another key, never another error: a key file is read whole or refused."""
        path = tmp_path / "master.key"
        create_master_file(path, passphrase="correct horse")
        whole = path.read_bytes()
        key = keys_of(load_master_file(path, passphrase="correct horse"))
        for byte in range(len(whole)):
            turned = bytearray(whole)
            turned[byte] ^= 1
            if b'"memory_bytes"' not in turned or b'"passes": 1' not in turned:
                continue  # a tower of work instead of a small one is not a question of form
            path.write_bytes(turned)
            try:
                found = keys_of(load_master_file(path, passphrase="correct horse"))
            except MasterUnusable:
                continue
            assert found == key, byte

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"{}",
            b"[]",
            b"null",
            b"\xff\xfe",
            b"[" * 100_000,
            b'{"format":"replayvault-local-master/2","name":"n","passphrase":null,"versions":[]}',
            b'{"format":"replayvault-local-master/1","name":"n","passphrase":null,"versions":[]}',
            b'{"format":"replayvault-local-master/1","name":"n","passphrase":null,"versions":[1]}',
            b'{"format":"replayvault-local-master/1","name":"n","passphrase":null,"versions":{"1":"x"}}',
        ],
        ids=lambda content: repr(content[-40:]),
    )
    def test_anything_else_is_unusable(self, tmp_path: Path, content: bytes) -> None:
        create_private_file(tmp_path / "master.key", content)
        with pytest.raises(MasterUnusable):
            load_master_file(tmp_path / "master.key")

    @pytest.mark.parametrize("key", ["", "AAAA", "A" * 42 + "=", "A" * 44, 5, None, "\u00e4"])
    @pytest.mark.parametrize("version", [1, 0, -1, "1", True, 1.0, None])
    def test_a_version_that_is_none_is_unusable(self, tmp_path: Path, key: Any, version: Any) -> None:
        document = {
            "format": local.FORMAT,
            "name": "n",
            "passphrase": None,
            "versions": [{"version": version, "key": key}],
        }
        create_private_file(tmp_path / "master.key", json.dumps(document).encode())
        with pytest.raises(MasterUnusable):
            load_master_file(tmp_path / "master.key")

    async def test_the_highest_version_wraps_and_every_one_unwraps(self) -> None:
        old = LocalMaster("n", {1: MasterKey(bytes(32))})
        both = LocalMaster("n", {1: old.keys[1], 2: MasterKey(b"\1" * 32)})
        half = MasterHalf.generate()
        for master, version in ((old, 1), (both, 2)):
            wrapped = await master.wrap(half, context=CONTEXT)
            assert (wrapped.provider, wrapped.key_name, wrapped.key_version) == ("local", "n", version)
            opened = await both.unwrap(wrapped, context=CONTEXT)
            assert opened.reveal(to="test") == half.reveal(to="test")

    async def test_another_master_keys_wrap_is_told(self) -> None:
        master = LocalMaster("n", {1: MasterKey(bytes(32))})
        wrapped = await master.wrap(MasterHalf.generate(), context=CONTEXT)
        for other in (
            MasterWrap("openbao", "n", 1, wrapped.blob),
            MasterWrap("local", "other", 1, wrapped.blob),
            MasterWrap("local", "n", 2, wrapped.blob),
        ):
            with pytest.raises(NoSuchKey):
                await master.unwrap(other, context=CONTEXT)
        with pytest.raises(KeyMismatch):
            await master.unwrap(wrapped, context=b"elsewhere")


class TestTierFile:
    """One line for each secret, the first seals."""

    def test_it_is_made_once(self, tmp_path: Path) -> None:
        path = tmp_path / "tier"
        create_tier_file(path)
        before = path.read_bytes()
        create_tier_file(path)
        assert path.read_bytes() == before
        assert len(load_tier_file(path)) == 1

    def test_two_stand_in_their_order(self, tmp_path: Path) -> None:
        create_tier_file(tmp_path / "one")
        create_tier_file(tmp_path / "two")
        lines = (tmp_path / "one").read_bytes() + (tmp_path / "two").read_bytes()
        create_private_file(tmp_path / "both", lines)
        found = [each.reveal(to="test") for each in load_tier_file(tmp_path / "both")]
        alone = [load_tier_file(tmp_path / name)[0].reveal(to="test") for name in ("one", "two")]
        assert found == alone

    @pytest.mark.parametrize("content", [b"", b"\n\n", b"AAAA\n", b"A" * 43 + b"=\n", b"\xc3\xa4\n"])
    def test_anything_else_is_unusable(self, tmp_path: Path, content: bytes) -> None:
        create_private_file(tmp_path / "tier", content)
        with pytest.raises(MasterUnusable):
            load_tier_file(tmp_path / "tier")
