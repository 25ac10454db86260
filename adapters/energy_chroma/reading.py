"""A field fitted while a collection's vectors are read page by page, under a memory limit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from energy_chroma.host import PAGE, ChromaHost
from energy_plugin.energy.upkeep.fingerprint import fingerprint

if TYPE_CHECKING:
    from energy_plugin.energy import EnergyColumns, EnergyConfig, EnergyField
    from energy_plugin.energy.fit.budget import Plan

PAGE_COPIES = 20  # of a page's floats, while Chroma hands them over as Python's numbers
HOST_BYTES = 16 << 20  # that Chroma takes beside while it reads and writes, measured
COPIES = 6  # of the columns, in this process and in Chroma, while they are stored
ID_BYTES = 300  # of a row's id in lists and maps


def plan_of(limit: int, host: ChromaHost, config: EnergyConfig) -> Plan | None:
    """How to build in passes; None where the collection fits under the limit, or is empty.

    Raises
    ------
    InvalidInputError
        The limit is too small.
    """
    from energy_plugin.energy.blocks import BLOCK_VALUES
    from energy_plugin.energy.codec.codes import code_bytes
    from energy_plugin.energy.fit import budget as memory

    count = host.count()
    first = host.vectors(host.first())[1]
    if count == 0 or len(first) == 0:
        return None
    dim = first.shape[1]
    kept = COPIES * (memory.ROW_BYTES + code_bytes(dim, config.bits)) + ID_BYTES
    page = 4 * dim * min(count, PAGE) * PAGE_COPIES
    unlimited = count * (kept + 4 * dim) + page + HOST_BYTES
    if unlimited + memory.fit_bytes(count, dim, config, BLOCK_VALUES) <= limit:
        return None
    host_bytes = HOST_BYTES + int(limit * memory.BLOCK_SHARE) * PAGE_COPIES
    return memory.plan(count, dim, config, limit, kept_row_bytes=kept, host=host_bytes)


def fitted(
    host: ChromaHost,
    plan: Plan,
    config: EnergyConfig,
    *,
    device: str | None,
    show_progress_bar: bool,
) -> tuple[EnergyField, EnergyColumns, list[str], NDArray[np.uint32]]:
    """Field, and of the rows: columns, ids and fingerprints."""
    from energy_plugin.energy.fit.streaming import fit_in_passes

    ids: list[str] = []
    prints: list[NDArray[np.uint32]] = []

    def read(rows: int) -> Iterator[NDArray[np.float32]]:
        ids.clear()
        prints.clear()
        for names, vectors in host.pages(min(PAGE, max(1, rows // 4))):
            ids.extend(names)
            prints.append(fingerprint(vectors))
            yield vectors

    field, columns = fit_in_passes(
        read, plan, host.count(), config, device=device, show_progress_bar=show_progress_bar
    )
    values = np.concatenate(prints)
    last = {name: position for position, name in enumerate(ids)}
    if len(last) == len(ids):
        return field, columns, ids, values
    keep = np.array(sorted(last.values()), dtype=np.int64)  # pages moved while they were read
    return field, columns.take(keep), [ids[place] for place in keep], values[keep]
