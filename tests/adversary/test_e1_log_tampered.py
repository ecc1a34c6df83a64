"""E1: someone edits the audit log, cuts it, rewrites it, removes it. Each is found, and called by its name."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from keys.notes import create_audit_key, load_audit_key, public_key
from keys.secret import AuditKey
from tests.adversary.replica import program
from tests.audit.entries import NOW, event
from tests.audit.house import House
from vault.audit import anchoring, checkpointing
from vault.audit.checkpoint import Checkpoint, open_checkpoint, seal_checkpoint
from vault.audit.entry import chain_hash, seal_line
from vault.audit.merkle import leaf_hash, root_of

VIEWS = 10  # entries 1 to 10; the writer's first and last words stand around them


@pytest.fixture
async def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    """Two writers, closed and anchored; the stream's log has an anchor at its beginning and at its end."""
    monkeypatch.setattr(checkpointing, "EVERY_S", 0.01)
    monkeypatch.setattr(anchoring, "_SOON_S", 0.01)
    monkeypatch.setattr(anchoring, "EVERY_S", 0.02)
    house = House(tmp_path)
    async with house.writer("stream") as stream, house.writer("control") as control:
        for number in range(VIEWS):
            await stream.write(event(number))
            await control.write(event(number))
            if number == 3:
                async with asyncio.timeout(10):
                    while not anchors(house, "stream"):  # noqa: ASYNC110 - files send no events
                        await asyncio.sleep(0.01)
    return house


def anchors(house: House, role: str, place: str = "data/objects") -> list[Path]:
    return sorted((house.second.parent / place / "audit-anchors").glob(f"*-{role}-*/*"))


def rehashed(line: bytes, prev: str, **fields: Any) -> tuple[bytes, str]:
    """An entry with other fields that follows from `prev`."""
    entry = json.loads(line) | fields | {"prev": prev}
    entry["hash"] = chain_hash(entry)
    return json.dumps(entry, sort_keys=True, separators=(",", ":")).encode() + b"\n", entry["hash"]


def rewritten(lines: list[bytes], *, start: int) -> list[bytes]:
    """The log with a suffix made anew, every hash right."""
    prev, made = json.loads(lines[start - 1])["hash"], lines[:start]
    for line in lines[start:]:
        fresh, prev = rehashed(line, prev, session="somebody else")
        made.append(fresh)
    return made


def signed(house: House, key: AuditKey, lines: list[bytes]) -> bytes:
    """A checkpoint over these lines."""
    checkpoint = Checkpoint(
        writer=house.file("stream").stem,
        size=len(lines),
        root=root_of([leaf_hash(line[:-1]) for line in lines]),
        last_hash=json.loads(lines[-1])["hash"],
        at=NOW,
    )
    return seal_checkpoint(checkpoint, key)


Edit = Callable[[list[bytes]], list[bytes]]


def edited(lines: list[bytes]) -> list[bytes]:
    return [*lines[:4], lines[4].replace(b'"allow"', b'"deny"'), *lines[5:]]


def edited_with_its_hash(lines: list[bytes]) -> list[bytes]:
    entry = json.loads(lines[4])
    return [*lines[:4], rehashed(lines[4], entry["prev"], decision="deny")[0], *lines[5:]]


def deleted(lines: list[bytes]) -> list[bytes]:
    return [*lines[:4], *lines[5:]]


def inserted(lines: list[bytes]) -> list[bytes]:
    prev = json.loads(lines[3])["hash"]
    forged, _ = seal_line(event(99), seq=4, at=NOW, role="stream", release="test", prev=prev)
    return [*lines[:4], forged, *lines[4:]]


def swapped(lines: list[bytes]) -> list[bytes]:
    return [*lines[:4], lines[5], lines[4], *lines[6:]]


def cut(lines: list[bytes]) -> list[bytes]:
    return lines[:-2]


def cut_in_a_line(lines: list[bytes]) -> list[bytes]:
    return [*lines[:-1], lines[-1][:-5]]


def emptied(_: list[bytes]) -> list[bytes]:
    return []


def suffix_rewritten(lines: list[bytes]) -> list[bytes]:
    return rewritten(lines, start=8)


def last_line_rewritten(lines: list[bytes]) -> list[bytes]:
    return rewritten(lines, start=len(lines) - 1)


def all_rewritten(lines: list[bytes]) -> list[bytes]:
    first, prev = rehashed(lines[0], "0" * 64, release="another")
    made = [first]
    for line in lines[1:]:
        fresh, prev = rehashed(line, prev)
        made.append(fresh)
    return made


