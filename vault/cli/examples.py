"""Commands whose help ends in examples, which the tests parse: an example that is wrong fails one."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import Any

import click


class Exampled(click.Command):
    """A command with examples, one shell line each."""

    def __init__(self, *given: Any, examples: Sequence[str] = (), **named: Any) -> None:
        super().__init__(*given, **named)
        self.examples = tuple(examples)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples below the options, unwrapped, to be copied."""
        del ctx
        if not self.examples:
            return
        with formatter.section("Examples"):
            for line in self.examples:
                formatter.write(f"{'':{formatter.current_indent}}{line}\n")


class ExampledGroup(Exampled, click.Group):
    """A group of such commands."""

    command_class = Exampled


class LazyGroup(ExampledGroup):
    """A group whose commands are modules, each loaded when it is asked for.

    `modules`: name of the command → the module that defines a click command of that name.
    """

    def __init__(self, *given: Any, modules: Mapping[str, str], **named: Any) -> None:
        super().__init__(*given, **named)
        self._modules = modules

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of the table, which is the order of use."""
        del ctx
        return list(self._modules)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load the command's module."""
        del ctx
        module = self._modules.get(cmd_name)
        if module is None:
            return None
        command: Any = getattr(importlib.import_module(module), cmd_name)
        if not isinstance(command, click.Command):
            raise TypeError(f"{module}.{cmd_name} is not a command")
        return command
