"""How the two layouts compare, in one process and in turns.

`pytest -m slow --log-cli-level=INFO tests/lancedb/test_layout_costs.py` shows the times.
"""

import logging
import time
from statistics import median

import lancedb
import numpy as np
import pyarrow as pa
import pytest
from energy_lancedb import EnergyTable

log = logging.getLogger(__name__)
N, D, LAYOUTS = 4_000, 128, ("columns", "companion")


def rows_of(vectors, start):
    values = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), D)
    return pa.table({"id": np.arange(start, start + len(vectors)), "vector": values})


def seconds(call):
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


@pytest.mark.slow
def test_columns_beside_the_table_cost_about_as_much(tmp_path):
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(100, D))
    spread = 0.7 * rng.normal(size=(N, D))
    vectors = (centres[rng.integers(0, 100, N)] + spread).astype(np.float32)
    database = lancedb.connect(tmp_path)
    times = {name: {layout: [] for layout in LAYOUTS} for name in ("build", "open", "query", "add")}
    times |= {name: {layout: [] for layout in LAYOUTS} for name in ("behind", "refresh")}
    for round_ in range(2):  # the first one warms up
        found = {}
        for layout in LAYOUTS if round_ % 2 else LAYOUTS[::-1]:
            table = database.create_table(f"{layout}{round_}", rows_of(vectors, 0))
            energy = EnergyTable(table)
            took = seconds(lambda: energy.build(layout=layout))  # noqa: B023
            times["build"][layout].append(took)
        for layout in LAYOUTS * 3:
            energy = EnergyTable(database.open_table(f"{layout}{round_}"))
            found[layout] = energy
            took = seconds(lambda: energy.search(vectors[0]).limit(10).to_list())  # noqa: B023
            times["open"][layout].append(took)
    for i in range(40):
        for layout, energy in found.items():
            ask = energy.search(vectors[i]).limit(10).to_list
            times["query"][layout].append(seconds(ask))
    for i in range(6):
        few = vectors[10 * i : 10 * i + 10] + np.float32(0.01)
        for layout, energy in found.items():
            database.open_table(energy.name).add(rows_of(few, N + 10 * i))
            ask = energy.search(few[0]).limit(10).to_list
            times["behind"][layout].append(seconds(ask))
            times["refresh"][layout].append(seconds(energy.refresh))
            more = rows_of(few + np.float32(0.01), 2 * N + 10 * i)
            times["add"][layout].append(seconds(lambda: energy.add(more)))  # noqa: B023
    ratios = {}
    for name, by_layout in times.items():
        typical = min if name == "build" else median  # the first build loads libraries
        inside, beside = (typical(by_layout[layout]) for layout in LAYOUTS)
        ratios[name] = beside / inside
        log.info("%s: in the table %.4f s, beside %.4f s: %.2f", name, inside, beside, ratios[name])
    assert max(ratios[name] for name in ("build", "query", "behind", "refresh", "add")) < 2