def restored_and_gone_on(lines: list[bytes]) -> list[bytes]:
    """An older copy of the file comes back, and its writer goes on: longer than before, every hash right."""
    made, prev = lines[:6], json.loads(lines[5])["hash"]
    for seq in range(6, 30):
        line, prev = seal_line(event(seq), seq=seq, at=NOW, role="stream", release="test", prev=prev)
        made.append(line)
    return made


@pytest.mark.parametrize(
    ("edit", "state", "line"),
    [
        (edited, "altered", 5),
        (edited_with_its_hash, "altered", 6),
        (deleted, "altered", 5),
        (inserted, "altered", 6),
        (swapped, "altered", 5),
        (cut, "truncated", VIEWS + 1),
        (cut_in_a_line, "truncated", VIEWS + 2),
        (emptied, "truncated", 1),
        (suffix_rewritten, "forked", None),
        (last_line_rewritten, "forked", None),
        (all_rewritten, "forked", 1),
        (restored_and_gone_on, "forked", None),
    ],
)
@pytest.mark.parametrize("with_checkpoint", [True, False])
async def test_an_edit_is_found(
    house: House, edit: Edit, state: str, line: int | None, *, with_checkpoint: bool
) -> None:
    """Also where the signed checkpoint beside the file is gone: the anchors know."""
    file = house.file("stream")
    file.write_bytes(b"".join(edit(house.lines("stream"))))
    if not with_checkpoint:
        file.with_suffix(".checkpoint").unlink()
    verdicts = await house.verify()
    lines = {fault.kind.value: fault.line for fault in verdicts["stream"].faults}
    assert state in lines
    assert lines.keys() <= {state, "forked"}  # where an anchor stands over the very line
    assert lines[state] == line or (line is None and lines[state] is not None)
    assert verdicts["control"].state == "anchored"


async def test_what_nobody_touched_is_anchored(house: House) -> None:
    for verdict in (await house.verify()).values():
        assert verdict.state == "anchored"
        assert verdict.entries == verdict.signed == verdict.anchored == VIEWS + 2
        assert verdict.is_closed
        assert verdict.unanchored_since is None
    assert len(anchors(house, "stream")) >= 2
    assert [path.read_bytes() for path in anchors(house, "stream")][-1] == (
        anchors(house, "stream", "second")[-1].read_bytes()
    )


async def test_a_rewritten_suffix_is_told_from_its_last_good_anchor_on(house: House) -> None:
    first = int(anchors(house, "stream")[0].name)
    house.file("stream").write_bytes(b"".join(rewritten(house.lines("stream"), start=first)))
    verdict = (await house.verify())["stream"]
    (fault,) = verdict.faults
    assert fault.line is not None
    assert first + 1 <= fault.line <= VIEWS + 2
    assert verdict.anchored >= first


async def test_a_file_that_is_gone_is_missing(house: House) -> None:
    house.file("stream").unlink()
    verdicts = await house.verify()
    assert {role: verdict.state for role, verdict in verdicts.items()} == {
        "stream": "missing",
        "control": "anchored",
    }


async def test_all_of_them_are_missed(house: House) -> None:
    for path in house.folder.iterdir():
        path.unlink()
    assert {role: each.state for role, each in (await house.verify()).items()} == {
        "stream": "missing",
        "control": "missing",
    }


@pytest.mark.parametrize("place", ["data/objects", "second"])
async def test_one_place_is_enough(house: House, place: str) -> None:
    shutil.rmtree(house.second.parent / place)
    (house.second.parent / place).mkdir()
    file = house.file("stream")
    file.write_bytes(b"".join(cut(house.lines("stream"))))
    file.with_suffix(".checkpoint").unlink()
    assert (await house.verify())["stream"].state == "truncated"


async def test_an_older_checkpoint_does_not_make_a_cut_whole(house: House) -> None:
    first = anchors(house, "stream")[0]
    file = house.file("stream")
    file.write_bytes(b"".join(house.lines("stream")[: int(first.name)]))
    file.with_suffix(".checkpoint").write_bytes(first.read_bytes())
    assert (await house.verify())["stream"].state == "truncated"


async def test_whoever_holds_the_machines_key_too_is_betrayed_by_the_anchors(house: House) -> None:
    file = house.file("stream")
    lines = rewritten(house.lines("stream"), start=3)
    file.write_bytes(b"".join(lines))
    note = signed(house, load_audit_key(house.settings.audit_key), lines)
    file.with_suffix(".checkpoint").write_bytes(note)
    assert (await house.verify())["stream"].state == "forked"


