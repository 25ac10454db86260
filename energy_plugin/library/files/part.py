"""A stretch of a file: a text with its fields, or a page that is a picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Value = bool | int | float | str


@dataclass(frozen=True)
class Part:
    """One row of a table, one page, or a whole text.

    Parameters
    ----------
    text : str
        Empty for a page that is a picture.
    fields : mapping of str to bool, int, float or str
        What the file says of it: cells of a table, front matter. They become columns.
    page : int or None
        Counted from 1, in files that have pages.
    picture : bool
        Pixels are embedded; `energy_plugin.library.files.pictures` gives them.
    """

    text: str
    fields: Mapping[str, Value] = field(default_factory=dict)
    page: int | None = None
    picture: bool = False
