"""What a collection's field holds, read for reports; the door for other packages."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from energy_chroma.collection import EnergyCollection
    from energy_plugin.energy import EnergyColumns, EnergyField


def is_companion(name: str) -> bool:
    """Tell whether a collection of that name holds the plugin's own records."""
    from energy_chroma import companion

    return companion.is_companion(name)


def stored_rows(energy: EnergyCollection) -> tuple[EnergyField, EnergyColumns, list[str]]:
    """Give the field, the columns of its live rows, and the rows' ids.

    Returns
    -------
    field : EnergyField
    columns : EnergyColumns
        Of n rows, in the order of `ids`.
    ids : list of str

    Raises
    ------
    NotBuiltError, CorruptFieldError, ForeignFieldError
        As `EnergyCollection.query`.
    """
    live = energy._keeper.open()
    numbers = live.index.rows
    return live.index.field, live.columns_of(numbers), live.rows.names(numbers.tolist())


def is_built(energy: EnergyCollection) -> bool:
    """Tell whether the collection has a field."""
    return energy._keeper.store.pointer() is not None


def word_share(energy: EnergyCollection) -> float | None:
    """Tell how much words count in a hybrid query that says nothing; None without words."""
    words = energy._keeper.open().words
    return None if words is None else words.share


def has_words(energy: EnergyCollection) -> bool:
    """Tell whether the collection's field was built with the words of its documents."""
    pointer = energy._keeper.store.pointer()
    return pointer is not None and pointer.language is not None
