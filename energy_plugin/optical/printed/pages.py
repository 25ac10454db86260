"""Documents of page images: pages looked at side by side, then set as tiles."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from energy_plugin.errors import UnreadablePageError
from energy_plugin.optical.printed.reading import Reading
from energy_plugin.optical.printed.several import in_order
from energy_plugin.optical.printed.sheets import sheet
from energy_plugin.optical.typesetting.ours import own_tiles

if TYPE_CHECKING:
    from energy_plugin.optical.printed.reader import PrintReader
    from energy_plugin.optical.typesetting.tiles import Typesetter


@dataclass(frozen=True)
class SeenPage:
    """What is seen on a page.

    Attributes
    ----------
    size : tuple of int
        Pixels of the page that was looked at.
    own : ndarray of shape (n_tiles, 64, 64), uint8, or None
        Tiles of a page that the typesetter set.
    reading : Reading or None
        None of a page of the typesetter whose words nobody asked for.
    """

    size: tuple[int, int]
    own: NDArray[np.uint8] | None
    reading: Reading | None

    @property
    def text(self) -> str:
        """What is read on print; of a page of the typesetter the tiles say it."""
        return "" if self.own is not None or self.reading is None else self.reading.text


def seen_pages(
    pictures: Sequence[Any], names: Sequence[str], reader: PrintReader, *, words: bool = False
) -> Iterator[SeenPage]:
    """Look at pages, in their order.

    Parameters
    ----------
    pictures : sequence of pictures
    names : sequence of str
        What messages call them.
    reader : PrintReader
    words : bool, default=False
        Read pages of the typesetter, too.

    Raises
    ------
    InvalidInputError
        A picture cannot be opened.
    """

    def seen(job: tuple[Any, str]) -> SeenPage:
        page = sheet(*job)
        own = own_tiles(np.asarray(page))
        return SeenPage(page.size, own, reader.read_sheet(page) if words or own is None else None)

    return in_order(seen, list(zip(pictures, names, strict=True)))


def document_tiles(
    pages: Sequence[SeenPage], names: Sequence[str], typesetter: Typesetter
) -> NDArray[np.uint8]:
    """Tiles of a document: its own where a page is the typesetter's, else what is read, set.

    Pages that follow each other are set as one text, as if they had been typed.

    Parameters
    ----------
    pages : sequence of SeenPage
    names : sequence of str
        What messages call them.
    typesetter : Typesetter

    Returns
    -------
    ndarray of shape (n_tiles, 64, 64), uint8
        At least one tile.

    Raises
    ------
    UnreadablePageError
        No page shows text.
    """
    out: list[NDArray[np.uint8]] = []
    texts: list[str] = []

    def flush() -> None:
        if texts:
            out.append(typesetter.tiles("\n".join(texts)))
            texts.clear()

    for page in pages:
        if page.own is not None:
            flush()
            out.append(page.own)
        elif page.text:
            texts.append(page.text)
    flush()
    if not out:
        what = names[0] if len(names) == 1 else names[0].rsplit("[", 1)[0]
        shape = "×".join(map(str, pages[0].size)) if len(pages) == 1 else f"{len(pages)} pages"
        raise UnreadablePageError(
            f"{what} ({shape}{' px' if len(pages) == 1 else ''}) is blank or shows no text that "
            "can be read; leave it out, or scan it again at 150 dots per inch or more"
        )
    return np.concatenate(out)
