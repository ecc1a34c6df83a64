r"""Text that others chose, written so that no reader of an export acts on it. Pure.

Invariants: what is not printable is spelled as `\uXXXX`, and a backslash doubled, so that two texts never become one;
a cell of a spreadsheet never begins like a formula.
"""

from __future__ import annotations

from typing import Final

# What spreadsheets take for a formula (OWASP, "CSV Injection"); tab and carriage return are spelled out before.
_FORMULA: Final = ("=", "+", "-", "@")


def spelled(text: object) -> str:
    """`text` in printable characters."""
    return "".join(_one(each) for each in str(text))


def cell(text: object) -> str:
    """`text` for a cell of a spreadsheet."""
    shown = spelled(text)
    return f"'{shown}" if shown.startswith(_FORMULA) else shown


def _one(character: str) -> str:
    if character == "\\":
        return "\\\\"
    if character.isprintable():
        return character
    return "".join(f"\\u{unit:04x}" for unit in _utf16(character))


def _utf16(character: str) -> tuple[int, ...]:
    data = character.encode("utf-16-be", "surrogatepass")
    return tuple(int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data), 2))
