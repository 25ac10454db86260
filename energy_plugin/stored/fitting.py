"""A field fitted to the rows of a database, at once or, under a memory limit, page by page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from energy_plugin.energy.upkeep.fingerprint import fingerprint
from energy_plugin.errors import InvalidInputError
from energy_plugin.stored.moments import Moment, reached
from energy_plugin.stored.rows import RowMap

if TYPE_CHECKING:
    from energy_plugin.energy import EnergyConfig, EnergyIndex
    from energy_plugin.energy.fit.budget import Plan
    from energy_plugin.stored.database import Rows


@dataclass(frozen=True)
class Costs:
    """What a database takes beside the fit.

    Parameters
    ----------
    page : int
        Most rows that are read at a time.
    page_copies : int
        Copies of a page's vectors while they are handed over.
    host_bytes : int
        Bytes that the database takes while it reads and writes.
    copies : int
        Copies of the columns while they are stored.
    id_bytes : int
        Bytes of a row's id in lists and maps.
    """

    page: int = 5_000
    page_copies: int = 4
    host_bytes: int = 16 << 20
    copies: int = 4
    id_bytes: int = 300


def fitted(
    rows: Rows,
    config: EnergyConfig,
    *,
    costs: Costs,
    memory_limit: int | None,
    device: str | None,
    show_progress_bar: bool,
) -> tuple[EnergyIndex, RowMap]:
    """An index of all rows with a field fitted to them; writes nothing.

    Raises
    ------
    InvalidInputError
        There are no rows, or the limit is too small.
    """
    from energy_plugin.energy import EnergyIndex

    plan = None if memory_limit is None else _plan_of(memory_limit, rows, config, costs)
    if plan is not None:
        return _in_passes(
            rows, plan, config, costs, device=device, show_progress_bar=show_progress_bar
        )
    found: dict[Any, NDArray[np.float32]] = {}
    for ids, vectors in rows.pages(costs.page):
        found.update(zip(ids, vectors, strict=True))
    if not found:
        raise InvalidInputError(
            f"{rows.name!r} is empty: there is nothing to build an energy field from. Add rows "
            "first."
        )
    names, matrix = list(found), np.stack(list(found.values()))
    found.clear()
    reached(Moment.FITTING)
    index = EnergyIndex.fit(matrix, config, show_progress_bar=show_progress_bar, device=device)
    return index, RowMap(names, fingerprint(matrix))


def _plan_of(limit: int, rows: Rows, config: EnergyConfig, costs: Costs) -> Plan | None:
    """How to build in passes; None where all fits under the limit, or there are no rows."""
    from energy_plugin.energy.blocks import BLOCK_VALUES
    from energy_plugin.energy.codec.codes import code_bytes
    from energy_plugin.energy.fit import budget

    count = rows.count()
    first = next((vectors for _, vectors in rows.pages(1)), None)
    if count == 0 or first is None:
        return None
    dim = first.shape[1]
    kept = costs.copies * (budget.ROW_BYTES + code_bytes(dim, config.bits)) + costs.id_bytes
    page = 4 * dim * min(count, costs.page) * costs.page_copies
    unlimited = count * (kept + 4 * dim) + page + costs.host_bytes
    if unlimited + budget.fit_bytes(count, dim, config, BLOCK_VALUES) <= limit:
        return None
    host = costs.host_bytes + int(limit * budget.BLOCK_SHARE) * costs.page_copies
    return budget.plan(count, dim, config, limit, kept_row_bytes=kept, host=host)


def _in_passes(
    rows: Rows,
    plan: Plan,
    config: EnergyConfig,
    costs: Costs,
    *,
    device: str | None,
    show_progress_bar: bool,
) -> tuple[EnergyIndex, RowMap]:
    from energy_plugin.energy import EnergyIndex
    from energy_plugin.energy.fit.streaming import fit_in_passes

    ids: list[Any] = []
    prints: list[NDArray[np.uint32]] = []

    def read(most: int) -> Iterator[NDArray[np.float32]]:
        ids.clear()
        prints.clear()
        for names, vectors in rows.pages(min(costs.page, max(1, most // 4))):
            ids.extend(names)
            prints.append(fingerprint(vectors))
            yield vectors

    reached(Moment.FITTING)
    field, columns = fit_in_passes(
        read, plan, rows.count(), config, device=device, show_progress_bar=show_progress_bar
    )
    values = np.concatenate(prints)
    last = {name: position for position, name in enumerate(ids)}
    if len(last) < len(ids):  # pages moved while they were read
        keep = np.array(sorted(last.values()), dtype=np.int64)
        columns, values = columns.take(keep), values[keep]
        ids = [ids[place] for place in keep]
    return EnergyIndex(field, columns, device=device), RowMap(ids, values)
