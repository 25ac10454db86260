"""What a table's field holds, read for reports; the door for other packages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from energy_lancedb.beside import is_own
from energy_lancedb.host import ROWID

if TYPE_CHECKING:
    from energy_lancedb.table import EnergyTable
    from energy_plugin.energy import EnergyColumns, EnergyField


def is_companion(name: str) -> bool:
    """Tell whether a table of that name holds the plugin's own records."""
    return is_own(name)


def stored_rows(energy: EnergyTable) -> tuple[EnergyField, EnergyColumns, list[str]]:
    """Give the field, the columns of its live rows, and the rows' ids.

    Returns
    -------
    field : EnergyField
    columns : EnergyColumns
        Of n rows, in the order of `ids`.
    ids : list of str
        The column ``id``; row ids of Lance where there is none.

    Raises
    ------
    NotBuiltError, CorruptFieldError, ForeignFieldError
        As `EnergyTable.search`.
    """
    snapshot = energy._live.snapshot()
    live = [str(row) for row in snapshot.live_rowids.tolist()]
    if "id" in energy._live.host.schema.names:
        rows = energy._live.host.scan(["id"])
        given = zip(rows[ROWID].to_pylist(), rows["id"].to_pylist(), strict=True)
        names = {str(row): str(value) for row, value in given}
        live = [names[row] for row in live]
    return snapshot.field, snapshot.index.columns, live
