"""The chain: whatever is changed inside a file is found, and no text can forge a line."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.audit.entries import NOW, chain, event, events
from vault.audit.entry import FIRST_PREV, Event, chain_hash, seal_line
from vault.audit.errors import ChainBroken
from vault.audit.reading import read_chain, tail

ONE_FILE = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def read(path: Path, data: bytes) -> list[dict[str, object]]:
    path.write_bytes(data)
    return list(read_chain(path))


@ONE_FILE
@given(made=st.lists(events, max_size=5))
def test_what_was_written_is_read(tmp_path: Path, made: list[Event]) -> None:
    found = read(tmp_path / "log.jsonl", b"".join(chain(made)))
    assert [entry["request"] for entry in found] == [each.request for each in made]
    assert [entry["note"] for entry in found] == [each.note for each in made]
    assert [entry["seq"] for entry in found] == list(range(len(made)))


@given(made=events)
def test_a_line_is_one_line_of_printable_ascii(made: Event) -> None:
    (line,) = chain([made])
    assert line.endswith(b"\n")
    assert all(0x20 <= byte <= 0x7E for byte in line[:-1])
    assert len(line.decode().splitlines()) == 1


@pytest.mark.parametrize(
    "text",
    [
        "\n",
        "\r\n",
        "\x85",
        "\u2028",
        "\u2029",
        "\x0b",
        "\x1b[31m",
        "\x00",
        '"}\n{"seq":1',
        "\ud800",
        "\u202e",
    ],
    ids=ascii,
)
def test_no_text_ends_a_line_or_begins_another(tmp_path: Path, text: str) -> None:
    first, second = chain(
        [Event(action=event().action, decision=event().decision, request=text, actor=text), event()]
    )
    found = read(tmp_path / "log.jsonl", first + second)
    assert len(found) == 2
    assert found[0]["request"] == text


LINES = chain(event(number) for number in range(5))


def changed(lines: list[bytes], *, at: int, to: list[bytes]) -> bytes:
    return b"".join([*lines[:at], *to, *lines[at + 1 :]])


def rehashed(line: bytes, **fields: object) -> bytes:
    """An edited line with a hash of its own that is right."""
    entry = json.loads(line) | fields
    entry["hash"] = chain_hash(entry)
    return json.dumps(entry, sort_keys=True, separators=(",", ":")).encode() + b"\n"


EDITS: dict[str, Callable[[int], bytes]] = {
    "edited": lambda at: changed(LINES, at=at, to=[LINES[at].replace(b"allow", b"deny_")]),
    "edited and hashed anew": lambda at: changed(LINES, at=at, to=[rehashed(LINES[at], decision="deny")]),
    "deleted": lambda at: changed(LINES, at=at, to=[]),
    "twice": lambda at: changed(LINES, at=at, to=[LINES[at], LINES[at]]),
    "replaced by an entry of another chain": lambda at: changed(LINES, at=at, to=[chain([event(9)])[0]]),
    "followed by an empty line": lambda at: changed(LINES, at=at, to=[LINES[at], b"\n"]),
    "with white space": lambda at: changed(LINES, at=at, to=[LINES[at].replace(b",", b" ,", 1)]),
    "with a member twice": lambda at: changed(
        LINES, at=at, to=[LINES[at].replace(b'"actor":', b'"actor":"nobody","actor":', 1)]
    ),
    "with another form of a text": lambda at: changed(
        LINES, at=at, to=[LINES[at].replace(b'"stream"', b'"\\u0073tream"')]
    ),
    "with a sequence of its own": lambda at: changed(LINES, at=at, to=[rehashed(LINES[at], seq=77)]),
}


@pytest.mark.parametrize("name", EDITS)
@pytest.mark.parametrize("at", range(4))
def test_a_changed_line_is_found(tmp_path: Path, name: str, at: int) -> None:
    data = EDITS[name](at)
    assert data != b"".join(LINES)
    with pytest.raises(ChainBroken):
        read(tmp_path / "log.jsonl", data)


@pytest.mark.parametrize("name", sorted(EDITS.keys() - {"deleted", "edited and hashed anew"}))
def test_a_changed_last_line_is_found(tmp_path: Path, name: str) -> None:
    """Two edits of the very last line need a copy of its hash elsewhere: nothing in the file follows it."""
    with pytest.raises(ChainBroken):
        read(tmp_path / "log.jsonl", EDITS[name](4))


def test_swapped_lines_are_found(tmp_path: Path) -> None:
    for one in range(5):
        for other in range(one):
            lines = list(LINES)
            lines[one], lines[other] = lines[other], lines[one]
            with pytest.raises(ChainBroken):
                read(tmp_path / "log.jsonl", b"".join(lines))


def test_an_inserted_line_is_found_wherever_it_stands(tmp_path: Path) -> None:
    for at in range(6):
        prev = FIRST_PREV if at == 0 else json.loads(LINES[at - 1])["hash"]
        forged, _ = seal_line(event(99), seq=at, at=NOW, role="stream", release="test", prev=prev)
        data = b"".join([*LINES[:at], forged, *LINES[at:]])
        if at == 5:
            assert len(read(tmp_path / "log.jsonl", data)) == 6  # an append, which is what the log does
            continue
        with pytest.raises(ChainBroken, match=f"line {at + 2}:"):
            read(tmp_path / "log.jsonl", data)


def test_every_flipped_bit_is_found(tmp_path: Path) -> None:
    data = b"".join(LINES[:3])
    for byte in range(len(data) - 1):
        flipped = bytearray(data)
        flipped[byte] ^= random.Random(byte).choice([1, 2, 4, 8, 16, 64, 128])  # noqa: S311 - it must repeat
        try:
            found = read(tmp_path / "log.jsonl", bytes(flipped))
        except ChainBroken:
            continue
        pytest.fail(f"byte {byte} was flipped, and {len(found)} entries were read")


def test_a_last_line_without_its_end_is_no_entry(tmp_path: Path) -> None:
    for size in range(len(LINES[4])):
        assert len(read(tmp_path / "log.jsonl", b"".join(LINES[:4]) + LINES[4][:size])) == 4


def test_the_first_line_begins_the_chain(tmp_path: Path) -> None:
    with pytest.raises(ChainBroken, match="line 1"):
        read(tmp_path / "log.jsonl", b"".join(LINES[1:]))


@pytest.mark.parametrize(
    "line", [b"null\n", b"1\n", b"[]\n", b"{}\n", b"\xff\n", b"[" * 100_000 + b"\n", b'"x"\n']
)
def test_what_is_no_entry_is_told(tmp_path: Path, line: bytes) -> None:
    with pytest.raises(ChainBroken, match="not an audit entry"):
        read(tmp_path / "log.jsonl", LINES[0] + line)


def test_a_tail_joins_the_writers_in_the_order_of_time(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"".join(LINES))
    (tmp_path / "b.jsonl").write_bytes(b"".join(chain(event(number) for number in range(10, 13))))
    found = tail(tmp_path, limit=6)
    assert [entry["at"] for entry in found] == sorted(entry["at"] for entry in found)
    assert [entry["size_bytes"] for entry in found] == [1, 11, 2, 12, 3, 4]
    (tmp_path / "b.jsonl").write_bytes(b"".join(LINES[1:]))
    with pytest.raises(ChainBroken):
        tail(tmp_path, limit=1)
