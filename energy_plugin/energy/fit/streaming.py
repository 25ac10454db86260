"""A fit under a memory limit: vectors are read twice, and never held all at once.

The first pass takes a sample, which the field is fitted on; the second gives every row its
columns, those of the sample from the fit and the others from `mapping`, as a table of many
fragments gets them. A collection that fits under the limit is fitted as without one.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from energy_plugin.energy.blocks import blocks_of
from energy_plugin.energy.codec.codes import code_bytes
from energy_plugin.energy.columns import EnergyColumns
from energy_plugin.energy.config import EnergyConfig
from energy_plugin.energy.field import EnergyField
from energy_plugin.energy.fit import budget
from energy_plugin.energy.fit.build import fit_field
from energy_plugin.energy.fit.mapping import RowMapper, sample_config
from energy_plugin.energy.upkeep.fingerprint import fingerprint
from energy_plugin.errors import InvalidInputError
from energy_plugin.neutral import neutral
from energy_plugin.threads import threads_for
from energy_plugin.validation import as_memory_limit, as_vectors

FIT_STEPS = 7
PASSES = 2

Read = Callable[[int], Iterable[NDArray[np.float32]]]
"""Gives all vectors from the first on, (b, d) at a time, with at most this many rows."""


@neutral()
def fit(
    vectors: Any,
    config: EnergyConfig,
    *,
    dim: int | None = None,
    device: str | None = None,
    show_progress_bar: bool = False,
    memory_limit: int | str | None = None,
) -> tuple[EnergyField, EnergyColumns]:
    """Field and columns of vectors; see `EnergyIndex.fit` for the parameters.

    Under a limit `vectors` may be anything with a shape that gives rows for a slice.
    """
    limit = as_memory_limit(memory_limit)
    if limit is None:
        return _fit_whole(as_vectors(vectors, dim=dim), config, device, show_progress_bar)
    if len(getattr(vectors, "shape", ())) != 2 or 0 in vectors.shape:
        vectors = as_vectors(vectors, dim=dim)
    rows, width = (int(size) for size in vectors.shape)
    plan = budget.plan(rows, width, config, limit)
    if plan.sample == rows:
        whole = as_vectors(vectors[:], dim=dim)
        with blocks_of(plan.block_values):
            return _fit_whole(whole, config, device, show_progress_bar)
    return fit_in_passes(
        slices(vectors, dim),
        plan,
        rows,
        config,
        device=device,
        show_progress_bar=show_progress_bar,
    )


def slices(source: Any, dim: int | None = None) -> Read:
    """Reads rows of an array, a memory-mapped file or a data set, checked block by block."""

    def read(rows: int) -> Iterator[NDArray[np.float32]]:
        for start in range(0, len(source), rows):
            stop = min(len(source), start + rows)
            yield as_vectors(source[start:stop], dim=dim, name=f"vectors[{start}:{stop}]")
            _give_back(source)

    return read


@neutral()
def fit_in_passes(
    read: Read,
    plan: budget.Plan,
    total: int,
    config: EnergyConfig,
    *,
    device: str | None = None,
    show_progress_bar: bool = False,
) -> tuple[EnergyField, EnergyColumns]:
    """Field and columns of vectors that are read twice.

    Parameters
    ----------
    read : callable
        Called once for each pass. Rows may come and go between them: a row of the sample is
        known by place and fingerprint, and every row that the second pass reads has columns.
    plan : budget.Plan
    total : int
        Rows expected.
    config : EnergyConfig
    device : str, optional
    show_progress_bar : bool, default False

    Returns
    -------
    field : EnergyField
    columns : EnergyColumns
        In the order of the rows of the second pass.

    Raises
    ------
    InvalidInputError
        There are no rows.
    """
    from tqdm.auto import tqdm

    chosen = np.random.default_rng(config.seed).choice(total, plan.sample, replace=False)
    chosen.sort()
    with (
        blocks_of(plan.block_values),
        tqdm(total=FIT_STEPS + PASSES, desc="energy field", disable=not show_progress_bar) as bar,
    ):

        def step(name: str) -> None:
            bar.set_postfix_str(name)
            bar.update()

        step("sample")
        rows = _sample(read, plan, chosen)
        prints = fingerprint(rows)
        settings = sample_config(config, total, len(rows))
        field, sample = fit_field(rows, settings, device=device, progress=step)
        del rows
        budget.give_back()
        step("columns")
        mapper = RowMapper(field, sample, device=device)
        out = _Rows(total, code_bytes(field.dim, config.bits))
        for mine, place, block in _placed(read(plan.block_rows), chosen):
            columns = mapper.columns(block)
            known = place[place < len(prints)]
            same = fingerprint(block)[mine[: len(known)]] == prints[known]
            out.append(columns, mine[: len(known)][same], sample, known[same])
    budget.give_back()
    return field, out.columns()


def _placed(
    blocks: Iterable[NDArray[np.float32]], chosen: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]]:
    """Blocks, with the offsets of their chosen rows and those rows' places in `chosen`."""
    start = 0
    for block in blocks:
        stop = start + len(block)
        first, last = np.searchsorted(chosen, [start, stop])
        yield chosen[first:last] - start, np.arange(first, last), block
        start = stop


