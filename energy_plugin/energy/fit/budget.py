"""What a fit takes of the memory, and the largest sample that a limit leaves room for.

========== ===================================================================
n, s       rows of the collection, rows of the sample that the field is fitted on
d, m       dimensions, anchors
b          floats of a temporary block
========== ===================================================================

A fit holds `ROW_ARRAYS`·s·d floats (the vectors, the rows in the metric, the same after the heat
flow, and two steps of one of them), the row graph, `ANCHOR_SQUARES`·m² floats (distances and
weights), `METRIC_SQUARES`·d² floats (metric and rotation) and `BLOCK_ARRAYS`·b floats while it
works on a block. The factors were measured as the growth of the resident memory of a process;
`tests/energy/test_memory.py` measures it again.
"""

from __future__ import annotations

import contextlib
import ctypes
from dataclasses import dataclass

from energy_plugin.energy.blocks import BLOCK_VALUES
from energy_plugin.energy.codec.codes import code_bytes
from energy_plugin.energy.config import EnergyConfig
from energy_plugin.energy.fit.anchors import default_count
from energy_plugin.energy.fit.mapping import sample_config
from energy_plugin.errors import InvalidInputError

ROW_ARRAYS = 5.5  # of s·d floats at once
ANCHOR_SQUARES = 8  # of m·m floats at once
METRIC_SQUARES = 9  # of d·d floats at once
BLOCK_ARRAYS = 10  # of b floats at once
ROW_BYTES = 12  # λ, G and cell of a row beside its code
BLOCK_SHARE = 1 / 256  # of the limit, for one array of a block
SLACK = 3 << 20  # bytes that the allocator keeps beside
LEAST_BLOCK = 1 << 16  # floats; below, the work on a block costs more than its numbers
LEAST_SAMPLE = 1024  # rows; a smaller sample teaches too little


@dataclass(frozen=True)
class Plan:
    """How a collection is fitted under a limit."""

    sample: int  # rows that the field is fitted on; all of them: no second pass
    block_rows: int  # rows that are read and mapped at a time
    block_values: int  # floats of a temporary block


def give_back() -> None:
    """Return freed memory to the system, where the C library can; others could not use it."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def fit_bytes(rows: int, dim: int, config: EnergyConfig, block_values: int) -> int:
    """Peak memory of a fit on this many rows, in bytes, the vectors included."""
    anchors = config.n_anchors or default_count(rows)
    floats = ROW_ARRAYS * rows * dim + ANCHOR_SQUARES * anchors**2 + METRIC_SQUARES * dim**2
    graph = 8 * rows * (2 * config.neighbours + 8)
    columns = 2 * rows * (ROW_BYTES + code_bytes(dim, config.bits))
    return int(4 * (floats + BLOCK_ARRAYS * block_values) + graph + columns) + SLACK


def plan(
    rows: int,
    dim: int,
    config: EnergyConfig,
    limit: int,
    *,
    kept_row_bytes: int | None = None,
    host: int = 0,
) -> Plan:
    """The largest sample whose fit stays under a limit.

    Parameters
    ----------
    rows, dim : int
        Of the collection.
    config : EnergyConfig
    limit : int
        Bytes.
    kept_row_bytes : int, optional
        Bytes of every row that are held until the end; the columns if not given.
    host : int, default 0
        Bytes that reading and writing the host takes meanwhile.

    Raises
    ------
    InvalidInputError
        Not even a sample of `LEAST_SAMPLE` rows fits.
    """
    if kept_row_bytes is None:
        kept_row_bytes = ROW_BYTES + code_bytes(dim, config.bits)
    kept = host + rows * kept_row_bytes
    if kept + fit_bytes(rows, dim, config, BLOCK_VALUES) <= limit:
        return Plan(rows, rows, BLOCK_VALUES)
    block_values = int(min(BLOCK_VALUES, max(LEAST_BLOCK, limit * BLOCK_SHARE)))
    if kept + fit_bytes(rows, dim, config, block_values) <= limit:
        return Plan(rows, rows, block_values)

    def needed(sample: int) -> int:
        fitted = sample_config(config, rows, sample)
        return kept + fit_bytes(sample, dim, fitted, block_values)

    least = min(rows, LEAST_SAMPLE)
    if needed(least) > limit:
        megabytes = -(-needed(least) // 1_000_000)
        raise InvalidInputError(
            f"memory_limit leaves {limit / 1e6:.1f} MB, and {rows} rows of {dim} dimensions need "
            f"at least {megabytes} MB: {kept / 1e6:.1f} MB for their columns and the host, the "
            f"rest for a field fitted on {least} rows. Raise the limit, or store fewer bits "
            f"per dimension (EnergyConfig(bits=...), now {config.bits})."
        )
    most = rows
    while least + 1 < most:
        middle = (least + most) // 2
        least, most = (middle, most) if needed(middle) <= limit else (least, middle)
    return Plan(least, max(1, block_values // dim), block_values)
