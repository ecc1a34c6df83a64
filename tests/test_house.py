"""The house rules, counted: sizes, names, arrows, and who may touch raw key bytes."""

from __future__ import annotations

import ast
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("keys", "transcoder", "vault")
MAX_MODULE_LINES = 400
MAX_FUNCTION_LINES = 60
MAX_MEDIAN_FUNCTION_LINES = 9
NAMELESS = {"utils", "util", "common", "helpers", "helper", "core", "misc", "tools"}


def product_modules() -> list[Path]:
    """Every Python module of the product."""
    return [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function and method, nested ones included."""
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of the body, its docstring left out: what one has to read to know what it does."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return 0 if not body else (body[-1].end_lineno or 0) - body[0].lineno + 1


@pytest.mark.parametrize("path", product_modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_room_is_small_named_and_says_what_it_is_for(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    assert path.stem not in NAMELESS
    assert text.count("\n") <= MAX_MODULE_LINES
    assert ast.get_docstring(tree), "a module says what it is for"
    long = {each.name: body_lines(each) for each in functions(tree) if body_lines(each) > MAX_FUNCTION_LINES}
    # A table of routes is data written down as calls.
    assert not {name: lines for name, lines in long.items() if name not in {"routes", "upgrade"}}


def test_most_functions_are_short() -> None:
    lengths = [
        body_lines(each)
        for path in product_modules()
        for each in functions(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert statistics.median(lengths) <= MAX_MEDIAN_FUNCTION_LINES


def test_raw_key_bytes_leave_only_inside_the_strongroom_and_the_file_cipher() -> None:
    revealing = {
        str(path.relative_to(ROOT))
        for path in product_modules()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "reveal"
    }
    # Tokens, not keys, where they must leave: to their holder who asked for one, and onto the wire.
    tokens = {
        "vault/api/sessions.py",
        "vault/cli/sessions.py",
        "vault/client/documents.py",
        "vault/client/wire.py",
    }
    allowed = {"vault/objects/cipher.py"} | tokens
    assert {name for name in revealing if not name.startswith("keys/")} <= allowed


def test_the_arrows_point_one_way() -> None:
    lint = Path(sys.executable).with_name("lint-imports")
    run = subprocess.run([lint], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout


def test_the_product_speaks_of_itself_alone() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    words = ("../sh" + "ared", "TO" + "DO", "FIX" + "ME", "/wo" + "rk/")
    for name in listed.stdout.split():
        path = ROOT / name
        if (
            path.suffix in {".py", ".md", ".cfg", ".toml", ".sh", ".yml", ".yaml", ".html", ".css"}
            and path.exists()
        ):
            text = path.read_text(encoding="utf-8")
            assert not [word for word in words if word in text], name
