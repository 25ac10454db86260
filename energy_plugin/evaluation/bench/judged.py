"""nDCG@10 of human judgements at each number of bits, beside cosine of float32 vectors."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from energy_plugin.energy import EnergyConfig
from energy_plugin.energy.config import BIT_CHOICES
from energy_plugin.evaluation.collection import load_collection
from energy_plugin.evaluation.measures import measure as score
from energy_plugin.evaluation.ranking import fit_index, rank_by_cosine, rank_by_energy
from energy_plugin.evaluation.vectors import load_vectors

MEASURE = "ndcg@10"
DEPTH = 100


def measure(folder: Path, vectors: Path) -> dict[str, dict[str, float]]:
    """nDCG@10 by collection, and their mean.

    Parameters
    ----------
    folder : Path
        Folders of judged collections, see `load_collection`.
    vectors : Path
        Folder of NAME.npz; collections without vectors are left out.
    """
    out: dict[str, dict[str, float]] = {}
    for path in sorted(vectors.glob("*.npz")):
        if not (folder / path.stem).is_dir():
            continue
        collection = load_collection(folder / path.stem)
        made = load_vectors(path, collection)
        results = {
            "cosine, float32": score(collection, rank_by_cosine(made.corpus, made.queries, DEPTH))
        }
        for bits in BIT_CHOICES:
            index = fit_index(made.corpus, EnergyConfig(bits=bits))
            results[f"energy, {bits} bit"] = score(
                collection, rank_by_energy(index, made.queries, DEPTH)
            )
        out[path.stem] = {name: scores.mean[MEASURE] for name, scores in results.items()}
    names = next(iter(out.values()), {})
    out["mean"] = {
        name: float(np.mean([scores[name] for scores in out.values()])) for name in names
    }
    return out
