"""A LanceDB table ranked by energy."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from energy_lancedb.blocks import HostRows, fitted_rows, plan_of
from energy_lancedb.companion_layout import keys_of
from energy_lancedb.findings import Finding, findings_of, wrong_rows
from energy_lancedb.fragments import SAMPLE_ROWS, SampledRows, read_sample
from energy_lancedb.host import ROWID, prints_of
from energy_lancedb.layout import FittedRows, layout_of
from energy_lancedb.pointer import Pointer, replaced_pointer
from energy_lancedb.upkeep import EnergyUpkeep
from energy_plugin.energy.config import as_config
from energy_plugin.errors import InvalidInputError
from energy_plugin.validation import as_k, as_memory_limit

if TYPE_CHECKING:
    from energy_plugin.energy import EnergyConfig, EnergyField
    from energy_plugin.energy.fit.budget import Plan

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
        memory_limit: int | str | None = None,
        show_progress_bar: bool = False,
    ) -> EnergyTable:
        """Fit an energy field to the table and store it, as a new generation.

        Readers see the old field until the new one is complete; other threads go on with this
        object while the field is fitted.

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
            layout "companion" the field is fitted on all rows, unless the memory is limited.
        memory_limit : int or str, optional
            Bytes, or ``"2 GB"``, that the build may take beyond what the process has: a sample
            that fits is taken, and the vectors are read and mapped a block at a time. With Ray
            it holds for this process and for each task.
        show_progress_bar : bool, default False

        Returns
        -------
        EnergyTable
            This object.

        Raises
        ------
        InvalidInputError
            No row has a vector, the table has foreign columns of the same names, the limit is
            too small, or `config` is no EnergyConfig.
        """
        config = as_config(config)
        bound = as_memory_limit(memory_limit)
        if layout not in LAYOUTS:
            raise InvalidInputError(f"layout must be one of {LAYOUTS}, got {layout!r}.")
        if engine not in ENGINES:
            raise InvalidInputError(f"engine must be one of {ENGINES}, got {engine!r}.")
        limit = SAMPLE_ROWS if sample is None else as_k(sample, name="sample")
        self.host.require_latest()
        with self.lock:
            started = time.perf_counter()
            self.host.latest()
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
            plan = None if bound is None else plan_of(bound, layout, count, dim, config)
            if plan is not None:
                limit = min(limit, plan.sample)
            field: EnergyField
            rows: FittedRows | SampledRows
            if layout == "companion" and plan is not None and plan.sample < count:
                field, rows, fitting = self._fit_in_passes(
                    column, dim, plan, config, show_progress_bar=show_progress_bar
                )
            else:
                field, rows, fitting = self._fit_at_once(
                    column,
                    dim,
                    plan,
                    config,
                    mapped=layout == "columns" and (engine == "ray" or limit < count),
                    sample=limit,
                    engine=engine,
                    show_progress_bar=show_progress_bar,
                )
            fitted = time.perf_counter()
            self._publish(field, rows, layout, column, previous)
            if plan is None and isinstance(rows, FittedRows):
                self.refresh()  # rows that came while the field was fitted
            written = time.perf_counter()
            read = fitting - started
            self.last_build = BuildTimes(read, fitted - fitting, written - fitted)
        return self

    def _fit_at_once(
        self,
        column: str,
        dim: int,
        plan: Plan | None,
        config: EnergyConfig,
        *,
        mapped: bool,
        sample: int,
        engine: str,
        show_progress_bar: bool,
    ) -> tuple[EnergyField, FittedRows | SampledRows, float]:
        """Field, rows, and when the vectors were read; of all rows or, if mapped, a sample."""
        from energy_plugin.energy import EnergyIndex
        from energy_plugin.energy.blocks import blocks_of
        from energy_plugin.energy.fit import budget as memory
        from energy_plugin.energy.fit.mapping import sample_config

        version, count = self.host.latest(), self.host.table.count_rows()
        vectors = (
            read_sample(self.host.dataset(), column, dim, sample, config.seed)
            if mapped
            else self.host.vectors(column, dim)
        )
        if len(vectors.rowids) == 0:
            raise InvalidInputError(_no_vectors(self.host.name, column))
        if mapped and sample < count:
            config = sample_config(config, count, len(vectors.rowids))
        read = time.perf_counter()
        with self.others_go_on(), blocks_of(None if plan is None else plan.block_values):
            index = EnergyIndex.fit(
                vectors.matrix, config, show_progress_bar=show_progress_bar, device=self._device
            )
        prints = prints_of(vectors.matrix)
        if not mapped:
            rows = FittedRows(
                version=version,
                rowids=vectors.rowids,
                keys=lambda: keys_of(vectors.matrix),
                fingerprints=prints,
                columns=index.columns,
            )
            return index.field, rows, read
        blob = index.field.to_bytes()
        sampled = SampledRows(blob, vectors.rowids, prints, index.columns, engine, self._device)
        if plan is not None:
            memory.give_back()
            batch = max(1, plan.block_values // dim)
            sampled = replace(sampled, batch_rows=batch, block_values=plan.block_values)
        return index.field, sampled, read

    def _fit_in_passes(
        self, column: str, dim: int, plan: Plan, config: EnergyConfig, *, show_progress_bar: bool
    ) -> tuple[EnergyField, FittedRows, float]:
        """As `_fit_at_once`, of all rows, whose vectors are never held at once."""
        version = self.host.latest()
        rowids = np.sort(self.host.scan([])[ROWID].to_numpy().astype(np.uint64))
        read = time.perf_counter()
        field, rows = fitted_rows(
            HostRows(self.host, column, dim, rowids),
            plan,
            version,
            config,
            device=self._device,
            show_progress_bar=show_progress_bar,
        )
        return field, rows, read

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
        index, rows = self._taken(snapshot, vectors)
        keep = np.ones(len(index), dtype=bool)
        keep[wrong] = False
        mended = index.encode(vectors[wrong])
        order = np.argsort(np.concatenate([np.flatnonzero(keep), wrong]))
        both = EnergyColumns.concat([index.columns.take(keep), mended]).take(order)
        self._republish(
            snapshot.pointer,
            EnergyIndex.from_columns(snapshot.field, both),
            replace(rows, fingerprints=prints_of(vectors)),
        )

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


def _no_vectors(table: str, column: str) -> str:
    return f"Table {table!r} has no row with a vector in {column!r}. Add rows, then build."


def _config_of(pointer: Pointer | None) -> EnergyConfig | None:
    """The configuration in a pointer, or None where it cannot be read."""
    from energy_plugin.energy import EnergyConfig

    try:
        return None if pointer is None else EnergyConfig.from_dict(pointer.config)
    except InvalidInputError:
        return None
