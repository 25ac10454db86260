"""Groups whose commands are imported when they run."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from difflib import get_close_matches
from itertools import groupby
from typing import Any, ClassVar

import typer
from typer.core import TyperGroup

from energy_plugin.cli.commands import COMMANDS, LAB, Entry


class LazyGroup(TyperGroup):
    """A group that lists its commands from a table and imports the one that is called."""

    entries: ClassVar[Mapping[str, Entry]] = {}
    unlisted: ClassVar[Mapping[str, Entry]] = {}  # run, not shown

    def list_commands(self, ctx: Any) -> list[str]:
        """Give the names in the order of help."""
        return list(self.entries)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Import a command; None where there is none of that name."""
        entry = self.entries.get(cmd_name) or self.unlisted.get(cmd_name)
        return None if entry is None else _made(cmd_name, entry)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find a command; the message about a mistyped one names those that are near."""
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            near = get_close_matches(args[0], [*self.entries, *self.unlisted], n=1)
            meant = f" Did you mean {near[0]}?" if near else ""
            ctx.fail(f"There is no command {args[0]!r}.{meant}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write one line for each command, section by section."""
        width = max(map(len, self.entries))
        for section, items in groupby(self.entries.items(), key=lambda item: item[1].section):
            with formatter.section(section):
                formatter.write_dl([(name.ljust(width), entry.help) for name, entry in items])


class TopGroup(LazyGroup):
    """The commands; those of the laboratory also run without the word ``lab``."""

    entries = COMMANDS
    unlisted = LAB


class LabGroup(LazyGroup):
    """The laboratory."""

    entries = LAB


def _made(name: str, entry: Entry) -> Any:
    module = importlib.import_module(f"energy_plugin.cli.{entry.module}")
    app = getattr(module, "app", None)
    if app is None:
        app = typer.Typer(add_completion=False, rich_markup_mode=None)
        app.command(name)(module.command)
    made: Any = typer.main.get_command(app)
    made.name = name
    return made
