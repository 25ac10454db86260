"""A LanceDB table ranked by energy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from energy_lancedb.companion_layout import keys_of
from energy_lancedb.host import prints_of
from energy_lancedb.layout import FittedRows, layout_of
from energy_lancedb.pointer import Pointer, embedder_of, replaced_pointer
from energy_lancedb.writer import EnergyWriter
from energy_plugin.energy.config import as_config
from energy_plugin.errors import InvalidInputError

if TYPE_CHECKING:
    from energy_plugin.energy import EnergyConfig, EnergyField

LAYOUTS = ("auto", "columns", "companion")


class EnergyTable(EnergyWriter):
    """A LanceDB table whose searches are ordered by energy distance.

    Parameters
    ----------
    table : lancedb.table.LanceTable
        What `lancedb.connect(uri).open_table(name)` returns. The plugin moves this handle to
        the table's latest version before every search, unless `checkout` named another.
    vector_column_name : str, optional
        Only needed while the table has several vector columns and no field yet.
    device : str, optional
        "cuda", "mps" or "cpu"; by default the best at hand.
    connection : lancedb.DBConnection, optional
        Database of the companion tables; the table's own by default.

    Examples
    --------
    >>> energy = EnergyTable(table).build()                              # doctest: +SKIP
    >>> energy.search("heat flow").where("year > 2020").limit(5).to_pandas()  # doctest: +SKIP
    """

    # -- building

    def build(
        self,
        config: EnergyConfig | None = None,
        *,
        layout: str = "auto",
        show_progress_bar: bool = False,
    ) -> EnergyTable:
        """Fit an energy field to the table and store it, as a new generation.

        Readers see the old field until the new one is complete.

        Parameters
        ----------
        config : EnergyConfig, optional
        layout : {"auto", "columns", "companion"}, default "auto"
            Store the energy columns in the table, or in a table beside it, which is the only
            way where pylance cannot open the storage (``memory://``). "auto" takes the first
            that works.
        show_progress_bar : bool, default False

        Returns
        -------
        EnergyTable
            This object.

        Raises
        ------
        InvalidInputError
            No row has a vector, the table has foreign columns of the same names, or `config`
            is no EnergyConfig.
        """
        from energy_plugin.energy import EnergyIndex

        config = as_config(config)
        if layout not in LAYOUTS:
            raise InvalidInputError(f"layout must be one of {LAYOUTS}, got {layout!r}.")
        self.host.require_latest()
        with self.lock:
            version = self.host.latest()
            previous = replaced_pointer(self.host.schema)
            column = self._column or (previous.vector_column if previous else None)
            column, dim = self.host.vector_column(column)
            if layout == "auto":
                layout = "columns" if self.host.has_dataset() else "companion"
            vectors = self.host.vectors(column, dim)
            if len(vectors.rowids) == 0:
                raise InvalidInputError(
                    f"Table {self.host.name!r} has no row with a vector in {column!r}. "
                    "Add rows, then build."
                )
            index = EnergyIndex.fit(
                vectors.matrix, config, show_progress_bar=show_progress_bar, device=self._device
            )
            rows = FittedRows(
                version=version,
                rowids=vectors.rowids,
                keys=keys_of(vectors.matrix),
                fingerprints=prints_of(vectors.matrix),
                columns=index.columns,
            )
            self._publish(index.field, rows, layout, column, previous)
            self.refresh()  # rows that came while the field was fitted
        return self

    def _publish(
        self,
        field: EnergyField,
        rows: FittedRows,
        layout: str,
        column: str,
        previous: Pointer | None,
    ) -> None:
        artefacts = self._artefacts()
        generation = 1 + max(
            artefacts.last_generation(), previous.generation if previous is not None else 0
        )
        chunks, sha256 = artefacts.write(generation, field.to_bytes())
        pointer = Pointer(
            generation=generation,
            layout=layout,
            vector_column=column,
            dim=field.dim,
            code_bytes=int(rows.columns.residual.shape[1]),
            artefacts=artefacts.name,
            chunks=chunks,
            sha256=sha256,
            embedder=embedder_of(self.host.schema, column),
            n_fitted=field.n_fitted,
            config=field.config.to_dict(),
        )
        replaced = layout_of(layout, self.host).publish(pointer, rows)
        if replaced is not None and replaced.layout != layout:
            layout_of(replaced.layout, self.host).drop()
        artefacts.drop_outdated(pointer, replaced)
        self._snapshot = None

    def drop(self) -> None:
        """Remove the energy columns, the pointer and the companion tables."""
        self.host.require_latest()
        with self.lock:
            self.host.latest()
            previous = replaced_pointer(self.host.schema)
            names = {f"{self.host.name}__energy"}
            if previous is not None:
                names.add(previous.artefacts)
            for layout in ("columns", "companion"):
                layout_of(layout, self.host).drop()
            for name in names:
                self._artefacts(name).drop()
            self._snapshot = None
