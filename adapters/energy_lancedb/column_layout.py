"""Energy columns inside the user's table, written through pylance.

A generation appears in three commits: the new columns are added under the suffix ``__next``,
one renaming puts them in the place of the old ones (the pointer is their metadata, so it flips
in the same commit), the old ones are dropped. Whatever breaks off in between leaves columns and
pointer of one generation.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from energy_lancedb.claims import Claims
from energy_lancedb.cluster import run_on_ray
from energy_lancedb.columns import NAMES, OWN
from energy_lancedb.fragments import (
    FragmentColumns,
    MapJob,
    SampledRows,
    run_here,
)
from energy_lancedb.host import (
    ATTEMPTS,
    ROWID,
    Host,
    HostVectors,
    prints_of,
    vectors_of,
)
from energy_lancedb.keys import ADDRESS, FRAGMENT_SHIFT, file_of
from energy_lancedb.layout import Encode, FittedRows, LoadedRows, match
from energy_lancedb.placing import Placing
from energy_lancedb.pointer import KEY, Pointer, pointer_of, replaced_pointer
from energy_lancedb.rewriting import update_of, values_of
from energy_plugin.errors import CorruptFieldError, InvalidInputError
from energy_plugin.stored import Changes
from energy_plugin.stored.moments import Moment, reached

NEXT, OLD = "__next", "__old"
PASSES = 5  # that write new fragments before a commit is tried

log = logging.getLogger(__name__)


class _LostRaceError(Exception):
    """Another writer was faster, which Lance would report as a user's mistake."""


