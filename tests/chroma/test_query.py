"""Queries: Chroma's shape, energy's values, filters that lose nothing."""

import chromadb
import numpy as np
import pytest
from energy_chroma import Changes, EnergyCollection
from support.chroma_cases import GramEmbedding, client, create, stored, texts, vectors

from energy_plugin.energy import EnergyConfig, EnergyIndex
from energy_plugin.errors import InvalidInputError, NotBuiltError

QUERIES = vectors(5, seed=1)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    made = create(client(tmp_path_factory.mktemp("chroma")))
    return EnergyCollection(made).build()


def test_ids_distances_and_terms_are_those_of_the_index(built):
    ids, matrix = stored(built.collection)
    expected = EnergyIndex.fit(matrix).search(QUERIES, 7)
    got = built.query(
        query_embeddings=QUERIES, n_results=7, include=["distances", "energies", "documents"]
    )
    assert got["ids"] == [[ids[row] for row in line] for line in expected.ids]
    np.testing.assert_allclose(got["distances"], expected.distances, atol=1e-6)
    assert all(line == sorted(line) for line in got["distances"])
    sums = [[sum(term.values()) for term in line] for line in got["energies"]]
    np.testing.assert_allclose(sums, got["distances"], atol=1e-6)
    kind = {0: "even", 1: "odd"}
    assert got["documents"] == [
        [f"document {name[1:]} {kind[int(name[1:]) % 2]}" for name in line] for line in got["ids"]
    ]


def test_a_row_finds_itself_first(built):
    got = built.query(query_embeddings=vectors(300)[[3, 77, 250]], n_results=1)
    assert got["ids"] == [["r3"], ["r77"], ["r250"]]


def test_ranking_is_not_cosine(built):
    plain = built.collection.query(query_embeddings=QUERIES, n_results=50)
    energy = built.query(query_embeddings=QUERIES, n_results=50)
    assert plain["ids"] != energy["ids"]


@pytest.mark.parametrize(
    "include",
    [
        [],
        ["distances"],
        ["metadatas", "documents", "distances"],
        ["embeddings", "uris"],
        ["embeddings", "metadatas", "documents", "distances", "uris"],
    ],
)
@pytest.mark.parametrize("where", [None, {"n": {"$gt": 10_000}}])
def test_result_has_chromas_shape(built, include, where):
    arguments = {"query_embeddings": QUERIES[:2], "n_results": 3, "where": where}
    plain = built.collection.query(**arguments, include=list(include))
    energy = built.query(**arguments, include=list(include))
    assert list(energy) == [*plain, "relevance"]
    assert [len(line) for line in energy["relevance"]] == [len(line) for line in energy["ids"]]
    assert energy["included"] == plain["included"]
    for key, value in plain.items():
        assert type(energy[key]) is type(value), key
        if isinstance(value, list) and key != "included":
            assert [type(line) for line in energy[key]] == [type(line) for line in value]
            assert [np.shape(line) for line in energy[key]] == [np.shape(line) for line in value]


def test_data_come_from_the_collections_loader(tmp_path):
    made = client(tmp_path).create_collection(
        "docs", embedding_function=None, data_loader=lambda uris: [f"<{uri}>" for uri in uris]
    )
    made.add(ids=list("abc"), embeddings=vectors(3), uris=["u1", "u2", "u3"])
    arguments = {"query_embeddings": vectors(3)[1:2], "n_results": 1, "include": ["data"]}
    got = EnergyCollection(made).build().query(**arguments)
    assert got["data"] == [["<u2>"]]
    assert got["uris"] == [["u2"]]
    assert got["included"] == ["data", "uris"]


def test_data_without_a_loader_are_none(built):
    arguments = {"query_embeddings": QUERIES[:1], "n_results": 1}
    plain = built.collection.query(**arguments, include=["data", "distances"])
    got = built.query(**arguments, include=["data", "distances"])
    assert got["data"] is plain["data"] is None
    assert got["included"] == plain["included"] == ["data", "distances", "uris"]


@pytest.mark.parametrize("include", [None, "distances", 5, [5], {"distances": 1}])
def test_an_include_that_is_no_list_of_names_is_refused(built, include):
    with pytest.raises(InvalidInputError, match="include"):
        built.query(query_embeddings=QUERIES[:1], include=include)


@pytest.mark.parametrize("config", [{"bits": 2}, 2, "default"])
def test_a_config_of_another_kind_is_refused_before_rows_are_read(built, config, monkeypatch):
    monkeypatch.setattr("energy_chroma.host.ChromaHost.pages", None)
    with pytest.raises(InvalidInputError, match="config must be an EnergyConfig"):
        EnergyCollection(built.collection).build(config)


def test_embeddings_are_the_rows_own(built):
    got = built.query(query_embeddings=QUERIES[:1], n_results=4, include=["embeddings"])
    ids, matrix = stored(built.collection)
    expected = matrix[[ids.index(name) for name in got["ids"][0]]]
    np.testing.assert_array_equal(np.float32(got["embeddings"][0]), expected)
    assert got["embeddings"][0].dtype == np.float64


