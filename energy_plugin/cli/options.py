"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Database = Annotated[
    Path, typer.Argument(help="Folder of a LanceDB or Chroma database, or http://HOST:PORT.")
]
Name = Annotated[str | None, typer.Option(help="Table or collection, if there are several.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