async def test_a_checkpoint_by_another_key_is_named(house: House, tmp_path: Path) -> None:
    create_audit_key(tmp_path / "other.key")
    other = load_audit_key(tmp_path / "other.key")
    lines = house.lines("stream")
    house.file("stream").with_suffix(".checkpoint").write_bytes(signed(house, other, lines))
    verdict = (await house.verify())["stream"]
    assert [fault.kind.value for fault in verdict.faults] == ["unknown-key"]
    assert (await house.verify([*house.keys, public_key(other)]))["stream"].state == "anchored"


async def test_two_anchors_that_differ_are_a_fork_without_the_file_too(house: House) -> None:
    key = load_audit_key(house.settings.audit_key)
    anchors(house, "stream", "second")[-1].write_bytes(
        signed(house, key, rewritten(house.lines("stream"), start=3))
    )
    assert (await house.verify())["stream"].state == "forked"
    house.file("stream").unlink()
    kinds = {fault.kind.value for fault in (await house.verify())["stream"].faults}
    assert kinds == {"missing", "forked"}


async def test_an_anchor_that_was_altered_or_moved_is_named(house: House) -> None:
    last = anchors(house, "stream")[-1]
    note = last.read_bytes()
    last.write_bytes(note.replace(b"\nat 2", b"\nat 3"))
    verdict = (await house.verify())["stream"]
    assert [fault.kind.value for fault in verdict.faults] == ["bad-checkpoint"]
    last.write_bytes(note)
    last.with_name(f"{99:020}").write_bytes(note)
    verdict = (await house.verify())["stream"]
    assert [fault.kind.value for fault in verdict.faults] == ["bad-checkpoint"]


async def test_a_closed_log_without_an_anchor_is_told(house: House) -> None:
    for place in ("data/objects", "second"):
        shutil.rmtree(house.second.parent / place / "audit-anchors")
    verdict = (await house.verify())["stream"]
    assert (verdict.state, verdict.unanchored, verdict.signed) == ("unanchored", VIEWS + 2, VIEWS + 2)
    assert [fault.kind.value for fault in verdict.faults] == ["unanchored"]


@pytest.mark.parametrize(("edit", "state"), [(suffix_rewritten, "forked"), (cut, "truncated")])
async def test_without_anchors_the_signed_checkpoint_still_tells(
    house: House, edit: Edit, state: str
) -> None:
    """Whoever has the disk and not the key."""
    for place in ("data/objects", "second"):
        shutil.rmtree(house.second.parent / place / "audit-anchors")
    house.file("stream").write_bytes(b"".join(edit(house.lines("stream"))))
    assert (await house.verify())["stream"].state == state


async def test_hosts_are_verified_together(house: House, tmp_path: Path) -> None:
    other = tmp_path / "other-host"
    other.mkdir()
    for path in house.folder.glob("*-control-*"):
        path.rename(other / path.name)
    assert (await house.verify())["control"].state == "missing"
    both = await house.verify(None, house.folder, other)
    assert {verdict.state for verdict in both.values()} == {"anchored"}


def command(house: House, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {
        "PATH": "/usr/bin:/bin",
        "REPLAYVAULT_DATA_DIR": str(house.settings.data_dir),
        "REPLAYVAULT_AUDIT_ANCHOR_DIR": str(house.second),
    }
    return subprocess.run(
        [program(), "audit", *words], env=environment, capture_output=True, text=True, timeout=60, check=False
    )


async def test_the_commands_say_so_and_end_with_5(house: House) -> None:
    done = await asyncio.to_thread(command, house, "verify", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["ok"] is True
    house.file("stream").write_bytes(b"".join(cut(house.lines("stream"))))
    done = await asyncio.to_thread(command, house, "verify", "--json")
    assert done.returncode == 5
    states = {each["writer"].split("-")[1]: each["state"] for each in json.loads(done.stdout)["writers"]}
    assert states == {"stream": "truncated", "control": "anchored"}
    assert f"{house.file('stream').stem}: truncated" in done.stderr
    for words in (
        ("who-saw", "6f9619ff-8b86-4d01-b42d-00cf4fc964ff", "--json"),
        ("incident", "--since", "2026-01-01T00:00Z", "--json"),
        ("export", "--format", "jsonl", "-o", str(house.second.parent / "out"), "--json"),
    ):
        done = await asyncio.to_thread(command, house, *words)
        assert done.returncode == 5, done.stderr
        assert any("truncated" in sentence for sentence in json.loads(done.stdout)["broken"])


async def test_the_checkpoint_says_what_the_file_is(house: House) -> None:
    note = house.file("stream").with_suffix(".checkpoint").read_bytes()
    checkpoint = open_checkpoint(note, house.keys)
    lines = house.lines("stream")
    assert checkpoint.size == len(lines)
    assert checkpoint.last_hash == json.loads(lines[-1])["hash"]
    assert checkpoint.root == root_of([leaf_hash(line[:-1]) for line in lines])
