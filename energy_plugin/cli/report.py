"""``energy-plugin report``: one page about a field, to open in a browser."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from energy_plugin.cli.console import print_json


def command(
    path: Annotated[Path, typer.Argument(help="Folder of a LanceDB or Chroma database.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The page.")] = Path("report.html"),
    name: Annotated[str | None, typer.Option(help="Table or collection, if several.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Chooses the queries.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Draw a field: anchors, λ and G, cells, outliers, near-duplicates, queries."""
    from energy_plugin._lazy import optional
    from energy_plugin.library.reports.contents import contents_of
    from energy_plugin.library.reports.page import page
    from energy_plugin.library.reports.plots import pictures
    from energy_plugin.library.stores.opening import open_store

    optional("matplotlib", "eval")
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
