"""Builds a field in a process of its own and prints by how much its resident memory grew.

    python memory_child.py HOST FOLDER LIMIT LAYOUT

The collection is larger than the limit; a small one is built first, so that what is loaded once
is loaded. The peak is started anew by Linux's ``/proc/self/clear_refs``.
"""

from __future__ import annotations

import ctypes
import gc
import json
import sys

import numpy as np
import torch

from energy_plugin.energy import EnergyConfig

WARM = "60 MB"


def status(key):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(key)) * 1024


def vectors(rows, dim, seed=0):
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(1).standard_normal((64, dim))
    some = 0.6 * rng.standard_normal((rows, dim)) + centres[rng.integers(0, 64, rows)]
    return some.astype(np.float32)


def grown(build, limit):
    """Bytes that the peak of the resident memory rises above what it was before `build`."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")
    before = status("VmRSS")
    build(limit)
    return status("VmHWM") - before


def lancedb_tables(folder):
    """What builds the small table and the large one, and the numbers of the large one."""
    import lancedb
    from energy_lancedb import EnergyTable

    database = lancedb.connect(folder)
    small, large = (EnergyTable(database.open_table(n), device="cpu") for n in ("small", "large"))

    def builder(energy):
        return lambda limit: energy.build(layout=sys.argv[4], memory_limit=limit)

    return (
        builder(small),
        builder(large),
        lambda: (large.info().rows, large._live.pointer().n_fitted),
    )


def chroma_collections(folder):
    """As `lancedb_tables`; Chroma has loaded its own index before."""
    import chromadb
    from energy_chroma import EnergyCollection

    client = chromadb.PersistentClient(folder)
    found = [client.get_collection(n, embedding_function=None) for n in ("small", "large")]
    for collection in found:
        one = collection.get(limit=1, include=["embeddings"])["embeddings"]
        collection.query(query_embeddings=one, n_results=1)
    small, large = (EnergyCollection(collection, device="cpu") for collection in found)

    def builder(energy):
        return lambda limit: energy.build(EnergyConfig(bits=1), memory_limit=limit)

    return builder(small), builder(large), lambda: (large.info().rows, large.field.n_fitted)


def main():
    torch.set_num_threads(1)  # each thread has work space of its own
    kinds = {"lancedb": lancedb_tables, "chroma": chroma_collections}
    warm, build, numbers = kinds[sys.argv[1]](sys.argv[2])
    warm(WARM)
    rise = grown(build, sys.argv[3])
    rows, fitted = numbers()
    json.dump({"grown": rise, "rows": rows, "fitted": fitted}, sys.stdout)


if __name__ == "__main__":
    main()