def _sample(read: Read, plan: budget.Plan, chosen: NDArray[np.int64]) -> NDArray[np.float32]:
    """The chosen rows, as far as there are that many."""
    rows = None
    filled = 0
    for mine, place, block in _placed(read(plan.block_rows), chosen):
        if rows is None:
            rows = np.empty((len(chosen), block.shape[1]), dtype=np.float32)
        rows[place] = block[mine]
        filled += len(mine)
    if rows is None or filled == 0:
        raise InvalidInputError("There are no rows to fit a field on. Add rows first.")
    return rows[:filled]


class _Rows:
    """Columns of rows that come block by block, in arrays that are made once."""

    def __init__(self, rows: int, width: int) -> None:
        self._lambda = np.empty(rows, dtype=np.float32)
        self._dispersion = np.empty(rows, dtype=np.float32)
        self._cell = np.empty(rows, dtype=np.int32)
        self._residual = np.empty((rows, width), dtype=np.uint8)
        self._filled = 0

    def append(
        self,
        columns: EnergyColumns,
        places: NDArray[np.int64],
        fitted: EnergyColumns,
        of: NDArray[np.int64],
    ) -> None:
        """Take a block; the rows at `places` have the columns `of` the fitted rows."""
        start, stop = self._filled, self._filled + len(columns)
        if stop > len(self._cell):  # more rows than were counted
            more = stop - len(self._cell)
            self._lambda = np.concatenate([self._lambda, np.empty(more, np.float32)])
            self._dispersion = np.concatenate([self._dispersion, np.empty(more, np.float32)])
            self._cell = np.concatenate([self._cell, np.empty(more, np.int32)])
            width = self._residual.shape[1]
            self._residual = np.concatenate([self._residual, np.empty((more, width), np.uint8)])
        for name in ("lambda_", "dispersion", "cell", "residual"):
            into = getattr(self, f"_{name.rstrip('_')}")
            into[start:stop] = getattr(columns, name)
            into[start + places] = getattr(fitted, name)[of]
        self._filled = stop

    def columns(self) -> EnergyColumns:
        """All rows so far."""
        part = slice(0, self._filled)
        return EnergyColumns(
            self._lambda[part], self._dispersion[part], self._cell[part], self._residual[part]
        )


def _fit_whole(
    rows: NDArray[np.float32], config: EnergyConfig, device: str | None, show_progress_bar: bool
) -> tuple[EnergyField, EnergyColumns]:
    from tqdm.auto import tqdm

    with tqdm(total=FIT_STEPS, desc="energy field", disable=not show_progress_bar) as bar:

        def step(name: str) -> None:
            bar.set_postfix_str(name)
            bar.update()

        # the largest step compares rows with each other; in blocks, so that half of it counts
        with threads_for(0.5 * len(rows) * rows.size):
            return fit_field(rows, config, device=device, progress=step)


def _give_back(source: Any) -> None:
    """Tell the system that the pages of a memory-mapped file need not stay in memory."""
    mapped = getattr(source, "_mmap", None)
    shared = getattr(source, "mode", None) in ("r", "r+")  # of others, pages may hold changes
    if isinstance(mapped, mmap.mmap) and shared and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)
