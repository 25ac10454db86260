"""Documents of page images as tiles of the typesetter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from energy_plugin.errors import UnreadablePageError
from energy_plugin.optical.printed.sheets import sheet
from energy_plugin.optical.typesetting.ours import own_tiles

if TYPE_CHECKING:
    from energy_plugin.optical.printed.reader import PrintReader
    from energy_plugin.optical.typesetting.tiles import Typesetter


def document_tiles(
    pages: Sequence[Any], names: Sequence[str], reader: PrintReader, typesetter: Typesetter
) -> NDArray[np.uint8]:
    """Tiles of a document: its own where a page is the typesetter's, else what is read, set.

    Pages that follow each other are set as one text, as if they had been typed.

    Parameters
    ----------
    pages : sequence of pictures
    names : sequence of str
        What messages call them.
    reader : PrintReader
    typesetter : Typesetter

    Returns
    -------
    ndarray of shape (n_tiles, 64, 64), uint8
        At least one tile.

    Raises
    ------
    UnreadablePageError
        No page shows text.
    InvalidInputError
        A picture cannot be opened.
    """
    out: list[NDArray[np.uint8]] = []
    texts: list[str] = []
    sizes = []

    def flush() -> None:
        if texts:
            out.append(typesetter.tiles("\n".join(texts)))
            texts.clear()

    for picture, name in zip(pages, names, strict=True):
        page = sheet(picture, name)
        sizes.append(page.size)
        own = own_tiles(np.asarray(page))
        if own is not None:
            flush()
            out.append(own)
        elif text := reader.read_sheet(page).text:
            texts.append(text)
    flush()
    if not out:
        what = names[0] if len(names) == 1 else names[0].rsplit("[", 1)[0]
        shape = "×".join(map(str, sizes[0])) if len(sizes) == 1 else f"{len(sizes)} pages"
        raise UnreadablePageError(
            f"{what} ({shape}{' px' if len(sizes) == 1 else ''}) is blank or shows no text that "
            "can be read; leave it out, or scan it again at 150 dots per inch or more"
        )
    return np.concatenate(out)
