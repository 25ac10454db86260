"""A LanceDB table ranked by energy."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from energy_lancedb.companion_layout import keys_of
from energy_lancedb.findings import Finding, findings_of, wrong_rows
from energy_lancedb.fragments import SAMPLE_ROWS, SampledRows, read_sample
from energy_lancedb.host import prints_of
from energy_lancedb.layout import FittedRows, layout_of
from energy_lancedb.pointer import Pointer, replaced_pointer
from energy_lancedb.upkeep import EnergyUpkeep
from energy_plugin.energy.config import as_config
from energy_plugin.errors import InvalidInputError
from energy_plugin.validation import as_k

if TYPE_CHECKING:
    from energy_plugin.energy import EnergyConfig

LAYOUTS = ("auto", "columns", "companion")
ENGINES = ("local", "ray")


@dataclass(frozen=True)
class BuildTimes:
    """Where the time of a build went, in seconds."""

    read: float  # of the vectors
    fit: float  # of the field; in columns too, unless they were mapped
    write: float  # of columns and field; mapping of rows outside the sample included


class EnergyTable(EnergyUpkeep):
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

    last_build: BuildTimes | None = None
    """Of the last `build` of this object."""

    # -- building

    def build(
        self,
        config: EnergyConfig | None = None,
        *,
        layout: str = "auto",
        engine: str = "local",
        sample: int | None = None,
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
        engine : {"local", "ray"}, default "local"
            Where rows become columns once the field is known: in this process, or fragment by
            fragment on a Ray cluster (``pip install "energy-plugin[ray]"``).
        sample : int, optional
            Rows that the field is fitted on: all, or 131,072 chosen by the seed of the
            configuration where there are more. The columns of the others are a function of
            their vector, the field and the sample, which both engines compute alike. With the
            layout "companion" the field is always fitted on all rows.
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
        from energy_plugin.energy.mapping import sample_config

        config = as_config(config)
        if layout not in LAYOUTS:
            raise InvalidInputError(f"layout must be one of {LAYOUTS}, got {layout!r}.")
        if engine not in ENGINES:
            raise InvalidInputError(f"engine must be one of {ENGINES}, got {engine!r}.")
        limit = SAMPLE_ROWS if sample is None else as_k(sample, name="sample")
        self.host.require_latest()
        with self.lock:
            started = time.perf_counter()
            version = self.host.latest()
            previous = replaced_pointer(self.host.schema)
            column = self._column or (previous.vector_column if previous else None)
            column, dim = self.host.vector_column(column)
            if layout == "auto":
                layout = "columns" if self.host.has_dataset() else "companion"
            if layout == "companion" and engine != "local":
                raise InvalidInputError(
                    f"engine={engine!r} writes the columns into the table, which needs pylance to "
                    f"open the storage of {self.host.name!r}, and not layout='companion'. "
                    "Leave engine out."
                )
            count = self.host.table.count_rows()
            mapped = layout == "columns" and (engine == "ray" or limit < count)
            vectors = (
                read_sample(self.host.dataset(), column, dim, limit, config.seed)
                if mapped
                else self.host.vectors(column, dim)
            )
            if len(vectors.rowids) == 0:
                raise InvalidInputError(
                    f"Table {self.host.name!r} has no row with a vector in {column!r}. "
                    "Add rows, then build."
                )
            if mapped and limit < count:
                config = sample_config(config, count, len(vectors.rowids))
            read = time.perf_counter()
            index = EnergyIndex.fit(
                vectors.matrix, config, show_progress_bar=show_progress_bar, device=self._device
            )
            fitted = time.perf_counter()
            prints = prints_of(vectors.matrix)
            rows: FittedRows | SampledRows
            if mapped:
                blob = index.field.to_bytes()
                rows = SampledRows(
                    blob, vectors.rowids, prints, index.columns, engine, self._device
                )
            else:
                rows = FittedRows(
                    version=version,
                    rowids=vectors.rowids,
                    keys=lambda: keys_of(vectors.matrix),
                    fingerprints=prints,
                    columns=index.columns,
                )
            self._publish(index.field, rows, layout, column, previous)
            if not mapped:
                self.refresh()  # rows that came while the field was fitted
            written = time.perf_counter()
            self.last_build = BuildTimes(read - started, fitted - read, written - fitted)
        return self

    def verify(self) -> list[Finding]:
        """Check all that is stored against the table's vectors; reads them once.

        Checked are pointer, artefacts with their checksum, types, cells, λ and G of every row,
        rows that wait, and what broken-off builds left. The planes of residuals are not: they
        depend on rows that may be gone.

        Returns
        -------
        list of Finding
            Empty if all is well.
        """
        with self.lock:
            return list(findings_of(self))

    def repair(self, *, rebuild: bool = False) -> list[Finding]:
        """Mend what `verify` finds.

        Parameters
        ----------
        rebuild : bool, default False
            Build a new field where the present one cannot be used.

        Returns
        -------
        list of Finding
            What is left.
        """
        with self.lock:
            self.host.require_latest()
            kinds = {finding.kind for finding in findings_of(self)}
            if "field" in kinds and rebuild:
                previous = replaced_pointer(self.host.schema)
                self.build(_config_of(previous), layout=previous.layout if previous else "auto")
            if "field" not in kinds:
                snapshot = self.snapshot()
                pointer = snapshot.pointer
                if "history" in kinds:
                    self.artefacts(pointer.artefacts).revive(pointer)
                if "values" in kinds:
                    self._mend()
                if "pending" in kinds:
                    self.refresh()
                if "leftover" in kinds:
                    layout_of(pointer.layout, self.host).tidy()
            return list(findings_of(self))

    def _mend(self) -> None:
        """Write the columns of rows with wrong values anew."""
        from energy_plugin.energy import EnergyColumns, EnergyIndex

        snapshot, vectors = self.snapshot_and_vectors()
        wrong = wrong_rows(snapshot, vectors)
        index = self._copy(snapshot)
        keep = np.ones(len(index), dtype=bool)
        keep[wrong] = False
        columns = index.columns
        mended = snapshot.index.encode(vectors[wrong])
        prints = snapshot.fingerprints.copy()
        prints[snapshot.index.rows] = prints_of(vectors)
        snapshot = replace(snapshot, fingerprints=prints)
        order = np.argsort(np.concatenate([np.flatnonzero(keep), wrong]))
        both = EnergyColumns.concat([columns.take(keep), mended]).take(order)
        self._republish(snapshot, EnergyIndex.from_columns(snapshot.field, both), vectors)

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
                self.artefacts(name).drop()
            self._snapshot = None


def _config_of(pointer: Pointer | None) -> EnergyConfig | None:
    """The configuration in a pointer, or None where it cannot be read."""
    from energy_plugin.energy import EnergyConfig

    try:
        return None if pointer is None else EnergyConfig.from_dict(pointer.config)
    except InvalidInputError:
        return None
