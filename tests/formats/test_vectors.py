"""The published vectors, opened and written by an implementation that knows nothing of ours but docs/format.md."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.formats.notation import Refused
from tests.formats.reader import READERS
from tests.formats.writer import WRITERS

ROOT = Path(__file__).parent.parent.parent
VECTORS = ROOT / "docs" / "vectors"
PAGE = (ROOT / "docs" / "format.md").read_text(encoding="utf-8")


def page(structure: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((VECTORS / f"{structure}.json").read_text(encoding="utf-8"))
    return found


EVERY = [(structure, vector) for structure in READERS for vector in page(structure)["vectors"]]


def named(vectors: list[tuple[str, dict[str, Any]]]) -> list[Any]:
    return [pytest.param(structure, each, id=f"{structure}: {each['name']!a}") for structure, each in vectors]


@pytest.mark.parametrize(("structure", "vector"), named([each for each in EVERY if "expect" in each[1]]))
def test_it_opens(structure: str, vector: dict[str, Any]) -> None:
    assert READERS[structure](vector["inputs"]) == vector["expect"]


@pytest.mark.parametrize(("structure", "vector"), named([each for each in EVERY if "error" in each[1]]))
def test_it_is_refused_by_its_name(structure: str, vector: dict[str, Any]) -> None:
    with pytest.raises(Refused) as refusal:
        READERS[structure](vector["inputs"])
    assert refusal.value.name == vector["error"]


@pytest.mark.parametrize(
    ("structure", "vector"), named([each for each in EVERY if each[0] in WRITERS and "writing" in each[1]])
)
def test_it_is_written_the_same(structure: str, vector: dict[str, Any]) -> None:
    write, member = WRITERS[structure]
    assert write(vector) == vector["inputs"][member]


def test_every_file_has_a_reader_and_every_section_its_file() -> None:
    assert {path.stem for path in VECTORS.glob("*.json")} == READERS.keys()
    headings = set(re.findall(r"^#+ ([0-9.]+?)\.? ", PAGE, re.MULTILINE))
    for structure in READERS:
        assert page(structure)["section"] in headings
        assert f"`{structure}.json`" in PAGE


def test_each_structure_is_both_opened_and_refused() -> None:
    without = {"sizes-and-ranges", "pseudonym"}
    for structure in READERS.keys() - without:
        vectors = [each for name, each in EVERY if name == structure]
        assert any("expect" in each for each in vectors)
        assert any("error" in each for each in vectors)


def test_the_errors_are_those_of_the_page() -> None:
    table = set(re.findall(r"^\| `([A-Z]\w+)` \|", PAGE, re.MULTILINE))
    assert {each["error"] for _, each in EVERY if "error" in each} == table


def test_writing_the_vectors_again_changes_no_byte(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "scripts" / "docs.py"), "--vectors", "--into", str(tmp_path)]
    subprocess.run(command, check=True, timeout=60, cwd=tmp_path, capture_output=True)
    fresh = {path.name: path.read_bytes() for path in (tmp_path / "vectors").iterdir()}
    assert fresh == {path.name: path.read_bytes() for path in VECTORS.glob("*.json")}


@pytest.mark.parametrize("module", ["notation", "manifest", "audit", "reader", "writer"])
def test_the_second_implementation_borrows_nothing(module: str) -> None:
    tree = ast.parse(Path(__file__).with_name(f"{module}.py").read_text(encoding="utf-8"))
    imported = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    imported |= {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    ours = {name for name in imported if name.partition(".")[0] in {"keys", "vault", "transcoder"}}
    elsewhere = {name for name in imported if name.startswith("tests.") and "tests.formats." not in name}
    assert not ours | elsewhere
