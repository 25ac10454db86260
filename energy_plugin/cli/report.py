"""``energy-plugin report``: one page about a field, to open in a browser."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from energy_plugin.cli.console import print_json
from energy_plugin.cli.options import Database, Json, Name
from energy_plugin.errors import InvalidInputError


def command(
    path: Database,
    output: Annotated[Path, typer.Option("--output", "-o", help="HTML file to write.")] = Path(
        "report.html"
    ),
    name: Name = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the sample.")] = 0,
    as_json: Json = False,
) -> None:
    """Write a one-page report about an index.

    Outliers, near-duplicates, sample queries, and plots of the energy field.
    """
    from energy_plugin._lazy import optional
    from energy_plugin.library.remedies import commands_as_remedies
    from energy_plugin.library.reports.contents import contents_of
    from energy_plugin.library.reports.page import page
    from energy_plugin.library.reports.plots import pictures
    from energy_plugin.library.stores.opening import open_store

    if not output.parent.is_dir() or output.is_dir():
        raise InvalidInputError(
            f"cannot write {output}: {output.parent if not output.is_dir() else output} is "
            f"{'a folder' if output.is_dir() else 'not a folder'}. Give --output a file in a "
            "folder that exists."
        )
    optional("matplotlib", "eval")
    with commands_as_remedies(path, name):
        contents = contents_of(open_store(path, name), seed)
    draft = output.with_name(f".{output.name}.draft")
    draft.write_text(page(contents, pictures(contents)), encoding="utf-8")
    draft.replace(output)
    found = {
        "output": str(output),
        "bytes": output.stat().st_size,
        "rows": contents.facts["rows"],
        "outliers": len(contents.outliers),
        "near_duplicates": len(contents.duplicates),
        "queries": len(contents.questions),
    }
    if as_json:
        print_json(found)
    else:
        print(f"{output}: {found['rows']} rows, {found['bytes']:,} bytes")
