"""What stands between a typing mistake and something that cannot be taken back."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Concatenate, ParamSpec, TypeVar

import click

P = ParamSpec("P")
R = TypeVar("R")


class GuardRefused(Exception):
    """What was typed is not what would be destroyed; nothing was done."""


@dataclass(frozen=True, slots=True)
class Guard:
    """How much a command may assume: `--yes` skips the question, `--dry-run` only tells."""

    yes: bool
    dry_run: bool

    def ask(self, word: str, *, about: str) -> None:
        """Let `word` be typed; raises `GuardRefused`."""
        if self.yes:
            return
        click.echo(about, err=True)
        try:
            typed = click.prompt(f"Type {word} to go on", err=True, default="", show_default=False)
        except click.Abort:
            typed = ""
        if typed.strip() != word:
            raise GuardRefused("nothing was done: what was typed is not the id (--yes skips the question)")


def guarded(command: Callable[Concatenate[Guard, P], R]) -> Callable[..., R]:
    """Give a destructive command `--yes` and `--dry-run`, and a `Guard` as its first argument."""

    @click.option("--yes", is_flag=True, help="Do not ask for the id to be typed.")
    @click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
    @functools.wraps(command)
    def with_guard(*given: Any, yes: bool, dry_run: bool, **named: Any) -> R:
        return command(Guard(yes, dry_run), *given, **named)

    return with_guard
