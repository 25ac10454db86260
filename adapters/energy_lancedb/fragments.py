"""Columns written fragment by fragment, here or on a Ray cluster, in one commit.

A field is learned from a sample of the rows. Every fragment is then mapped by itself
(`map_fragment`): its vectors become columns, in a data file of its own that no version of the
table knows yet. One commit makes the files of all fragments part of the table. If rows came or
went meanwhile, the commit is made again with the files that still fit and those of the
fragments that are new. A file is bound to its fragment's vectors, so nothing is lost or mixed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from energy_lancedb.columns import RowFormat, scatter
from energy_lancedb.host import ROWID, HostVectors, prints_of, vectors_of
from energy_lancedb.keys import ADDRESS, FRAGMENT_SHIFT, keys_of
from energy_lancedb.layout import FittedRows, match
from energy_lancedb.streaming import streamed
from energy_plugin.energy import EnergyColumns
from energy_plugin.stored.moments import Moment, reached

SAMPLE_ROWS = 1 << 17  # that a field is fitted on at most, unless told otherwise
BATCH_ROWS = 1 << 14


@dataclass(frozen=True, eq=False)
class SampledRows:
    """A field, and the columns of the rows that it was fitted on.

    Parameters
    ----------
    field : bytes
    addresses : ndarray of shape (s,), uint64
        Row addresses of the sample.
    fingerprints : ndarray of shape (s,), uint32
    columns : EnergyColumns
    engine : "local" or "ray"
    device : str, optional
        Of the mapping.
    batch_rows : int
        Rows that are read and mapped at a time.
    block_values : int, optional
        Floats of a temporary block, where the memory is limited.
    """

    field: bytes
    addresses: NDArray[np.uint64]
    fingerprints: NDArray[np.uint32]
    columns: EnergyColumns
    engine: str
    device: str | None = None
    batch_rows: int = BATCH_ROWS
    block_values: int | None = None


@dataclass(frozen=True, eq=False)
class MapJob:
    """What a worker must know to map any fragment of one version of a table."""

    uri: str
    storage_options: dict[str, str] | None
    version: int
    vector_column: str
    form: RowFormat
    suffix: str
    metadata: dict[str, str]
    rows: SampledRows | None = None  # for `map_fragment`
    branch: str | None = None


# -- the sample


def read_sample(dataset: Any, column: str, dim: int, count: int, seed: int) -> HostVectors:
    """Vectors of a random sample of the rows, by row address (in the place of row ids).

    The same seed and the same rows in the same fragments give the same sample.
    """
    total = dataset.count_rows()
    if count >= total:
        scanner = dataset.scanner(columns=[column], with_row_address=True, with_row_id=True)
        table = scanner.to_table().sort_by(ROWID)  # as a fit in this process reads them
        return _by_address(table, column, dim)
    chosen = np.sort(np.random.default_rng(seed).choice(total, count, replace=False))
    start, parts = 0, []
    for fragment in dataset.get_fragments():
        stop = start + fragment.count_rows()
        mine = chosen[(chosen >= start) & (chosen < stop)] - start
        if len(mine):
            offsets = mine.astype(np.uint64)
            if fragment.num_deletions:
                scanner = dataset.scanner(columns=[], fragments=[fragment], with_row_address=True)
                offsets = scanner.to_table()[ADDRESS].to_numpy().astype(np.uint64)[mine]
            addresses = offsets | (np.uint64(fragment.fragment_id) << FRAGMENT_SHIFT)
            found = fragment.take(mine.tolist(), columns=[column])
            parts.append(found.append_column(ADDRESS, pa.array(addresses, pa.uint64())))
        start = stop
    return _by_address(pa.concat_tables(parts), column, dim)


def _by_address(table: pa.Table, column: str, dim: int) -> HostVectors:
    renamed = table.select([column]).append_column(ROWID, table[ADDRESS])
    return vectors_of(renamed, column, dim)


# -- one fragment


_mappers: dict[str, Any] = {}  # the last one used in this process, by its inputs


def _mapper(rows: SampledRows) -> Any:
    from energy_plugin.energy import EnergyField
    from energy_plugin.energy.fit.mapping import RowMapper

    digest = hashlib.sha256(rows.field)
    digest.update(rows.addresses.tobytes() + str(rows.device).encode())
    key = digest.hexdigest()
    if key not in _mappers:
        _mappers.clear()
        field = EnergyField.from_bytes(rows.field)
        _mappers[key] = RowMapper(field, rows.columns, device=rows.device)
    return _mappers[key]


def _opened(job: MapJob) -> Any:
    import lance

    if job.branch is None:
        return lance.dataset(job.uri, version=job.version, storage_options=job.storage_options)
    dataset = lance.dataset(job.uri, storage_options=job.storage_options)
    return dataset.checkout_version((job.branch, job.version))


def map_fragment(job: MapJob, number: int) -> tuple[Any, Any]:
    """Write the columns of one fragment to a data file that is not committed.

    Returns
    -------
    lance.FragmentMetadata
        With the new file as its last.
    lance.schema.LanceSchema
    """
    import lance

    assert job.rows is not None
    dataset = _opened(job)
    schema = pa.schema(job.form.fields(suffix=job.suffix, metadata=job.metadata))

    @lance.batch_udf(output_schema=schema)
    def columns(batch: pa.RecordBatch) -> pa.RecordBatch:
        addresses = batch[ADDRESS].to_numpy().astype(np.uint64)
        return pa.record_batch(_columns(job, batch, addresses), schema=schema)

    fragment: Any = dataset.get_fragment(number)
    if job.rows.block_values is not None:
        # Lance's own reader keeps whole fragments; a handle is borrowed while it writes
        batches = _taken(job, dataset, dataset.get_fragment(number), schema)
        metadata, lance_schema = streamed(fragment.merge_columns, schema, batches)
        return metadata, lance_schema
    metadata, lance_schema = fragment.merge_columns(
        columns, columns=[job.vector_column, ADDRESS], batch_size=job.rows.batch_rows
    )
    return metadata, lance_schema


def _taken(job: MapJob, dataset: Any, fragment: Any, schema: pa.Schema) -> Iterator[Any]:
    """The columns of a fragment, as many rows at a time as the memory allows."""
    from energy_plugin.energy.blocks import blocks_of

    assert job.rows is not None
    scanner = dataset.scanner(columns=[], fragments=[fragment], with_row_address=True)
    addresses = scanner.to_table()[ADDRESS].to_numpy().astype(np.uint64)
    for start in range(0, len(addresses), job.rows.batch_rows):
        mine = addresses[start : start + job.rows.batch_rows]
        places = list(range(start, start + len(mine)))
        found = fragment.take(places, columns=[job.vector_column]).combine_chunks()
        (batch,) = found.to_batches()
        with blocks_of(job.rows.block_values):
            arrays = _columns(job, batch, mine)
        yield pa.record_batch(arrays, schema=schema)


def _columns(job: MapJob, batch: pa.RecordBatch, addresses: NDArray[np.uint64]) -> list[pa.Array]:
    """The four columns of rows by ascending address; null where there is no vector."""
    assert job.rows is not None
    table = pa.table({job.vector_column: batch[job.vector_column], ROWID: pa.array(addresses)})
    found = vectors_of(table, job.vector_column, job.form.dim)
    if len(found.rowids) == 0:
        return [pa.nulls(batch.num_rows, kind) for kind in job.form.types()]
    prints = prints_of(found.matrix)
    arrays = job.form.to_arrow(_mapped(job.rows, found, prints), prints)
    return scatter(arrays, np.searchsorted(addresses, found.rowids), batch.num_rows)


def _mapped(rows: SampledRows, found: HostVectors, prints: NDArray[np.uint32]) -> EnergyColumns:
    """Columns of some vectors by row address: those of the fit, or else mapped."""
    positions, fitted = match(rows.addresses, found.rowids)
    if fitted.any():
        fitted &= rows.fingerprints[positions] == prints
    parts = [rows.columns.take(positions[fitted])]
    if not fitted.all():
        parts.append(_mapper(rows).columns(found.matrix[~fitted]))
    order = np.argsort(np.concatenate([np.flatnonzero(fitted), np.flatnonzero(~fitted)]))
    return EnergyColumns.concat(parts).take(order)


def mapped_rows(dataset: Any, column: str, dim: int, rows: SampledRows, version: int) -> FittedRows:
    """Columns of all rows of a table, by the field and the sample that it was fitted on."""
    numbers, keys, prints, columns = [], [], [], []
    scanner = dataset.scanner(
        columns=[column], with_row_id=True, with_row_address=True, batch_size=rows.batch_rows
    )
    for batch in scanner.to_batches():
        table = pa.Table.from_batches([batch])
        found = _by_address(table, column, dim)
        if len(found.rowids) == 0:
            continue
        positions, _ = match(table[ADDRESS].to_numpy().astype(np.uint64), found.rowids)
        numbers.append(table[ROWID].to_numpy().astype(np.uint64)[positions])
        keys.append(keys_of(found.matrix))
        prints.append(prints_of(found.matrix))
        columns.append(_mapped(rows, found, prints[-1]))
    hashes = np.concatenate(keys)
    return FittedRows(
        version=version,
        rowids=np.concatenate(numbers),
        keys=lambda: hashes,
        fingerprints=np.concatenate(prints),
        columns=EnergyColumns.concat(columns),
    )


# -- all fragments


# From a dataset, a job and numbers of fragments: what `map_fragment` returns of each.
Run = Callable[[Any, MapJob, list[int]], list[tuple[Any, Any]]]


class FragmentColumns:
    """Data files of fragments, kept over attempts to commit them.

    A commit of columns loses against every other commit, also against rows that are only added.
    On a table that is written to all the time it succeeds because an attempt writes no more than
    the files of fragments that are new.

    Parameters
    ----------
    run : callable
        Writes the files of fragments by number.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._files: dict[tuple[Any, ...], Any] = {}
        self._schema: Any = None

    def write(self, dataset: Any, job: MapJob) -> None:
        """Write the files of fragments that have none yet."""
        keys = _keys(dataset, job)
        missing = [number for number, key in keys.items() if key not in self._files]
        self._map(dataset, job, keys, missing)
        if len({tuple(self._files[key].fields) for key in keys.values()}) > 1:
            # columns came and went: fields are renumbered
            self._map(dataset, job, keys, list(keys))

    def commit(self, dataset: Any, job: MapJob) -> None:
        """Commit the columns of every fragment; `write` comes first.

        Raises
        ------
        lance.commit.CommitConflictError
            Another writer was faster: try again with the latest version.
        """
        from lance import LanceDataset, LanceOperation

        keys = _keys(dataset, job)
        if not keys:
            schema = pa.schema(job.form.fields(suffix=job.suffix, metadata=job.metadata))
            reached(Moment.WRITING)
            dataset.add_columns(schema)
            return
        complete = [
            replace(f.metadata, files=[*f.metadata.files, self._files[keys[f.fragment_id]]])
            for f in dataset.get_fragments()
        ]
        operation = LanceOperation.Merge(complete, self._schema)
        reached(Moment.WRITING)
        LanceDataset.commit(dataset, operation, read_version=dataset.version)

    def _map(
        self, dataset: Any, job: MapJob, keys: dict[int, tuple[Any, ...]], numbers: list[int]
    ) -> None:
        for metadata, schema in self._run(dataset, job, numbers) if numbers else ():
            self._files[keys[metadata.id]] = metadata.files[-1]
            self._schema = schema


def _keys(dataset: Any, job: MapJob) -> dict[int, tuple[Any, ...]]:
    """What the file of each fragment is bound to."""
    layout = str(dataset.lance_schema)  # field numbers count from it
    return {
        fragment.fragment_id: (layout, *identity_of(fragment, dataset, job))
        for fragment in dataset.get_fragments()
    }


def identity_of(fragment: Any, dataset: Any, job: MapJob) -> tuple[Any, ...]:
    """What the vectors of a fragment are known by."""
    field = dataset.lance_schema.field(job.vector_column).id()
    files = tuple(item.path for item in fragment.data_files() if field in item.fields)
    return fragment.fragment_id, files, str(getattr(fragment.metadata, "overlays", ""))


def run_here(job: MapJob, numbers: list[int]) -> list[tuple[Any, Any]]:
    """Map fragments one after the other in this process."""
    return [map_fragment(job, number) for number in numbers]
