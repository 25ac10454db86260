"""Where vectors come from: the document, the host, the text, in this order."""

import numpy as np
import pytest
from energy_chroma import EnergyCollection
from energy_lancedb import EnergyTable
from hypothesis import given
from hypothesis import strategies as st
from support.stack_data import IDS, QUERY, QUESTION, TEXTS, VECTORS, by_cosine, chroma, lance

from energy_plugin.candidates import CandidateRanker, Candidates, Host, as_host
from energy_plugin.energy import EnergyReranker
from energy_plugin.errors import InvalidInputError, NotBuiltError

OWN = np.eye(VECTORS.shape[1], dtype=np.float32)[0]


class Shelf:
    """A host of one's own, which is a dictionary."""

    def __init__(self, stored):
        self.stored = stored
        self.asked = []

    def energy_field(self):
        return None

    def vectors(self, ids):
        self.asked += ids
        return {each: self.stored[each] for each in ids if each in self.stored}

    def embed_query(self, text):
        return QUERY

    def find(self, query, k, where=None):
        raise NotImplementedError


@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans()), max_size=8))
def test_every_vector_comes_from_the_first_place_that_has_it(places):
    """On the document, in the host, in the text; a blank text without any is zeros."""
    names = [f"n{at}" for at in range(len(places))]
    shelf = Shelf(
        {n: np.full(3, 2.0) for n, (_, here, _) in zip(names, places, strict=True) if here}
    )
    assert isinstance(shelf, Host)
    found = Candidates.found(
        names,
        ["text" if text else " " for _, _, text in places],
        [[1.0, 1.0, 1.0] if own else None for own, _, _ in places],
        shelf,
    )
    assert shelf.asked == [n for n, (own, _, _) in zip(names, places, strict=True) if not own]
    assert found.missing == [
        at for at, (own, here, text) in enumerate(places) if not own and not here and text
    ]
    matrix = found.embedded([np.full(3, 3.0)] * len(found.missing)).matrix(3)
    expected = [1 if own else 2 if here else 3 if text else 0 for own, here, text in places]
    np.testing.assert_array_equal(matrix, np.tile(np.array(expected)[:, None], 3))


@pytest.mark.parametrize("which", ["EnergyCollection", "collection", "EnergyTable", "table"])
def test_hosts_lend_their_vectors(which, chroma_store, lance_store):
    host = {
        "EnergyCollection": chroma_store[1],
        "collection": chroma_store[1].collection,
        "EnergyTable": lance_store,
        "table": lance_store.table,
    }[which]
    found = as_host(host).vectors(["7", "3", "7", "no such", "it's", "58"])
    assert sorted(found) == ["3", "58", "7"]
    for name, vector in found.items():
        np.testing.assert_allclose(vector, VECTORS[int(name)], atol=1e-6)


def test_lance_ids_may_be_any_text(tmp_path):
    import lancedb

    names = ["it's", 'a "b"', "x; DROP TABLE y", "ü", "-1"]
    rows = [{"key": n, "vector": VECTORS[at]} for at, n in enumerate(names)]
    table = lancedb.connect(tmp_path).create_table("odd", rows)
    host = as_host(table, id_column="key")
    assert sorted(host.vectors([*names, "missing"])) == sorted(names)
    assert host.vectors([]) == {}
    with pytest.raises(InvalidInputError, match="no column 'id'"):
        as_host(table).vectors(["a"])


def test_a_built_host_ranks_with_its_field(chroma_store, lance_store):
    first = by_cosine(20)
    for host, field in (
        (chroma_store[1], chroma_store[1].field),
        (lance_store, lance_store.field),
    ):
        ranker = CandidateRanker(host)
        found = ranker.candidates([IDS[i] for i in first], [TEXTS[i] for i in first], [None] * 20)
        got = ranker.order(QUERY, found, k=7)
        wanted = EnergyReranker(field).rerank(QUERY, VECTORS[first], k=7)
        np.testing.assert_array_equal(got.order, wanted.order)
        np.testing.assert_allclose(got.distances, wanted.distances, atol=1e-6)


