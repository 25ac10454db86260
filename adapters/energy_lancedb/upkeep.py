"""Upkeep of a stored field: each change is a new generation."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from energy_lancedb.blocks import HostRows, host_bytes, plan_of
from energy_lancedb.companion_layout import keys_of
from energy_lancedb.fragments import SampledRows
from energy_lancedb.host import ATTEMPTS, ROWID
from energy_lancedb.layout import FittedRows, layout_of, match
from energy_lancedb.pointer import Pointer, embedder_of
from energy_lancedb.writer import EnergyWriter
from energy_plugin.energy.config import as_config
from energy_plugin.errors import InvalidInputError
from energy_plugin.validation import as_memory_limit

if TYPE_CHECKING:
    from typing_extensions import Self

    from energy_lancedb.snapshot import Snapshot
    from energy_plugin.energy import EnergyConfig, EnergyField, EnergyIndex, Maintenance
    from energy_plugin.forgetting import ForgettingPlan, Schedule


class EnergyUpkeep(EnergyWriter):
    """What makes a new generation of a field that stands."""

    def refit(
        self, config: EnergyConfig | None = None, *, memory_limit: int | str | None = None
    ) -> Self:
        """Fit a new field to the present vectors, as a new generation; see `info().drift`.

        As `build`, with the configuration of the present field; rows that have lost bit planes
        do not get them back.

        Parameters
        ----------
        config : EnergyConfig, optional
            That of the present field if not given.
        memory_limit : int or str, optional
            Bytes, or ``"2 GB"``, that the fit may take beyond the field in memory; the vectors
            are then read a block at a time. Rows that come meanwhile wait for `refresh`.

        Raises
        ------
        InvalidInputError
            The limit is too small.
        """
        limit = as_memory_limit(memory_limit)
        with self.lock:
            self.host.require_latest()
            if limit is not None:
                self._refit_in_passes(self.snapshot(), config, limit)
                return self
            snapshot, vectors = self.snapshot_and_vectors()
            if len(snapshot):
                index, rows = self._taken(snapshot, vectors)
                with self.others_go_on():
                    index = index.refit(vectors, config)
                self._republish(snapshot.pointer, index, rows)
        return self

    def maintain(self) -> Maintenance:
        """Split overloaded cells and merge close ones, as a new generation if that changes any.

        Returns
        -------
        energy_plugin.energy.Maintenance
            What was done, and the drift before and after.
        """
        with self.lock:
            self.host.require_latest()
            snapshot, vectors = self.snapshot_and_vectors()
            index, rows = self._taken(snapshot, vectors)
            with self.others_go_on():
                report = index.maintain(vectors if len(vectors) else None)
            if index.field is not snapshot.field:
                self._republish(snapshot.pointer, index, rows)
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
        from energy_plugin.energy.codec.codes import stored_bits
        from energy_plugin.forgetting import Schedule, ages_in_days

        with self.lock:
            self.host.require_latest()
            snapshot, vectors = self.snapshot_and_vectors()
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
                index, fitted = self._taken(snapshot, vectors)
                for few, rows in plan.by_bits.items():
                    index.lower(rows, few)
                self._republish(snapshot.pointer, index, fitted)
        return plan

    def live_vectors(self, snapshot: Snapshot) -> NDArray[np.float32]:
        """The table's vectors of the live rows of a snapshot, in the order of `index.rows`.

        Raises
        ------
        RuntimeError
            The table has changed since.
        """
        vectors = self._vectors_of(snapshot)
        if vectors is None:
            raise RuntimeError(f"Table {self.host.name!r} changed while it was read. Try again.")
        return vectors

    def snapshot_and_vectors(self) -> tuple[Snapshot, NDArray[np.float32]]:
        """A snapshot and its `live_vectors`, of one version of the table.

        Raises
        ------
        RuntimeError
            Others change the table faster than it can be read.
        """
        for _ in range(ATTEMPTS):
            snapshot = self.snapshot()
            vectors = self._vectors_of(snapshot)
            if vectors is not None:  # else another thread has deleted rows by the same handle
                return snapshot, vectors
        raise RuntimeError(
            f"Table {self.host.name!r} changed {ATTEMPTS} times while it was read. Try again."
        )

    def _vectors_of(self, snapshot: Snapshot) -> NDArray[np.float32] | None:
        pointer = snapshot.pointer
        found = self.host.vectors(pointer.vector_column, pointer.dim)
        positions, known = match(found.rowids, snapshot.live_rowids)
        same = known.all() and int(self.host.table.version) == snapshot.version
        return found.matrix[positions] if same else None

    @contextmanager
    def others_go_on(self) -> Iterator[None]:
        """Let other threads search and write, under the lock, while this one computes.

        What is computed must not share anything that they change.

        Raises
        ------
        InvalidInputError
            One has checked out an older version meanwhile.
        """
        self.lock.release()
        try:
            yield
        finally:
            self.lock.acquire()
        self.host.require_latest()

    def _taken(
        self, snapshot: Snapshot, vectors: NDArray[np.float32]
    ) -> tuple[EnergyIndex, FittedRows]:
        """The live rows of a snapshot, apart from it.

        Returns
        -------
        index : EnergyIndex
            Numbered 0..n−1.
        rows : FittedRows
            What to publish it with.
        """
        from energy_plugin.energy import EnergyIndex

        columns = snapshot.index.columns
        rows = FittedRows(
            version=snapshot.version,
            rowids=snapshot.live_rowids,
            keys=lambda: keys_of(vectors),
            fingerprints=snapshot.fingerprints[snapshot.index.rows],
            columns=columns,
        )
        return EnergyIndex.from_columns(snapshot.field, columns, device=self._device), rows

    def _republish(self, pointer: Pointer, index: EnergyIndex, rows: FittedRows) -> None:
        """Store an index of `_taken` rows as the next generation."""
        rows = replace(rows, columns=index.columns)
        self._publish(index.field, rows, pointer.layout, pointer.vector_column, pointer)
        self.refresh()  # rows that came in the meantime

    def _refit_in_passes(self, snapshot: Snapshot, config: EnergyConfig | None, limit: int) -> None:
        """Fit and store anew the live rows of a snapshot, whose vectors are read in blocks."""
        from energy_plugin.energy import EnergyIndex

        if len(snapshot) == 0:
            return
        pointer, live = snapshot.pointer, snapshot.live_rowids
        order = np.argsort(live)
        rowids, prints = live[order], snapshot.fingerprints[snapshot.index.rows][order]
        source = HostRows(self.host, pointer.vector_column, pointer.dim, rowids)
        settings = snapshot.field.config if config is None else as_config(config)
        size = (pointer.layout, *source.shape, settings)
        plan_of(limit, *size)  # raises where the limit is too small
        columns = snapshot.index.columns.take(order)
        index = EnergyIndex.from_columns(snapshot.field, columns, device=self._device).refit(
            source, settings, memory_limit=limit - host_bytes(*size)
        )
        columns, keys = index.columns, np.empty(0, dtype=np.uint64)
        if pointer.layout == "companion":
            now, keys = source.numbers()
            same = now == prints  # columns must not go under the key of a later vector
            rowids, prints, columns, keys = (
                rowids[same],
                prints[same],
                columns.take(same),
                keys[same],
            )
        rows = FittedRows(
            version=snapshot.version,
            rowids=rowids,
            keys=lambda: keys,
            fingerprints=prints,
            columns=columns,
        )
        self._publish(index.field, rows, pointer.layout, pointer.vector_column, pointer)

    def _publish(
        self,
        field: EnergyField,
        rows: FittedRows | SampledRows,
        layout: str,
        column: str,
        previous: Pointer | None,
    ) -> None:
        from energy_plugin.energy.codec.codes import stored_bits

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
