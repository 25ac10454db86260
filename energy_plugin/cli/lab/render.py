"""``energy-plugin lab render``: the page images of a text, to look at."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from energy_plugin.cli.console import print_json
from energy_plugin.errors import InvalidInputError


def command(
    text: Annotated[str, typer.Argument(help="The text; @FILE reads a file.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="PNG; further pages get -2, -3 and so on.")
    ] = Path("page.png"),
    mode: Annotated[
        str | None,
        typer.Option(help="tiny, small, base or large; tiny, the bundled encoder's, unless given."),
    ] = None,
    layout: Annotated[
        str | None,
        typer.Option(
            help="page or tiles; tiles, what the bundled encoder reads, unless a mode is given."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Typeset a text and write its pages as PNG files."""
    import numpy as np
    from PIL import Image

    from energy_plugin.optical.modes import as_mode
    from energy_plugin.optical.typesetting.page import PageTypesetter
    from energy_plugin.optical.typesetting.tiles import Typesetter, check_texts

    if text.startswith("@"):
        text = read_text(Path(text[1:]))
    (text,) = check_texts([text])
    layout = layout or ("tiles" if mode is None else "page")
    chosen = as_mode(mode or "tiny")
    if layout == "page":
        pages = PageTypesetter(chosen.base).pages(text)
    elif layout == "tiles":
        pages = [page.pixels for page in Typesetter(chosen.grid).pages(text)]
    else:
        raise InvalidInputError(f"layout is {layout!r}, expected 'page' or 'tiles'")
    files = []
    for number, pixels in enumerate(pages, start=1):
        name = output.name if number == 1 else f"{output.stem}-{number}{output.suffix}"
        path = output.with_name(name)
        try:
            Image.fromarray(np.asarray(pixels)).save(path)
        except (OSError, ValueError) as error:
            raise InvalidInputError(f"cannot write {path}: {error}") from error
        files.append(str(path))
    if as_json:
        print_json(
            {
                "files": files,
                "mode": chosen.name,
                "layout": layout,
                "tokens": chosen.tokens(),
                "sizes": [list(page.shape[::-1]) for page in pages],
            }
        )
        return
    for file, page in zip(files, pages, strict=True):
        print(f"{file}: {page.shape[1]}×{page.shape[0]} px")


def read_text(path: Path) -> str:
    """A file's text.

    Raises
    ------
    InvalidInputError
        It cannot be read, or is not UTF-8.
    """
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInputError(f"cannot read {path} as UTF-8 text: {error}") from error
