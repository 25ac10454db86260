"""A LanceDB table ranked by energy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from energy_lancedb.companion_layout import keys_of
from energy_lancedb.findings import Finding, findings_of, wrong_rows
from energy_lancedb.host import ROWID, prints_of
from energy_lancedb.layout import FittedRows, layout_of, match
from energy_lancedb.pointer import Pointer, embedder_of, replaced_pointer
from energy_lancedb.writer import EnergyWriter
from energy_plugin.energy.config import as_config
from energy_plugin.errors import InvalidInputError

if TYPE_CHECKING:
    from energy_lancedb.snapshot import Snapshot
    from energy_plugin.energy import EnergyConfig, EnergyField, EnergyIndex, Maintenance
    from energy_plugin.forgetting import ForgettingPlan, Schedule

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
                keys=lambda: keys_of(vectors.matrix),
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
        from energy_plugin.energy.codes import stored_bits

        artefacts = self.artefacts()
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
            mixed=bool((stored_bits(rows.columns.residual, field.dim) < field.config.bits).any()),
        )
        replaced = layout_of(layout, self.host).publish(pointer, rows)
        if replaced is not None and replaced.layout != layout:
            layout_of(replaced.layout, self.host).drop()
        artefacts.drop_outdated(pointer, replaced)
        self._snapshot = None

    # -- upkeep

    def refit(self, config: EnergyConfig | None = None) -> EnergyTable:
        """Fit a new field to the present vectors, as a new generation; see `info().drift`.

        As `build`, with the configuration of the present field; rows that have lost bit planes
        do not get them back.

        Parameters
        ----------
        config : EnergyConfig, optional
            That of the present field if not given.
        """
        with self.lock:
            snapshot = self._to_change()
            if len(snapshot):
                index = snapshot.index.refit(self.live_vectors(snapshot), config)
                self._republish(snapshot, index)
        return self

    def maintain(self) -> Maintenance:
        """Split overloaded cells and merge close ones, as a new generation if that changes any.

        Returns
        -------
        energy_plugin.energy.Maintenance
            What was done, and the drift before and after.
        """
        with self.lock:
            snapshot = self._to_change()
            index = self._copy(snapshot)
            vectors = self.live_vectors(snapshot)
            report = index.maintain(vectors if len(vectors) else None)
            if index.field is not snapshot.field:
                self._republish(snapshot, index)
        return report

    def forget(
        self, now: Any, *, column: str, schedule: Schedule | None = None, dry_run: bool = True
    ) -> ForgettingPlan:
        """Drop bit planes of old rows: they stay and are found, less exactly.

        Parameters
        ----------
        now : datetime, date, str or number
            The point in time that ages are counted from.
        column : str
            Column of the table with the time of each row: a timestamp, a date, an ISO 8601
            string or a number since 1970. Rows without one do not change.
        schedule : energy_plugin.forgetting.Schedule, optional
            The default one if not given.
        dry_run : bool, default True
            Only say what would change.

        Returns
        -------
        energy_plugin.forgetting.ForgettingPlan
            Of the rows in the order of `snapshot().index.rows`; `bytes_saved` and `rows` say
            what goes. On disk the bytes go when `optimize(cleanup_older_than=...)` removes the
            versions before.

        Raises
        ------
        InvalidInputError
            No such column, or its values are no points in time.
        """
        from energy_plugin.energy.codes import stored_bits
        from energy_plugin.forgetting import Schedule, ages_in_days

        with self.lock:
            snapshot = self._to_change()
            if column not in self.host.schema.names:
                raise InvalidInputError(
                    f"Table {self.host.name!r} has no column {column!r}; its columns are "
                    f"{self.host.schema.names}. Name the one with the time of each row."
                )
            found = self.host.scan([column])
            positions, _ = match(found[ROWID].to_numpy(), snapshot.live_rowids)
            times = found[column].combine_chunks().take(pa.array(positions))
            timed = pa.types.is_timestamp(times.type) or pa.types.is_date(times.type)
            values = times.to_numpy(zero_copy_only=False) if timed else times.to_pylist()
            bits = stored_bits(snapshot.index.columns.residual, snapshot.pointer.dim)
            plan = (schedule or Schedule()).plan(
                ages_in_days(values, now), bits, snapshot.pointer.dim
            )
            if not dry_run and len(plan.rows):
                index = self._copy(snapshot)
                for few, rows in plan.by_bits.items():
                    index.lower(rows, few)
                self._republish(snapshot, index)
        return plan

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
                    self._mend(snapshot)
                if "pending" in kinds:
                    self.refresh()
                if "leftover" in kinds:
                    layout_of(pointer.layout, self.host).tidy()
            return list(findings_of(self))

    def live_vectors(self, snapshot: Snapshot) -> NDArray[np.float32]:
        """The table's vectors of the live rows of a snapshot, in the order of `index.rows`.

        Raises
        ------
        RuntimeError
            Rows were deleted since.
        """
        pointer = snapshot.pointer
        found = self.host.vectors(pointer.vector_column, pointer.dim)
        positions, known = match(found.rowids, snapshot.live_rowids)
        if not known.all():
            raise RuntimeError(f"Table {self.host.name!r} changed while it was read. Try again.")
        return found.matrix[positions]

    def _to_change(self) -> Snapshot:
        """A snapshot that a new generation is made of."""
        self.host.require_latest()
        return self.snapshot()

    def _copy(self, snapshot: Snapshot) -> EnergyIndex:
        """The live rows of a snapshot in an index of their own, numbered 0..n−1."""
        from energy_plugin.energy import EnergyIndex

        columns = snapshot.index.columns
        return EnergyIndex.from_columns(snapshot.field, columns, device=self._device)

    def _republish(self, snapshot: Snapshot, index: EnergyIndex) -> None:
        """Store an index of the live rows of a snapshot as the next generation."""
        pointer = snapshot.pointer
        rows = FittedRows(
            version=snapshot.version,
            rowids=snapshot.live_rowids,
            keys=lambda: keys_of(self.live_vectors(snapshot)),
            fingerprints=snapshot.fingerprints[snapshot.index.rows],
            columns=index.columns,
        )
        self._publish(index.field, rows, pointer.layout, pointer.vector_column, pointer)
        self.refresh()  # rows that came in the meantime

    def _mend(self, snapshot: Snapshot) -> None:
        """Write the columns of rows with wrong values anew."""
        from energy_plugin.energy import EnergyColumns, EnergyIndex

        wrong = wrong_rows(self, snapshot)
        index = self._copy(snapshot)
        keep = np.ones(len(index), dtype=bool)
        keep[wrong] = False
        columns = index.columns
        mended = snapshot.index.encode(self.live_vectors(snapshot)[wrong])
        order = np.argsort(np.concatenate([np.flatnonzero(keep), wrong]))
        both = EnergyColumns.concat([columns.take(keep), mended]).take(order)
        self._republish(snapshot, EnergyIndex.from_columns(snapshot.field, both))

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
