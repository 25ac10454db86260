"""``energy-plugin lab``: the laboratory."""

from __future__ import annotations

import typer

from energy_plugin.cli.groups import LabGroup

app = typer.Typer(
    cls=LabGroup,
    help="Experiments: measure, tune, train.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)


@app.callback()
def _options() -> None:
    pass
