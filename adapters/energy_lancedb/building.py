"""Building the energy field of a LanceDB table."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from energy_lancedb.blocks import HostRows, fitted_rows, plan_of
from energy_lancedb.column_layout import ColumnLayout
from energy_lancedb.fragments import SAMPLE_ROWS, SampledRows, mapped_rows, read_sample
from energy_lancedb.host import ROWID, Host, prints_of
from energy_lancedb.keys import keys_of
from energy_lancedb.layout import FittedRows
from energy_lancedb.live import LiveTable
from energy_lancedb.pointer import KEY, Pointer, replaced_pointer
from energy_plugin.energy.config import as_config
from energy_plugin.errors import InvalidInputError
from energy_plugin.stored.moments import Moment, reached
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


class Publisher(Protocol):
    """What a builder needs of a `TableKeeper`."""

    @property
    def live(self) -> LiveTable:
        """The table's field, as this process sees it."""

    @property
    def host(self) -> Host:
        """The table."""

    def publish_rows(
        self, field: Any, rows: Any, layout: str, column: str, previous: Pointer | None
    ) -> Any:
        """Write field and rows as a new generation."""

    def refresh(self) -> Any:
        """Write what came meanwhile."""


class Builder:
    """Fits a field to a table and publishes it.

    Parameters
    ----------
    keeper : TableKeeper
    """

    def __init__(self, keeper: Publisher) -> None:
        self.keeper = keeper
        self.live = keeper.live
        self.host = keeper.host

    def build(
        self,
        config: EnergyConfig | None = None,
        *,
        layout: str = "auto",
        engine: str = "local",
        sample: int | None = None,
        memory_limit: int | str | None = None,
        show_progress_bar: bool = False,
    ) -> BuildTimes:
        """See `EnergyTable.build`."""
        config = as_config(config)
        bound = as_memory_limit(memory_limit)
        if layout not in LAYOUTS:
            raise InvalidInputError(f"layout must be one of {LAYOUTS}, got {layout!r}.")
        if engine not in ENGINES:
            raise InvalidInputError(f"engine must be one of {ENGINES}, got {engine!r}.")
        limit = SAMPLE_ROWS if sample is None else as_k(sample, name="sample")
        self.host.require_latest()
        with self.live.lock:
            started = time.perf_counter()
            self.host.latest()
            previous = replaced_pointer(self.host.schema)
            column = self.live.column or (previous.vector_column if previous else None)
            column, dim = self.host.vector_column(column)
            if layout == "auto":
                layout = self._layout(previous, engine)
            if self.host.key != KEY and (layout == "columns" or engine != "local"):
                raise InvalidInputError(
                    f"The energy field of {column!r} is not the first of table {self.host.name!r}; "
                    "fields of further vector columns are stored in companion tables. "
                    "Leave layout and engine out."
                )
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
                    layout=layout,
                    mapped=engine == "ray" or (limit < count and self.host.has_dataset()),
                    sample=limit,
                    engine=engine,
                    show_progress_bar=show_progress_bar,
                )
            fitted = time.perf_counter()
            self.keeper.publish_rows(field, rows, layout, column, previous)
            if plan is None and isinstance(rows, FittedRows):
                self.keeper.refresh()  # rows that came while the field was fitted
            written = time.perf_counter()
            read = fitting - started
        return BuildTimes(read, fitted - fitting, written - fitted)

    def _layout(self, previous: Pointer | None, engine: str) -> str:
        """That of the field there is; otherwise the one that leaves the table as it is."""
        if self.host.key != KEY:
            return "companion"
        inside = engine == "ray"
        if previous is not None:
            inside |= previous.layout == "columns"
        else:
            inside |= bool(ColumnLayout(self.host).own_columns())  # one of them was dropped
        return "columns" if inside and self.host.has_dataset() else "companion"

    def _fit_at_once(
        self,
        column: str,
        dim: int,
        plan: Plan | None,
        config: EnergyConfig,
        *,
        layout: str,
        mapped: bool,
        sample: int,
        engine: str,
        show_progress_bar: bool,
    ) -> tuple[EnergyField, FittedRows | SampledRows, float]:
        """Field, rows, and when the vectors were read; of all rows or, if mapped, a sample."""
        from energy_plugin.energy import EnergyIndex
        from energy_plugin.energy.blocks import blocks_of
        from energy_plugin.energy.fit import budget
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
        with self.live.others_go_on(), blocks_of(None if plan is None else plan.block_values):
            reached(Moment.FITTING)
            index = EnergyIndex.fit(
                vectors.matrix, config, show_progress_bar=show_progress_bar, device=self.live.device
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
        sampled = SampledRows(blob, vectors.rowids, prints, index.columns, engine, self.live.device)
        if layout == "companion":
            source = self.host.dataset()
            return index.field, mapped_rows(source, column, dim, sampled, version), read
        if plan is not None:
            budget.give_back()
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
            device=self.live.device,
            show_progress_bar=show_progress_bar,
        )
        return field, rows, read


def _no_vectors(table: str, column: str) -> str:
    return f"Table {table!r} has no row with a vector in {column!r}. Add rows, then build."