@pytest.mark.parametrize(
    ("filters", "matches"),
    [
        ({"where": {"n": {"$in": [5, 190, 233]}}}, {"r5", "r190", "r233"}),
        ({"where": {"$and": [{"n": {"$lt": 6}}, {"even": True}]}}, {"r0", "r2", "r4"}),
        (
            {"where_document": {"$contains": "document 29"}},
            {f"r{i}" for i in (29, *range(290, 300))},
        ),
        ({"ids": ["r9", "r8", "nowhere"]}, {"r8", "r9"}),
        ({"ids": "r9"}, {"r9"}),
        ({"ids": ["r9", "r9"]}, {"r9"}),
        ({"ids": ["r1", "r2", "r3"], "where": {"even": False}}, {"r1", "r3"}),
        ({"where": {"even": True}, "where_document": {"$contains": "document 7 "}}, set()),
        ({"ids": []}, set()),
    ],
)
def test_filters_keep_every_match(built, filters, matches):
    got = built.query(query_embeddings=QUERIES[:2], n_results=50, **filters)
    assert [set(line) for line in got["ids"]] == [matches, matches]
    assert [len(line) for line in got["ids"]] == [len(matches)] * 2
    assert [len(line) for line in got["documents"]] == [len(matches)] * 2


def test_filtered_rows_rank_as_the_index_ranks_them(built):
    ids, matrix = stored(built.collection)
    allowed = np.arange(0, 300, 2)
    expected = EnergyIndex.fit(matrix).search(QUERIES, 5, rows=allowed)
    got = built.query(query_embeddings=QUERIES, n_results=5, where={"even": True})
    assert got["ids"] == [[ids[row] for row in line] for line in expected.ids]
    np.testing.assert_allclose(got["distances"], expected.distances, atol=1e-6)


def test_more_results_than_rows_gives_all_rows(built):
    got = built.query(query_embeddings=QUERIES[:1], n_results=1000)
    assert sorted(got["ids"][0]) == sorted(f"r{i}" for i in range(300))


def test_one_query_at_a_time_gives_the_same(built):
    together = built.query(query_embeddings=QUERIES, n_results=6)
    alone = [built.query(query_embeddings=query, n_results=6) for query in QUERIES]
    assert together["ids"] == [got["ids"][0] for got in alone]
    np.testing.assert_allclose(
        together["distances"], [got["distances"][0] for got in alone], atol=1e-5
    )


def test_without_verification_the_answer_is_the_same(built):
    plain = EnergyCollection(built.collection, watch=False)
    assert plain.query(query_embeddings=QUERIES) == built.query(query_embeddings=QUERIES)


def test_all_cells_give_what_no_choice_gives(built):
    asked = {"query_embeddings": QUERIES, "n_results": 6}
    everything = built.query(**asked)
    assert built.query(**asked, n_probe="all")["ids"] == everything["ids"]
    few = built.query(**asked, n_probe=1)
    assert all(len(line) == 6 for line in few["ids"])
    assert few["ids"] != everything["ids"]
    found = built.query(**asked, n_probe=1, where={"n": {"$in": [3, 77, 250]}})
    assert [set(line) for line in found["ids"]] == [{"r3", "r77", "r250"}] * 5
    with pytest.raises(InvalidInputError, match="n_probe"):
        built.query(**asked, n_probe=0)


@pytest.mark.parametrize("watch", [True, False])
def test_candidates_of_chroma_in_the_order_of_the_field(built, watch):
    energy = EnergyCollection(built.collection, watch=watch)
    plain = built.collection.query(query_embeddings=QUERIES, n_results=60, include=[])
    got = energy.query(query_embeddings=QUERIES, n_results=7, candidates=60)
    ids, _ = stored(built.collection)
    index = EnergyIndex.fit(stored(built.collection)[1])
    for query, names, line, distances in zip(
        QUERIES, plain["ids"], got["ids"], got["distances"], strict=True
    ):
        rows = sorted(ids.index(name) for name in names)
        expected = index.search(query[None], 7, rows=rows)
        assert line == [ids[row] for row in expected.ids[0]]
        np.testing.assert_allclose(distances, expected.distances[0], atol=1e-6)


@pytest.mark.parametrize("where", [{"n": {"$in": [3, 77, 250]}}, {"n": -1}, {"even": True}])
def test_candidates_lose_no_match(built, where):
    asked = {"query_embeddings": QUERIES, "n_results": 150, "where": where}
    got = built.query(**asked, candidates=5)
    assert [set(line) for line in got["ids"]] == [set(built.get(where=where)["ids"])] * 5


def test_candidates_that_changed_are_ranked_by_their_present_vector(tmp_path):
    made = create(client(tmp_path), n=100)
    energy = EnergyCollection(made).build()
    made.add(ids=["new"], embeddings=QUERIES[:1])
    made.update(ids=["r5"], embeddings=QUERIES[1:2])
    made.delete(ids=["r9"])
    got = energy.query(query_embeddings=QUERIES[:2], n_results=20, candidates=40)
    assert [line[0] for line in got["ids"]] == ["new", "r5"]
    assert energy.refresh() == Changes(added=("new",), removed=("r9",), changed=("r5",))
    with pytest.raises(InvalidInputError, match="candidates"):
        energy.query(query_embeddings=QUERIES[:1], candidates=0)