class ColumnLayout:
    """The four columns as columns of the host table.

    Parameters
    ----------
    host : Host
    """

    def __init__(self, host: Host) -> None:
        self.host = host

    # -- writing a generation

    def publish(self, pointer: Pointer, rows: FittedRows | SampledRows) -> Pointer | None:
        """Write a new generation and make it the current one; returns the one it replaced."""
        replaced = None
        self._refuse_foreign_columns()
        if isinstance(rows, SampledRows):
            run = run_on_ray if rows.engine == "ray" else run_here
            columns = FragmentColumns(lambda _, job, numbers: run(job, numbers))
        else:
            arrays = pointer.format.to_arrow(rows.columns, rows.fingerprints)
            columns = FragmentColumns(Placing(rows, arrays))
        for attempt in range(ATTEMPTS):
            self._add_next(pointer, rows, columns)
            reached(Moment.COLUMNS_WRITTEN)
            try:
                replaced = self._swap()
                break
            except ValueError:  # another build has cleared the new columns away
                if attempt + 1 == ATTEMPTS or self._has_next():
                    raise
        reached(Moment.FLIPPED)
        self._drop_suffixed()
        reached(Moment.SWEPT)
        self._index_cells()
        reached(Moment.INDEXED)
        return replaced

    def _has_next(self) -> bool:
        self.host.latest()
        return NAMES[3] + NEXT in self.host.schema.names

    def own_columns(self) -> list[str]:
        """The energy columns in the table, unless they are a user's own."""
        schema = self.host.schema
        present = [name for name in NAMES if name in schema.names]
        marks = {key for name in present for key in schema.field(name).metadata or {}}
        return present if marks & {OWN.encode(), KEY.encode()} else []

    def _refuse_foreign_columns(self) -> None:
        present = [name for name in NAMES if name in self.host.schema.names]
        if present and not self.own_columns():
            raise InvalidInputError(
                f"Table {self.host.name!r} has columns {present} that this plugin did not write. "
                "Rename or drop them, or store the energy columns in a companion table with "
                "build(layout='companion')."
            )

    def _add_next(
        self, pointer: Pointer, rows: FittedRows | SampledRows, columns: FragmentColumns
    ) -> None:
        """Add the new columns, in one commit for all fragments."""

        def add() -> None:
            self.host.latest()
            self._drop_suffixed()
            for _ in range(PASSES):
                dataset, job = self._job(pointer, rows)
                if NAMES[0] + NEXT in dataset.schema.names:
                    raise _LostRaceError("conflict: another build has just added its columns")
                columns.write(dataset, job)
                if self.host.latest() == job.version:
                    break  # else a commit would be in vain: write what is new
            columns.commit(dataset, job)
            self._describe_next(job.metadata)

        self._retry(add)

    def _job(self, pointer: Pointer, rows: FittedRows | SampledRows) -> tuple[Any, MapJob]:
        """The dataset at the current version, and what to write to it."""
        self.host.latest()
        dataset = self.host.dataset()
        reached(Moment.AT_VERSION)
        files = _vector_files(dataset, pointer)
        return dataset, MapJob(
            uri=dataset.uri,
            storage_options=self.host.connection.storage_options,
            version=dataset.version,
            vector_column=pointer.vector_column,
            form=pointer.format,
            suffix=NEXT,
            metadata={KEY: replace(pointer, files=files).to_json()},
            rows=rows if isinstance(rows, SampledRows) else None,
            branch=self.host.branch,
        )

    def _describe_next(self, metadata: dict[str, str]) -> None:
        """Give the new columns the pointer of this commit; files may be from an earlier try."""
        self.host.latest()
        stored = self.host.schema.field(NAMES[3] + NEXT).metadata or {}
        if stored.get(KEY.encode()) != metadata[KEY].encode():
            reached(Moment.WRITING)
            self.host.table.update_field_metadata(
                {"path": NAMES[3] + NEXT, "metadata": {KEY: metadata[KEY]}}
            )

    def _swap(self) -> Pointer | None:
        replaced = None

        def swap() -> None:
            nonlocal replaced
            self.host.latest()
            replaced = replaced_pointer(self.host.schema)
            present = self.host.schema.names
            away = [{"path": n, "rename": n + OLD} for n in NAMES if n in present]
            place = [{"path": n + NEXT, "rename": n} for n in NAMES]
            reached(Moment.WRITING)
            self.host.table.alter_columns(*away, *place)

        self._retry(swap)
        return replaced

    def _drop_suffixed(self) -> None:
        def drop() -> None:
            self.host.latest()
            present = self.host.schema.names
            leftover = [n + tail for tail in (NEXT, OLD) for n in NAMES if n + tail in present]
            if leftover:
                reached(Moment.WRITING)
                self.host.table.drop_columns(leftover)

        self._retry(drop)

    def _index_cells(self) -> None:
        from lancedb.index import Bitmap

        self.host.latest()
        try:
            reached(Moment.WRITING)
            self.host.table.create_index(NAMES[2], config=Bitmap(), replace=True)
        except Exception as error:  # the index only speeds up users' own filters
            log.warning("energy_cell of table %r has no index: %s", self.host.name, error)

    def _retry(self, commit: Callable[[], None]) -> None:
        self.host.insist(commit)
        self.host.latest()

    # -- reading

    def load(self, pointer: Pointer) -> LoadedRows:
        """Read the current generation at the current version.

        Raises
        ------
        CorruptFieldError
            A column was dropped, or has another type.
        """
        missing = [name for name in NAMES if name not in self.host.schema.names]
        if missing:
            raise CorruptFieldError(
                f"Table {self.host.name!r} has lost the energy columns {missing}. "
                "Write a new field with EnergyTable(table).build()."
            )
        dataset = self.host.dataset()
        table = dataset.scanner(
            columns=list(NAMES), with_row_id=True, with_row_address=True
        ).to_table()
        rowids = table[ROWID].to_numpy().astype(np.uint64)
        written = np.ones(len(table), dtype=bool)
        for name in NAMES:
            written &= table[name].is_valid().to_numpy()
        fragments = (table[ADDRESS].to_numpy().astype(np.uint64) >> FRAGMENT_SHIFT).astype(np.int64)
        verified = np.isin(fragments, _fragments_with(dataset, pointer, set(pointer.files)))

        vectors = self._vectors_to_check(dataset, pointer, fragments, written, verified)
        some = table if written.all() else table.filter(pa.array(written))
        columns, prints = pointer.format.from_arrow(some)
        mine = rowids[written]
        fresh = np.isin(mine, vectors.without, invert=True)
        stale = np.ones(len(vectors.rowids), dtype=bool)
        known = np.zeros(len(vectors.rowids), dtype=bool)
        if len(vectors.rowids):
            positions, known = match(mine, vectors.rowids)
            right = known.copy()
            right[known] = prints[positions[known]] == prints_of(vectors.matrix[known])
            fresh[positions[known & ~right]] = False
            stale = ~right
        return LoadedRows(
            rowids=mine[fresh],
            columns=columns if fresh.all() else columns.take(fresh),
            fingerprints=prints[fresh],
            stale=vectors.rowids[stale],
            stale_vectors=vectors.matrix[stale],
            changed=known[stale],
            emptied=mine[~fresh & np.isin(mine, vectors.without)],
            without_vector=len(rowids) - int(fresh.sum()) - int(stale.sum()),
        )

    def _vectors_to_check(
        self,
        dataset: Any,
        pointer: Pointer,
        fragments: NDArray[np.int64],
        written: NDArray[np.bool_],
        verified: NDArray[np.bool_],
    ) -> HostVectors:
        """Vectors of changed fragments, and of rows without values in the others."""
        column, dim = pointer.vector_column, pointer.dim
        parts = []
        changed = np.unique(fragments[~verified])
        empty = np.unique(fragments[verified & ~written])
        lacking = " OR ".join(f"{name} IS NULL" for name in NAMES)
        for numbers, where in ((changed, None), (empty, lacking)):
            if len(numbers):
                chosen = [dataset.get_fragment(int(number)) for number in numbers]
                scanner = dataset.scanner(
                    columns=[column], fragments=chosen, filter=where, with_row_id=True
                )
                parts.append(scanner.to_table().select([column, ROWID]))
        if not parts:
            nothing = np.empty(0, dtype=np.uint64)
            return HostVectors(nothing, np.empty((0, dim), dtype=np.float32), nothing)
        return vectors_of(pa.concat_tables(parts), column, dim)

    # -- catching up

    def catch_up(self, pointer: Pointer, encode: Encode) -> Changes:
        """Write the columns of rows that are behind in place, in one commit; returns which."""
        import lance

        changes = Changes()

        def write() -> None:
            nonlocal changes
            self.host.latest()
            current = pointer_of(self.host.schema)
            if current is None or not current.same_field(pointer):
                return  # another process has just built, and refreshes its own field
            dataset = self.host.dataset()
            loaded = self.load(current)
            changes = loaded.pending
            if changes:
                operation = update_of(dataset, values_of(pointer, loaded, encode))
                reached(Moment.WRITING)
                lance.LanceDataset.commit(dataset, operation, read_version=dataset.version)
            self._verify(dataset, pointer)

        self._retry(write)
        return changes

    def _verify(self, dataset: Any, pointer: Pointer) -> None:
        """Note in the pointer that all vector files of `dataset` agree with the columns."""
        files = _vector_files(dataset, pointer)
        self.host.latest()
        current = pointer_of(self.host.schema)
        if current is None or not current.same_field(pointer) or set(files) == set(current.files):
            return
        text = replace(current, files=files).to_json()
        reached(Moment.WRITING)
        self.host.table.update_field_metadata({"path": NAMES[3], "metadata": {KEY: text}})

    def tidy(self) -> None:
        """Remove columns of broken-off builds, and index the cells."""
        self._drop_suffixed()
        self._index_cells()

    def leftovers(self) -> list[str]:
        """What `tidy` would do, in words."""
        names = self.host.schema.names
        found = [n + tail for tail in (NEXT, OLD) for n in NAMES if n + tail in names]
        remarks = [f"columns {found} of a build that broke off"] if found else []
        indexed = [index for index in self.host.table.list_indices() if index.columns == [NAMES[2]]]
        if not indexed:
            remarks.append(f"{NAMES[2]} has no index, which filters on it would use")
        return remarks

    def drop_outdated(self, current: Pointer, replaced: Pointer | None, claims: Claims) -> None:
        """Nothing stands beside the host table."""

    def adopt(self, pointer: Pointer, own: Pointer) -> None:
        """Point to the copy of the field; the columns are the table's own."""

        def flip() -> None:
            self.host.latest()
            current = pointer_of(self.host.schema)
            if current is not None and current.same_field(pointer):
                text = replace(current, artefacts=own.artefacts).to_json()
                self.host.table.update_field_metadata({"path": NAMES[3], "metadata": {KEY: text}})

        self._retry(flip)

    def clean(self, pointer: Pointer, older_than: timedelta | None) -> None:
        """Nothing stands beside the host table."""

    def revive(self, pointer: Pointer) -> None:
        """The columns came back with the host table's version."""

    def drop(self, claims: Claims) -> None:
        """Remove the columns, and with them the pointer."""
        self._drop_suffixed()

        def drop() -> None:
            self.host.latest()
            present = self.own_columns()
            if present:
                reached(Moment.WRITING)
                self.host.table.drop_columns(present)

        self._retry(drop)


def _vector_files(dataset: Any, pointer: Pointer) -> tuple[str, ...]:
    field = dataset.lance_schema.field(pointer.vector_column).id()
    names = {file_of(fragment, field) for fragment in dataset.get_fragments()}
    return tuple(sorted(names - {""}))


def _fragments_with(dataset: Any, pointer: Pointer, files: set[str]) -> list[int]:
    """Numbers of the fragments whose vectors are in one of these files."""
    field = dataset.lance_schema.field(pointer.vector_column).id()
    return [f.fragment_id for f in dataset.get_fragments() if file_of(f, field) in files]
