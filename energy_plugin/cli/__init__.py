"""The command line: one module a command, listed in `energy_plugin.cli.commands`."""

from __future__ import annotations

import io
import os
import sys

from energy_plugin._lazy import optional
from energy_plugin.errors import EnergyPluginError, InvalidInputError

__all__ = ["main"]


def main() -> None:
    """Run ``energy-plugin``.

    Exit codes: 0 done; 1 an error, one line on stderr; 2 wrong usage or input that cannot be
    read, the rest of the work done; 130 interrupted.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # Terminals that lack a letter show its escape; a wrong letter would not be seen.
            stream.reconfigure(errors="backslashreplace")
    if not sys.stderr.isatty():
        os.environ.setdefault("TQDM_DISABLE", "1")  # bars are for terminals
    try:
        optional("typer", "cli")
        from energy_plugin.cli.app import app
        from energy_plugin.cli.deferring import install

        install()
        app(prog_name="energy-plugin")
    except (EnergyPluginError, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2 if isinstance(error, InvalidInputError) else 1)