def test_texts_are_embedded_by_the_collections_function(tmp_path):
    made = client(tmp_path).create_collection("texts", embedding_function=GramEmbedding())
    documents = texts(120)
    made.add(ids=[f"t{i}" for i in range(120)], documents=documents)
    energy = EnergyCollection(made).build()
    got = energy.query(query_texts=[documents[17], documents[60]], n_results=3)
    assert [line[0] for line in got["documents"]] == [documents[17], documents[60]]
    same = energy.query(query_embeddings=GramEmbedding()([documents[17]]), n_results=3)
    assert same["ids"][0] == got["ids"][0]


def test_wrong_arguments_are_refused(built):
    with pytest.raises(TypeError, match="cannot be negative, or zero"):
        built.query(query_embeddings=QUERIES, n_results=0)
    with pytest.raises(ValueError, match="to be a int"):
        built.query(query_embeddings=QUERIES, n_results=2.5)
    with pytest.raises(ValueError, match="include item"):
        built.query(query_embeddings=QUERIES, include=["vectors"])
    with pytest.raises(InvalidInputError, match="include must be a list"):
        built.query(query_embeddings=QUERIES, include="distances")
    with pytest.raises(ValueError, match="must be provided"):
        built.query()
    with pytest.raises(ValueError, match="Unequal lengths"):
        built.query(query_embeddings=QUERIES, query_texts=["x"])
    with pytest.raises(ValueError, match="where"):
        built.query(query_embeddings=QUERIES, where={"n": {"$near": 3}})
    with pytest.raises(ValueError, match="embedding function"):
        built.query(query_texts=["flow"])


@pytest.mark.parametrize("query", [[1.0] * 7, [float("nan")] * 24, [float("inf")] * 24])
def test_a_wrong_query_vector_is_refused(built, query):
    with pytest.raises(InvalidInputError):
        built.query(query_embeddings=query)


def test_a_collection_without_field_says_so(tmp_path):
    energy = EnergyCollection(create(client(tmp_path), n=5))
    with pytest.raises(NotBuiltError, match=r"'docs' has no energy field yet.*build\(\)"):
        energy.query(query_embeddings=QUERIES)
    with pytest.raises(NotBuiltError):
        energy.refresh()


def test_an_empty_collection_cannot_be_built(tmp_path):
    where = client(tmp_path)
    energy = EnergyCollection(where.create_collection("empty", embedding_function=None))
    with pytest.raises(InvalidInputError, match="'empty' is empty"):
        energy.build()
    assert [made.name for made in where.list_collections()] == ["empty"]


def test_only_collections_are_accepted():
    with pytest.raises(InvalidInputError, match=r"client\.get_collection"):
        EnergyCollection("docs")


@pytest.mark.parametrize("rows", [1, 2, 9])
def test_small_collections(tmp_path, rows):
    energy = EnergyCollection(create(client(tmp_path), n=rows)).build()
    got = energy.query(query_embeddings=vectors(300)[:1], n_results=10)
    assert sorted(got["ids"][0]) == sorted(f"r{i}" for i in range(rows))
    again = EnergyCollection(energy.collection).query(query_embeddings=vectors(300)[:1])
    assert again["ids"] == got["ids"]
    assert np.isfinite(got["distances"]).all()


@pytest.mark.parametrize("space", ["l2", "ip"])
def test_other_spaces_and_a_client_in_memory(space):
    where = chromadb.EphemeralClient()
    made = create(where, n=60, name=f"memory-{space}", space=space)
    energy = EnergyCollection(made).build(EnergyConfig(bits=8))
    got = energy.query(query_embeddings=vectors(60)[[4, 9]], n_results=1)
    assert got["ids"] == [["r4"], ["r9"]]
    energy.drop()
    where.delete_collection(made.name)


def test_rows_of_zeros_rank_last(tmp_path):
    made = create(client(tmp_path), n=50, space="l2")
    made.add(ids=["zero"], embeddings=[[0.0] * 24])
    energy = EnergyCollection(made).build()
    got = energy.query(query_embeddings=QUERIES, n_results=51)
    assert [line[-1] for line in got["ids"]] == ["zero"] * 5
    assert np.isfinite(got["distances"]).all()


def test_field_and_question_vectors_are_public(built, tmp_path):
    assert built.field.dim == vectors(1).shape[1]
    assert built.field.n_fitted == 300
    made = client(tmp_path).create_collection("texts", embedding_function=GramEmbedding())
    made.add(ids=["a", "b"], documents=["lift of a wing", "blood serum"])
    energy = EnergyCollection(made)
    expected = np.asarray(GramEmbedding()(["wing drag"])[0])
    np.testing.assert_array_equal(energy.embed_query("wing drag"), expected)
    with pytest.raises(NotBuiltError):
        energy.field  # noqa: B018
