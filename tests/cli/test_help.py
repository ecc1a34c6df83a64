"""What the help shows is true: every example parses, as do those of the documentation; nothing is loaded too early."""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from vault.cli import COMMANDS, replayvault
from vault.cli.examples import Exampled
from vault.cli.exits import CODES, Exit
from vault.settings import AllSettings, SettingsError, StreamSettings, load

ROOT = Path(__file__).parents[2]
_ASSIGNMENT = re.compile(r"[A-Z_]+=\S*")
_FILE = re.compile(r"[\w./-]+\.(webm|token|json)")
_A_UUID = "2f1d0c4e-8a57-4c1b-9b6e-0d6f5b1f7a21"
_SHELL = {"|", "||", ">", "<", "&&", ";"}


def commands(group: click.Group = replayvault, *path: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command below the group, and the group itself."""
    yield path, group
    for name in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command, *path, name)
        else:
            yield (*path, name), command


ALL = dict(commands())


def examples() -> Iterator[str]:
    for command in ALL.values():
        assert isinstance(command, Exampled)
        yield from command.examples


def documented() -> Iterator[str]:
    """Lines of code in the documentation that begin with our command."""
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        for block in re.findall(r"```sh\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
            for line in block.splitlines():
                if re.match(r"([A-Z_]+=\S* )*replayvault ", line):
                    yield line


def parse(line: str) -> None:
    """Let click parse a line as a shell would give it; raises `click.UsageError`."""
    words = [word for word in shlex.split(line) if not _ASSIGNMENT.fullmatch(word)]
    words = words[: next((at for at, word in enumerate(words) if word in _SHELL), len(words))]
    assert words[0] == "replayvault", line
    command: click.Command = replayvault
    context, rest = replayvault.make_context("replayvault", words[1:]), words[1:]
    while isinstance(command, click.Group):
        name, found, rest = command.resolve_command(context, rest)
        assert name is not None
        assert found is not None
        command = found
        context = command.make_context(name, list(rest), parent=context)


@pytest.mark.parametrize("line", sorted(set(examples()) | set(documented())))
def test_an_example_is_a_command_that_exists(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for file in _FILE.finditer(line):
        if not file[0].startswith("/"):
            (tmp_path / file[0]).touch()
    for variable, value in (
        ("$JOB", _A_UUID),
        ("$ERASURE", _A_UUID),
        ("$STOLEN", _A_UUID),
        ("$OBJECT", "object"),
        ("OBJECT", "object"),
    ):
        line = line.replace(variable, value)
    parse(line)


def test_a_wrong_example_would_be_noticed() -> None:
    with pytest.raises(click.UsageError):
        parse("replayvault recordings ls --token rvk_secret")
    with pytest.raises(click.UsageError):
        parse("replayvault recording ls")


@pytest.mark.parametrize("path", list(ALL), ids=" ".join)
def test_every_command_explains_itself(path: tuple[str, ...]) -> None:
    command = ALL[path]
    assert isinstance(command, Exampled)
    assert command.examples
    shown = CliRunner().invoke(replayvault, [*path, "--help"])
    assert shown.exit_code == 0
    assert all(f"  {line}\n" in shown.output for line in command.examples)
    assert "\\b" not in shown.output


@pytest.mark.parametrize("path", list(ALL), ids=" ".join)
def test_no_command_takes_a_token_as_an_argument(path: tuple[str, ...]) -> None:
    options = {option for parameter in ALL[path].params for option in parameter.opts}
    assert not options & {"--token", "--session", "--password", "--key"}


@pytest.mark.parametrize(
    "path", [path for path, it in ALL.items() if not isinstance(it, click.Group)], ids=" ".join
)
def test_every_command_that_tells_something_tells_it_in_json_too(path: tuple[str, ...]) -> None:
    options = {option for parameter in ALL[path].params for option in parameter.opts}
    assert "--json" in options or path[0] in {"serve", "worker", "demo"}


def test_the_version_is_the_distribution_s() -> None:
    shown = CliRunner().invoke(replayvault, ["--version"])
    assert importlib.metadata.version("replayvault") in shown.output


@pytest.mark.parametrize(
    ("name", "kept_out"),
    [
        (
            "serve",
            {
                "keys.master",
                "keys.shares",
                "keys.strongroom",
                "transcoder",
                "vault.work",
                "vault.app.control",
            },
        ),
        (
            "put",
            {
                "keys.master",
                "keys.shares",
                "keys.strongroom",
                "transcoder",
                "vault.work",
                "sqlalchemy.dialects",
            },
        ),
        ("get", {"keys.master", "keys.shares", "keys.strongroom", "transcoder", "vault.work"}),
        ("audit", {"keys.master", "keys.shares", "keys.strongroom", "transcoder", "vault.work"}),
        ("breaker", {"keys.master", "keys.shares", "keys.strongroom", "transcoder", "vault.work"}),
        ("doctor", {"keys.master", "keys.shares", "keys.strongroom", "transcoder", "vault.work"}),
    ],
)
def test_a_command_loads_no_room_that_it_has_no_business_in(name: str, kept_out: set[str]) -> None:
    script = (
        "import json, sys, click; from vault.cli import replayvault as r;"
        f"r.get_command(click.Context(r), {name!r}); print(json.dumps(list(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    loaded = set(json.loads(done.stdout))
    assert COMMANDS[name] in loaded
    assert not {each for each in loaded for room in kept_out if f"{each}.".startswith(f"{room}.")}


def test_servers_pass_over_what_is_for_the_client() -> None:
    ours = {"REPLAYVAULT_URL": "https://replay.example.org", "REPLAYVAULT_TOKEN_FILE": "/run/secrets/token"}
    assert load(AllSettings, ours)
    with pytest.raises(SettingsError, match="REPLAYVAULT_TOKEN is not a setting"):
        load(StreamSettings, {**ours, "REPLAYVAULT_TOKEN": "x"})


@pytest.mark.parametrize(("code", "module", "name"), CODES)
def test_every_error_that_has_an_exit_code_exists(code: Exit, module: str, name: str) -> None:
    kind = getattr(importlib.import_module(module), name)
    bases = [base for base in kind.__mro__ if base is not kind]
    assert issubclass(kind, Exception)
    earlier = CODES[: CODES.index((code, module, name))]
    assert not [each for each in earlier for base in bases if (base.__module__, base.__name__) == each[1:]]