@pytest.mark.parametrize("which", ["collection", "table", "nothing"])
def test_without_a_field_the_candidates_alone_rank(which, chroma_store, lance_store):
    host = {"collection": chroma_store[1].collection, "table": lance_store.table}.get(which)
    first = by_cosine(20)
    ranker = CandidateRanker(host)
    found = ranker.candidates(
        [IDS[i] for i in first],
        [TEXTS[i] for i in first],
        [None if host is not None else VECTORS[i] for i in first],
    )
    got = ranker.order(QUERY, found)
    wanted = EnergyReranker().rerank(QUERY, VECTORS[first])
    np.testing.assert_array_equal(got.order, wanted.order)
    assert sorted(got.order) == list(range(20))


def test_a_blank_document_is_kept_and_ranks_last(chroma_store):
    ranker = CandidateRanker(chroma_store[1])
    found = ranker.candidates([None, "5", "6"], [" ", "x", "y"], [None, None, None])
    assert ranker.order(QUERY, found).order[-1] == 0


def test_hosts_search_and_embed(chroma_store, lance_store):
    hits = as_host(lance_store).find(QUESTION, 3, "year > 2005")
    rows = lance_store.search(QUESTION).where("year > 2005").limit(3).to_list()
    assert [hit.id for hit in hits] == [str(row["id"]) for row in rows]
    assert [hit.distance for hit in hits] == [row["_distance"] for row in rows]
    assert set(hits[0].metadata) == {"year", "topic"}
    np.testing.assert_allclose(as_host(lance_store).embed_query(QUESTION), QUERY, atol=1e-6)
    hits = as_host(chroma_store[1]).find(QUERY, 3, {"topic": "river"})
    found = chroma_store[1].query(query_embeddings=[QUERY], n_results=3, where={"topic": "river"})
    assert [hit.id for hit in hits] == found["ids"][0]
    assert {hit.metadata["topic"] for hit in hits} == {"river"}


def test_what_cannot_be_ranked_is_refused(chroma_store, lance_store, tmp_path):
    with pytest.raises(InvalidInputError, match=r"host must be an EnergyCollection.*got list"):
        as_host([])
    assert as_host(None) is None
    with pytest.raises(InvalidInputError, match="cannot be embedded without a model"):
        CandidateRanker().embed_query("q")
    for plain in (chroma_store[1].collection, lance_store.table):
        with pytest.raises(InvalidInputError, match="only supplies its vectors"):
            as_host(plain).embed_query("q")
        with pytest.raises(InvalidInputError, match="only supplies its vectors"):
            as_host(plain).find(QUERY, 1)
    ranker = CandidateRanker(chroma_store[1])
    with pytest.raises(InvalidInputError, match=r"'unknown'.*has no vector"):
        ranker.order(QUERY, ranker.candidates(["unknown"], ["text"], [None]))
    with pytest.raises(InvalidInputError, match="vector of 5 dimensions, the query has 48"):
        ranker.order(QUERY, ranker.candidates(["1"], ["text"], [[0.0] * 5]))
    with pytest.raises(InvalidInputError, match="has str as its vector"):
        ranker.candidates(["1"], ["text"], ["word"])
    with pytest.raises(InvalidInputError, match="shape"):
        ranker.order([QUERY], ranker.candidates(["1"], ["text"], [None]))
    for unbuilt in (
        EnergyCollection(chroma(tmp_path / "chroma")[1]),
        EnergyTable(lance(tmp_path / "lance")),
    ):
        with pytest.raises(NotBuiltError, match="build"):
            CandidateRanker(unbuilt).order(QUERY, Candidates(["1"], ["a"], [OWN]))


def test_asynchronous_hosts_are_refused(tmp_path):
    import asyncio

    import lancedb
    from energy_lancedb import AsyncEnergyTable

    async def opened():
        connection = await lancedb.connect_async(tmp_path)
        table = await connection.create_table("a", [{"id": 1, "vector": VECTORS[0]}])
        return table, AsyncEnergyTable(table)

    for host in asyncio.run(opened()):
        with pytest.raises(InvalidInputError, match=f"asynchronous, {type(host).__name__}"):
            as_host(host)


def test_one_vector_column_is_needed(tmp_path):
    import lancedb

    rows = [{"id": 1, "a": VECTORS[0], "b": VECTORS[1]}]
    import pyarrow as pa

    kind = pa.list_(pa.float32(), VECTORS.shape[1])
    schema = pa.schema([("id", pa.int64()), ("a", kind), ("b", kind)])
    table = lancedb.connect(tmp_path).create_table("two", rows, schema=schema)
    with pytest.raises(InvalidInputError, match=r"one vector column, got \['a', 'b'\]"):
        as_host(table).vectors(["1"])
