"""Tables with a vector index of LanceDB's own: it stays as it was, and ranks for the reranker."""

import lancedb
import pytest
from energy_lancedb import EnergyReranker, EnergyTable
from lancedb.index import HnswSq, IvfPq, IvfRq
from support.lancedb_data import DIM, embed, plain_rows, text_of

N = 600
INDEXES = {
    "none": None,
    "IVF_PQ": IvfPq(distance_type="cosine", num_partitions=4, num_sub_vectors=DIM // 4),
    "IVF_RQ": IvfRq(distance_type="cosine", num_partitions=4),
    "IVF_HNSW_SQ": HnswSq(distance_type="cosine", num_partitions=1),
}


@pytest.fixture(scope="module")
def rows():
    return plain_rows(N)


@pytest.mark.parametrize("kind", INDEXES)
def test_the_index_stays_and_serves(kind, rows, tmp_path):
    table = lancedb.connect(tmp_path).create_table("pages", rows)
    if INDEXES[kind] is not None:
        table.create_index("vector", config=INDEXES[kind])
    vector = embed([text_of(77)])[0]
    before = table.search(vector).distance_type("cosine").limit(20).to_arrow()["id"].to_pylist()

    def index():
        found = [i for i in table.list_indices() if i.columns == ["vector"]]
        if not found:
            return None
        return found[0].index_type.lower(), found[0].num_indexed_rows, found[0].num_unindexed_rows

    energy = EnergyTable(table).build()
    for _ in range(2):
        after = table.search(vector).distance_type("cosine").limit(20).to_arrow()["id"].to_pylist()
        assert after == before
        if kind != "none":
            assert index() == (kind.replace("_", "").lower(), N, 0)
        energy.build()
    best = energy.search(vector).limit(10).to_arrow()
    assert best["id"].to_pylist()[0] == 77
    search = table.search(vector).distance_type("cosine").refine_factor(5).limit(100)
    ranked = search.rerank(EnergyReranker(energy, top_k=10).for_vector(vector), query_string="")
    shared = set(ranked.to_arrow()["id"].to_pylist()) & set(best["id"].to_pylist())
    assert len(shared) >= 9
    energy.add(plain_rows(4, start=N))
    table.update(where="id = 5", values={"vector": vector.tolist()})
    energy.refresh()
    assert set(energy.search(vector).limit(2).to_arrow()["id"].to_pylist()) == {5, 77}
    if kind != "none":
        assert index()[1] + index()[2] == N + 4
        energy.optimize()
        assert index()[1:] == (N + 4, 0)
    assert len(energy.info().pending) == 0
