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
    questions: Annotated[
        Path | None,
        typer.Option(help="Questions, one per line; the report shows which are answered."),
    ] = None,
    embedder: Annotated[
        str | None, typer.Option(help="module:Class, if the index was made with one.")
    ] = None,
    name: Name = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the sample.")] = 0,
    as_json: Json = False,
) -> None:
    """Write a one-page report about an index.

    Topics, near-duplicates, outliers, hubs, which of your questions it answers, and what changed
    since the last report. Prints on two pages.
    """
    from energy_plugin._lazy import optional
    from energy_plugin.library.remedies import commands_as_remedies
    from energy_plugin.library.reports import changes
    from energy_plugin.library.reports.contents import contents_of
    from energy_plugin.library.reports.coverage import read_list
    from energy_plugin.library.reports.findings import findings
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
    asked = None if questions is None else read_list(questions)
    with commands_as_remedies(path, name):
        store = open_store(path, name)
        contents = contents_of(store, seed, asked=asked, embedder=embedder)
    draft = output.with_name(f".{output.name}.draft")
    draft.write_text(page(contents, pictures(contents)), encoding="utf-8")
    draft.replace(output)
    changes.note(store, contents.now)
    found = {
        "output": str(output),
        "bytes": output.stat().st_size,
        "rows": contents.facts["rows"],
        "topics": len(contents.topics),
        **contents.found,
        "questions": {each.text: each.state for each in contents.covered or []},
        "findings": findings(contents),
    }
    if as_json:
        print_json(found)
    else:
        print(f"{output}: {found['rows']:,} rows, {found['bytes']:,} bytes")
        for sentence in findings(contents):
            print(f"- {sentence}")
