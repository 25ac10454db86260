"""The application: its groups, ``--version`` and ``--help``."""

from __future__ import annotations

from typing import Annotated

import typer

from energy_plugin import __version__
from energy_plugin.cli.groups import TopGroup

app = typer.Typer(
    name="energy-plugin",
    cls=TopGroup,
    help="Search your files by meaning: optical embeddings and energy ranking in Chroma or "
    "LanceDB.",
    epilog="Start with: energy-plugin index FOLDER --into DATABASE. Exit codes: 0 done; 1 error; "
    "2 wrong usage or unreadable input, the rest done; 130 interrupted.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"energy-plugin {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    pass
