"""Build an energy field on a Ray cluster: a sample is fitted, every fragment is mapped by a task.

Run with ``python examples/lancedb_ray.py [folder]``. Without a folder nothing is kept. A script
that ran ``ray.init(address=...)`` before would use that cluster; this one starts two workers.
"""

import sys
import tempfile

import lancedb
import numpy as np
import pyarrow as pa
import ray
from energy_lancedb import EnergyTable

from energy_plugin.energy import EnergyConfig

ROWS, FRAGMENTS, DIM = 6000, 6, 64


def rows(start: int, count: int) -> pa.Table:
    """Vectors around forty topics."""
    topics = np.random.default_rng(0).normal(size=(40, DIM))
    rng = np.random.default_rng(start + 1)
    vectors = topics[rng.integers(0, 40, count)] + 0.7 * rng.normal(size=(count, DIM))
    return pa.table(
        {
            "id": pa.array(range(start, start + count)),
            "vector": pa.FixedSizeListArray.from_arrays(
                pa.array(vectors.reshape(-1), pa.float32()), DIM
            ),
        }
    )


def main(folder: str) -> None:
    """Build on the cluster and in this process, and compare."""
    database = lancedb.connect(folder)
    tables = []
    for name in ("cluster", "here"):
        table = database.create_table(name, rows(0, ROWS // FRAGMENTS), mode="overwrite")
        for part in range(1, FRAGMENTS):  # each append is a fragment
            table.add(rows(part * ROWS // FRAGMENTS, ROWS // FRAGMENTS))
        tables.append(table)

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    config = EnergyConfig(seed=7)
    on_cluster = EnergyTable(tables[0]).build(config, engine="ray", sample=2000)
    ray.shutdown()
    EnergyTable(tables[1]).build(config, sample=2000, layout="columns")

    columns = ["id", "energy_lambda", "energy_dispersion", "energy_cell", "energy_residual"]
    one, other = (table.to_arrow().select(columns).sort_by("id") for table in tables)
    same = sum(np.equal(one[name], other[name]).all() for name in columns[:4])
    codes = np.equal(*(np.array(t[columns[4]].to_pylist()) for t in (one, other))).mean()
    print(f"{one.num_rows} rows, field fitted on {on_cluster.info().n_fitted}")
    print(f"columns that agree: {same} of 4, residual codes: {codes:.1%}")
    query = one["id"][10].as_py()
    vector = tables[0].search().where(f"id = {query}").to_list()[0]["vector"]
    print("nearest to row 10:", [r["id"] for r in on_cluster.search(vector).limit(3).to_list()])


if __name__ == "__main__":
    if sys.argv[1:]:
        main(sys.argv[1])
    else:
        with tempfile.TemporaryDirectory() as folder:
            main(folder)
