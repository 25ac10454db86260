"""Columns of fitted rows as data files of the fragments that hold the rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from energy_lancedb.fragments import BATCH_ROWS, MapJob, identity_of
from energy_lancedb.host import ROWID, prints_of, vectors_of
from energy_lancedb.layout import FittedRows
from energy_lancedb.snapshot import Lookup


class Placing:
    """Writes data files that no version of the table knows yet; see `FragmentColumns`.

    Parameters
    ----------
    rows : FittedRows
    arrays : list of pyarrow.Array
        Their four columns.
    """

    def __init__(self, rows: FittedRows, arrays: list[pa.Array]) -> None:
        self._rows = rows
        self._arrays = arrays
        self._lookup = Lookup(rows.rowids)

    def __call__(self, dataset: Any, job: MapJob, numbers: list[int]) -> list[tuple[Any, Any]]:
        """Metadata of each fragment with the new file as its last, and the schema."""
        schema = pa.schema(job.form.fields(suffix=job.suffix, metadata=job.metadata))
        version = self._rows.version
        then = dataset if dataset.version == version else dataset.checkout_version(version)
        read = {identity_of(fragment, then, job) for fragment in then.get_fragments()}
        placed = []
        for number in numbers:
            fragment = dataset.get_fragment(number)
            same = identity_of(fragment, dataset, job) in read
            columns = [] if same else [job.vector_column]
            rows = dataset.scanner(columns=columns, fragments=[fragment], with_row_id=True)
            positions, known = self._positions(rows.to_table(), job, same)
            picks = pa.array(positions, mask=~known)
            full = pa.table([array.take(picks) for array in self._arrays], schema=schema)
            batches = full.to_batches(max_chunksize=BATCH_ROWS)
            placed.append(
                fragment.merge_columns(pa.RecordBatchReader.from_batches(schema, batches))
            )
        return placed

    def _positions(
        self, table: pa.Table, job: MapJob, same: bool
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """The fitted row of each row, and whether there is one with its vector."""
        rowids = table[ROWID].to_numpy().astype(np.uint64)
        positions, known = self._lookup.find(rowids)
        if not same:
            now = vectors_of(table, job.vector_column, job.form.dim)
            whole = np.isin(rowids, now.rowids)
            known &= whole
            known[whole] &= self._rows.fingerprints[positions[whole]] == prints_of(now.matrix)
        return positions, known
