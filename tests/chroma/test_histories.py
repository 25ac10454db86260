"""Random histories of writes, by the plugin and past it: what is found is what Chroma holds."""

import numpy as np
import pytest
from energy_chroma import Changes, EnergyCollection, writing
from support.chroma_cases import DIM, client, create, vectors

STEPS = 40


def live_rows(made):
    got = made.get(include=["embeddings", "metadatas"])
    return {
        name: (np.float32(vector), metadata)
        for name, vector, metadata in zip(
            got["ids"], got["embeddings"], got["metadatas"], strict=True
        )
    }


def check(energy, rng):
    """All rows are found, each by its own vector, and the filters agree with Chroma's."""
    rows = live_rows(energy.collection)
    query = rng.normal(size=(1, DIM)).astype(np.float32)
    found = energy.query(query_embeddings=query, n_results=500, include=["metadatas"])
    assert sorted(found["ids"][0]) == sorted(rows)
    if not rows:
        return
    for name in rng.choice(sorted(rows), size=3):
        same = energy.query(query_embeddings=[rows[name][0]], n_results=1, include=["embeddings"])
        np.testing.assert_allclose(same["embeddings"][0][0], rows[name][0], atol=1e-6)
    low = energy.query(query_embeddings=query, n_results=500, where={"n": {"$lt": 30}})
    assert set(low["ids"][0]) == {
        name for name, (_, metadata) in rows.items() if metadata and metadata["n"] < 30
    }


@pytest.mark.parametrize("seed", range(2))
def test_a_history(tmp_path, monkeypatch, seed):
    monkeypatch.setattr(writing, "LOOSE_CHUNKS", 5)
    rng = np.random.default_rng(seed)
    made = create(client(tmp_path), n=60)
    energy = EnergyCollection(made).build(row_columns=bool(seed % 2))
    for step in range(STEPS):
        through = rng.choice([energy, energy, made])
        names = [f"r{i}" for i in rng.choice(90, size=int(rng.integers(1, 6)), replace=False)]
        fresh = {
            "ids": names,
            "embeddings": vectors(len(names), seed=1000 * seed + step),
            "metadatas": [{"n": int(name[1:])} for name in names],
        }
        match str(rng.choice(["add", "upsert", "update", "delete", "reopen", "refresh"])):
            case "delete":
                through.delete(ids=names)
            case "reopen":
                energy = EnergyCollection(made)
            case "refresh":
                energy.refresh()
                assert EnergyCollection(made).refresh() == Changes()
            case verb:
                getattr(through, verb)(**fresh)
        if step % 4 == 3:
            check(energy, rng)
    energy.refresh()
    fresh = EnergyCollection(made)
    check(fresh, rng)
    assert fresh.refresh() == Changes()
    queries = vectors(5, seed=7)
    np.testing.assert_allclose(
        fresh.query(query_embeddings=queries)["distances"],
        energy.query(query_embeddings=queries)["distances"],
        atol=1e-5,
    )
