"""The stored field of a LanceDB table: each change of it is a new generation."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from energy_lancedb.beside import FIELDS, open_or_none
from energy_lancedb.blocks import HostRows, host_bytes, plan_of
from energy_lancedb.building import Builder
from energy_lancedb.claims import Claims
from energy_lancedb.columns import NAMES
from energy_lancedb.companion_layout import CompanionLayout
from energy_lancedb.fragments import SampledRows
from energy_lancedb.host import ROWID, prints_of
from energy_lancedb.keys import keys_of
from energy_lancedb.layout import FittedRows, match
from energy_lancedb.layouts import layout_of
from energy_lancedb.live import LiveTable
from energy_lancedb.pointer import KEY, Pointer, embedder_of, replaced_pointer
from energy_plugin.errors import InvalidInputError
from energy_plugin.stored import Changes, FieldInfo, Finding, Taken
from energy_plugin.stored.info import column_bytes_of, described
from energy_plugin.stored.moments import Moment, reached

if TYPE_CHECKING:
    from energy_lancedb.snapshot import Snapshot
    from energy_plugin.energy import EnergyColumns, EnergyConfig, EnergyField, EnergyIndex

log = logging.getLogger(__name__)


class TableKeeper:
    """See `energy_plugin.stored.Keeper`.

    Parameters
    ----------
    live : LiveTable
    """

    def __init__(self, live: LiveTable) -> None:
        self.live = live
        self.host = live.host
        self.lock: AbstractContextManager[Any] = live.lock

    def field(self) -> EnergyField:
        """See `Keeper.field`."""
        return self.live.opened()[1]

    def writable(self) -> None:
        """Refuse while an older version is checked out."""
        self.host.require_latest()

    def others_go_on(self) -> AbstractContextManager[None]:
        """See `Keeper.others_go_on`."""
        return self.live.others_go_on()

    def take(self, *, fresh: bool = False) -> Taken:
        """See `Keeper.take`; the snapshot is always that of the table's version."""
        from energy_plugin.energy import EnergyIndex

        snapshot, vectors = self.live.snapshot_and_vectors()
        index = EnergyIndex.from_columns(
            snapshot.field, snapshot.index.columns, device=self.live.device
        )
        rowids = snapshot.live_rowids
        return Taken(
            index=index,
            vectors=vectors,
            fingerprints=snapshot.fingerprints[snapshot.index.rows],
            pending=snapshot.pending,
            names=lambda rows: rowids[rows].tolist(),
            origin=(snapshot, rowids),
        )

    # -- publishing

    def publish(self, taken: Taken, index: EnergyIndex, *, show_progress_bar: bool = False) -> None:
        """See `Keeper.publish`; rows that came in the meantime are written too."""
        snapshot, rowids = taken.origin
        assert taken.vectors is not None  # `take` reads them all
        vectors = taken.vectors
        rows = FittedRows(
            version=snapshot.version,
            rowids=rowids,
            keys=lambda: keys_of(vectors),
            fingerprints=taken.fingerprints,
            columns=index.columns,
        )
        pointer = snapshot.pointer
        self.publish_rows(index.field, rows, pointer.layout, pointer.vector_column, pointer)
        self.refresh()

    def publish_rows(
        self,
        field: EnergyField,
        rows: FittedRows | SampledRows,
        layout: str,
        column: str,
        previous: Pointer | None,
    ) -> None:
        """Store a field and the columns of its rows as the next generation."""
        from energy_plugin.energy.codec.codes import stored_bits

        artefacts = self.live.artefacts()
        generation = 1 + max(
            artefacts.last_generation(), previous.generation if previous is not None else 0
        )
        reached(Moment.NUMBERED)
        chunks, sha256 = artefacts.write(generation, field.to_bytes())
        reached(Moment.FIELD_WRITTEN)
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
        place = layout_of(layout, self.host)
        replaced = place.publish(pointer, rows)
        claims = Claims(self.host)
        if replaced is not None and replaced.layout != layout:
            layout_of(replaced.layout, self.host).drop(claims)
        place.drop_outdated(pointer, replaced, claims)
        artefacts.drop_outdated(pointer, replaced, claims)
        self.live.let_go()

    # -- the field of another table

    def owns(self, pointer: Pointer) -> bool:
        """Whether the field is this table's own.

        A copy, and a table that was renamed, has the pointer of the table that it was.
        """
        return pointer.artefacts == self.live.artefacts().name

    def adopt(self) -> None:
        """Copy the field of another table beside this one, which is its owner from then on."""
        pointer = self.live.pointer()
        if self.owns(pointer):
            return
        source, own = self.live.artefacts(pointer.artefacts), self.live.artefacts()
        log.info("table %r takes a copy of the field in %r", self.host.name, source.name)
        own.write(
            pointer.generation, source.read(pointer.generation, pointer.chunks, pointer.sha256)
        )
        mine = replace(pointer, artefacts=own.name)
        layout_of(pointer.layout, self.host).adopt(pointer, mine)
        self.live.renew()

    def refit_within(
        self, config: EnergyConfig | None, memory_limit: int, *, show_progress_bar: bool
    ) -> None:
        """See `Keeper.refit_within`: the vectors are read in blocks."""
        from energy_plugin.energy import EnergyIndex

        snapshot = self.live.snapshot()
        if len(snapshot) == 0:
            raise InvalidInputError(
                f"Table {self.host.name!r} has no rows to fit a field on. Add rows first."
            )
        pointer, live = snapshot.pointer, snapshot.live_rowids
        order = np.argsort(live)
        rowids, prints = live[order], snapshot.fingerprints[snapshot.index.rows][order]
        source = HostRows(self.host, pointer.vector_column, pointer.dim, rowids)
        settings = snapshot.field.config if config is None else config
        size = (pointer.layout, *source.shape, settings)
        plan_of(memory_limit, *size)  # raises where the limit is too small
        columns = snapshot.index.columns.take(order)
        index = EnergyIndex.from_columns(snapshot.field, columns, device=self.live.device).refit(
            source, settings, memory_limit=memory_limit - host_bytes(*size)
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
        self.publish_rows(index.field, rows, pointer.layout, pointer.vector_column, pointer)

    # -- rows that are behind

    def refresh(self, *, show_progress_bar: bool = False) -> Changes:
        """See `Keeper.refresh`: one commit."""
        snapshot = self.live.snapshot()
        if snapshot.pending and not self.owns(snapshot.pointer):
            self.adopt()
            snapshot = self.live.snapshot()

        def encode(rowids: NDArray[np.uint64], vectors: NDArray[np.float32]) -> EnergyColumns:
            rows, same = snapshot.find_same(rowids, prints_of(vectors))
            return snapshot.columns_of(rows) if same.all() else snapshot.index.encode(vectors)

        changes = layout_of(snapshot.pointer.layout, self.host).catch_up(snapshot.pointer, encode)
        if changes:
            self.live.renew()
        return changes

    def times(self, taken: Taken, key: str) -> Sequence[Any]:
        """See `Keeper.times`: the values of a column."""
        if key not in self.host.schema.names:
            raise InvalidInputError(
                f"Table {self.host.name!r} has no column {key!r}; its columns are "
                f"{self.host.schema.names}. Name the one with the time of each row."
            )
        found = self.host.scan([key])
        positions, _ = match(found[ROWID].to_numpy(), taken.origin[1])
        times = found[key].combine_chunks().take(pa.array(positions))
        timed = pa.types.is_timestamp(times.type) or pa.types.is_date(times.type)
        values: Any = times.to_numpy(zero_copy_only=False) if timed else times.to_pylist()
        return values

    # -- λ

    def in_lambda(self, low: float, high: float) -> tuple[list[int], Any]:
        """See `Keeper.in_lambda`; by the column where the table has it."""
        snapshot = self.live.snapshot()
        if snapshot.pointer.layout == "columns":
            name = NAMES[0]
            found = self.host.scan([name], [f"{name} >= {low!r} AND {name} <= {high!r}"])
            return found[ROWID].to_pylist(), found[name].to_numpy()
        lambdas = snapshot.index.columns.lambda_
        inside = (lambdas >= low) & (lambdas <= high)
        return snapshot.live_rowids[inside].tolist(), lambdas[inside]

    def lambda_of(self, row: Any) -> float | None:
        """See `Keeper.lambda_of`."""
        snapshot = self.live.snapshot()
        if not isinstance(row, int):
            return None
        lambdas = snapshot.index.columns.lambda_[snapshot.live_rowids == row]
        return float(lambdas[0]) if len(lambdas) else None

    # -- health

    def findings(self, taken: Taken) -> Iterator[Finding]:
        """See `Keeper.findings`."""
        pointer = taken.origin[0].pointer
        if not self.live.artefacts(pointer.artefacts).has(pointer):
            message = (
                f"The field of generation {pointer.generation} stands only in an older version of "
                f"{pointer.artefacts!r}, which a cleaning removes."
            )
            yield Finding("history", message, "repair()")
        if not self.owns(pointer) and self._is_table(pointer.artefacts.removesuffix(FIELDS)):
            message = (
                f"Table {self.host.name!r} reads the field in {pointer.artefacts!r}, which belongs "
                "to the table that it is a copy of."
            )
            yield Finding("borrowed", message, "repair() copies it, build() makes another")
        for message in layout_of(pointer.layout, self.host).leftovers():
            yield Finding("leftover", message, "repair()")

    def mend(self, findings: Sequence[Finding]) -> None:
        """See `Keeper.mend`."""
        kinds = {finding.kind for finding in findings}
        pointer = self.live.pointer()
        if "borrowed" in kinds:
            self.adopt()
        elif "history" in kinds:
            self.live.artefacts(pointer.artefacts).revive(pointer)
        if "leftover" in kinds:
            layout_of(pointer.layout, self.host).tidy()

    def rebuild(self, *, show_progress_bar: bool = False) -> None:
        """See `Keeper.rebuild`."""
        previous = replaced_pointer(self.host.schema)
        Builder(self).build(
            _config_of(previous),
            layout=previous.layout if previous else "auto",
            show_progress_bar=show_progress_bar,
        )

    def info(self) -> FieldInfo:
        """See `Keeper.info`."""
        snapshot = self.live.snapshot()
        return _info_of(self.host.name, snapshot)

    def drop(self, *, show_progress_bar: bool = False) -> None:
        """See `Keeper.drop`."""
        self.host.latest()
        previous = replaced_pointer(self.host.schema)
        claims = Claims(self.host)
        for layout in ("columns", "companion") if self.host.key == KEY else ("companion",):
            layout_of(layout, self.host).drop(claims)
        self.live.artefacts().drop(claims)
        if previous is not None and not self.owns(previous):
            self._drop_orphan(previous.artefacts, claims)
        self.live.let_go()

    def _is_table(self, name: str) -> bool:
        return open_or_none(self.host.connection, name, self.host.namespace) is not None

    def _drop_orphan(self, fields: str, claims: Claims) -> None:
        """Drop the tables of a former name, unless a table has that name or points to them."""
        if not self._is_table(fields.removesuffix(FIELDS)):
            CompanionLayout(self.host).drop_rows(fields, claims)
            self.live.artefacts(fields).drop(claims)


def _info_of(name: str, snapshot: Snapshot) -> FieldInfo:
    pointer = snapshot.pointer
    known = described(snapshot.index)
    return FieldInfo(
        **known,
        name=name,
        generation=pointer.generation,
        version=snapshot.version,
        layout=pointer.layout,
        embedder=pointer.embedder,
        field_bytes=len(snapshot.field.to_bytes()),
        column_bytes=column_bytes_of(known),
        pending=snapshot.pending,
        without_vector=snapshot.without_vector,
        vector_column=pointer.vector_column,
    )


def _config_of(pointer: Pointer | None) -> EnergyConfig | None:
    """The configuration in a pointer, or None where it cannot be read."""
    from energy_plugin.energy import EnergyConfig

    try:
        return None if pointer is None else EnergyConfig.from_dict(pointer.config)
    except InvalidInputError:
        return None
