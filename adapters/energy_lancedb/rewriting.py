"""Energy columns of some rows rewritten, in place."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from energy_lancedb.columns import scatter
from energy_lancedb.host import ROWID, prints_of
from energy_lancedb.keys import ADDRESS, FRAGMENT_SHIFT
from energy_lancedb.layout import Encode, LoadedRows, match
from energy_lancedb.pointer import Pointer


def values_of(pointer: Pointer, loaded: LoadedRows, encode: Encode) -> pa.Table:
    """New columns of stale rows, and nulls for rows that lost their vector; with ``_rowid``."""
    schema = pa.schema([pa.field(ROWID, pa.uint64()), *pointer.format.fields()])
    arrays = [pa.array([], kind) for kind in schema.types[1:]]
    if len(loaded.stale):
        arrays = pointer.format.to_arrow(
            encode(loaded.stale, loaded.stale_vectors), prints_of(loaded.stale_vectors)
        )
    n = len(loaded.stale)
    arrays = scatter(arrays, np.arange(n), n + len(loaded.emptied))
    return pa.table(
        [pa.array(np.concatenate([loaded.stale, loaded.emptied])), *arrays], schema=schema
    )


def update_of(dataset: Any, values: pa.Table) -> Any:
    """The commit that writes `values` (with ``_rowid``) over the columns of those rows."""
    from lance import LanceOperation

    places = dataset.scanner(columns=[], with_row_id=True, with_row_address=True).to_table()
    positions, known = match(places[ROWID].to_numpy(), values[ROWID].to_numpy())
    values = values.filter(pa.array(known))
    addresses = places[ADDRESS].to_numpy()[positions[known]]
    values = values.drop_columns([ROWID]).append_column(ADDRESS, pa.array(addresses, pa.uint64()))
    fragments = addresses >> FRAGMENT_SHIFT
    updated, fields = [], set()
    for number in np.unique(fragments):
        part = values.filter(pa.array(fragments == number))
        metadata, modified = dataset.get_fragment(int(number)).update_columns(part, left_on=ADDRESS)
        updated.append(metadata)
        fields.update(modified)
    return LanceOperation.Update(
        updated_fragments=updated, fields_modified=sorted(fields), update_mode="rewrite_columns"
    )
