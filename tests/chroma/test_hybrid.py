"""Words and vectors in one query of a Chroma collection."""

import numpy as np
import pytest
from energy_chroma import AsyncEnergyCollection, Changes, EnergyCollection
from energy_chroma.chunks import pack, unpack_all
from energy_chroma.host import ChromaHost
from energy_chroma.store import FieldStore
from support.chroma_cases import GramEmbedding, client, vectors

from energy_plugin.errors import InvalidInputError, NotBuiltError

N = 200
RARE = {7: "zyzzyva beetle", 30: "zyzzyva orchid", 90: "quokka island"}
ROWS = vectors(N)
ASKED = vectors(2, seed=3)
PLAIN = ("wing", "drag", "shock", "layer", "nozzle", "heat", "lens", "bone", "blood", "serum")


def document(row, seed=0):
    words = np.random.default_rng([seed, row]).choice(PLAIN, size=6)
    return f"{' '.join(words)} {RARE.get(row, '')}".strip()


@pytest.fixture
def made(tmp_path):
    made = client(tmp_path).create_collection(
        "docs", embedding_function=None, configuration={"hnsw": {"space": "cosine"}}
    )
    made.add(
        ids=[f"r{i}" for i in range(N)],
        embeddings=ROWS,
        documents=[document(i) for i in range(N)],
        metadatas=[{"n": i, "even": i % 2 == 0} for i in range(N)],
    )
    return made


@pytest.fixture
def energy(made):
    return EnergyCollection(made).build(lexical=True)


def found(energy, text, vector=ASKED[0], n_results=5, **arguments):
    got = energy.query(
        query_embeddings=[vector],
        query_texts=[text],
        hybrid=True,
        n_results=n_results,
        **{"include": ["distances", "energies"], **arguments},
    )
    return got["ids"][0], got


def both(energy):
    return energy, EnergyCollection(energy.collection)


def test_a_row_that_only_words_find_wins_and_its_terms_show_it(energy):
    plain = energy.query(query_embeddings=[ASKED[0]], n_results=N, include=["energies"])
    assert plain["ids"][0].index("r90") > 5
    assert {one["lexical"] for one in plain["energies"][0]} == {0.0}
    for one in both(energy):
        ids, got = found(one, "Quokkas", lexical_weight=0.9)
        assert ids[0] == "r90"
        for terms, distance in zip(got["energies"][0], got["distances"][0], strict=True):
            assert sum(terms.values()) == pytest.approx(distance, abs=1e-5)
        assert max(abs(terms["lexical"]) for terms in got["energies"][0]) > 0.01
        assert got["distances"][0] == sorted(got["distances"][0])


def test_the_same_ranking_as_the_index_itself(energy):
    from energy_plugin.lexical import LexicalIndex

    ids, got = found(energy, "wing shock zyzzyva", n_results=20, lexical_weight=0.5)
    live = energy._keeper.live
    names = [live.rows._id_of[row] for row in range(N)]
    words = LexicalIndex.fit([document(int(name[1:])) for name in names])
    direct = live.index.search(
        ASKED[:1], 20, lexical=words.scores(["wing shock zyzzyva"]), lexical_weight=0.5
    )
    assert ids == [names[row] for row in direct.ids[0]]
    assert got["distances"][0] == pytest.approx(direct.distances[0].tolist())


def test_texts_alone_are_embedded_and_read(tmp_path):
    made = client(tmp_path).create_collection("docs", embedding_function=GramEmbedding())
    made.add(ids=[f"r{i}" for i in range(N)], documents=[document(i) for i in range(N)])
    energy = EnergyCollection(made).build(lexical=True)
    got = energy.query(query_texts=["quokka island", "zyzzyva"], hybrid=True, n_results=2)
    assert got["ids"][0][0] == "r90"
    assert set(got["ids"][1]) == {"r7", "r30"}
    assert energy.query(query_texts="quokka island", hybrid=True, n_results=1)["ids"] == [["r90"]]


@pytest.mark.parametrize(
    ("filters", "allowed"),
    [
        ({"where": {"even": True}}, lambda i: i % 2 == 0),
        ({"where_document": {"$contains": "zyzzyva"}}, lambda i: i in (7, 30)),
        ({"ids": ["r3", "r30", "r90", "unknown"]}, lambda i: i in (3, 30, 90)),
        ({"where": {"n": 10_000}}, lambda i: False),
    ],
)
@pytest.mark.parametrize("candidates", [None, 20])
def test_a_filter_restricts_both_sides(energy, filters, allowed, candidates):
    ids, _ = found(energy, "zyzzyva quokka", n_results=N, candidates=candidates, **filters)
    inside = {f"r{i}" for i in range(N) if allowed(i)}
    if candidates is None or len(inside) < N:
        assert set(ids) <= inside
    if candidates is None:
        assert set(ids) == inside  # k is above the rows, and rows without a word are ranked too


def test_candidates_of_chroma_are_joined_by_those_of_the_words(energy):
    near = energy.query(query_embeddings=[ASKED[0]], n_results=10, candidates=10)["ids"][0]
    assert "r90" not in near
    ids, _ = found(energy, "quokka", candidates=10, lexical_weight=0.9)
    assert ids[0] == "r90"
    assert set(ids[1:]) <= set(near)


@pytest.mark.parametrize("text", ["", "the and of", "xqzzt", "   "])
def test_a_text_without_known_words_is_ranked_by_energy(energy, text):
    plain = energy.query(query_embeddings=[ASKED[0]], n_results=7)["ids"][0]
    assert found(energy, text, n_results=7)[0] == plain
    got = energy.query(
        query_embeddings=ASKED, query_texts=[text, "quokka"], hybrid=True, lexical_weight=0.9
    )
    assert got["ids"][0][:7] == plain
    assert got["ids"][1][0] == "r90"


def test_the_weight_goes_from_vectors_to_words(energy):
    plain = energy.query(query_embeddings=[ASKED[0]], n_results=3)["ids"][0]
    assert "r90" not in plain
    assert found(energy, "quokka", lexical_weight=1.0)[0][0] == "r90"
    places = [
        found(energy, "quokka", n_results=N, lexical_weight=weight)[0].index("r90")
        for weight in (0.05, 0.5, 0.95)
    ]
    assert places == sorted(places, reverse=True)


def test_words_follow_every_write(made, energy):
    energy.add(ids=["new"], embeddings=ASKED[1:2], documents=["axolotl pond"])
    energy.upsert(ids=["r1"], embeddings=ROWS[1:2], documents=["narwhal"])
    energy.update(ids=["r2"], embeddings=ROWS[2:3], documents=["okapi"])
    energy.update(ids=["r7"], embeddings=ASKED[1:2])  # keeps its document
    energy.delete(ids=["r30"])
    for one in both(energy):
        for text, name in (("axolotl", "new"), ("narwhal", "r1"), ("okapi", "r2")):
            assert found(one, text, lexical_weight=0.9)[0][0] == name
        ids, _ = found(one, "zyzzyva", lexical_weight=1.0, n_results=N)
        assert ids[0] == "r7"
        assert "r30" not in ids
        assert found(one, document(1), lexical_weight=1.0)[0][0] != "r1"
    assert energy.verify() == []
    assert energy.refresh() == Changes()


def test_rows_changed_by_chroma_are_found_by_their_new_words(made, energy):
    made.add(ids=["new"], embeddings=ASKED[:1], documents=["axolotl pond"])
    made.update(ids=["r90"], embeddings=ASKED[:1] + 0.01, documents=["narwhal"])
    made.delete(ids=["r7"])
    for one in both(energy):
        assert found(one, "axolotl", lexical_weight=0.9)[0][0] == "new"
        assert found(one, "narwhal", lexical_weight=0.9)[0][0] == "r90"
        assert "r7" not in found(one, "zyzzyva", n_results=N)[0]
    assert {finding.kind for finding in energy.verify()} == {"pending"}
    assert energy.repair().sound
    assert found(EnergyCollection(made), "axolotl", lexical_weight=0.9)[0][0] == "new"


def test_a_document_that_changed_without_its_vector(made, energy):
    made.update(ids=["r90"], documents=["narwhal"], embeddings=ROWS[90:91])
    _, got = found(energy, "quokka", lexical_weight=0.9)  # a hit is read again
    assert {one["lexical"] for one in got["energies"][0]} == {0.0}
    assert found(energy, "narwhal", lexical_weight=0.9)[0][0] == "r90"
    fresh = EnergyCollection(made)
    (finding,) = fresh.verify()
    assert (finding.kind, finding.ids) == ("pending", ("r90",))
    assert fresh.refresh() == Changes(changed=("r90",))
    assert found(EnergyCollection(made), "narwhal", lexical_weight=0.9)[0][0] == "r90"
    assert EnergyCollection(made).verify() == []


def test_altered_words_are_found_and_mended(made, energy):
    store = FieldStore(ChromaHost(made))
    pointer, _, chunks = store.read()
    rows, log = unpack_all(chunks, energy.field.dim)
    (worded,) = [part for part in log if not isinstance(part, list) and len(part.ids)]
    from energy_plugin.lexical import RowWords
    from energy_plugin.stored.words import Worded

    words = RowWords.from_bytes(worded.words)
    swapped = Worded(worded.ids, words.take([1, 0, *range(2, N)]), worded.prints)
    blob = pack(rows.ids, rows.columns, rows.fingerprints, swapped)
    store.append(pointer, blob)
    fresh = EnergyCollection(made)
    (finding,) = fresh.verify()
    assert (finding.kind, set(finding.ids)) == ("altered", set(worded.ids[:2]))
    report = fresh.repair()
    assert report.sound
    assert EnergyCollection(made).verify() == []


def test_words_stay_through_upkeep(made, energy):
    assert energy.info().words == "english"
    energy.maintain()
    energy.refit()
    energy.refit(memory_limit="600 MB")
    energy.build()
    assert found(EnergyCollection(made), "quokka", lexical_weight=0.9)[0][0] == "r90"
    energy.reembed(Negated())
    assert energy.info().words == "english"
    ids, _ = found(energy, "quokka", -ASKED[0], lexical_weight=0.9)
    assert ids[0] == "r90"
    energy.build(lexical=False)
    assert energy.info().words is None
    with pytest.raises(NotBuiltError):
        found(energy, "quokka")


def test_words_take_few_bytes(made, energy):
    info = energy.info()
    assert 0 < info.word_bytes < 100 * N
    EnergyCollection(made).build(lexical=False)
    plain = EnergyCollection(made).info()
    assert plain.word_bytes == 0
    assert info.bytes - plain.bytes == pytest.approx(info.word_bytes, abs=1500)


def test_many_small_writes_are_merged_with_their_words(made, energy, monkeypatch):
    monkeypatch.setattr("energy_chroma.writing.LOOSE_CHUNKS", 3)
    for i in range(6):
        energy.add(ids=[f"n{i}"], embeddings=vectors(1, seed=50 + i), documents=[f"beast{i}"])
    energy.delete(ids=["n2"])
    for one in both(energy):
        assert found(one, "beast5", lexical_weight=0.9)[0][0] == "n5"
    assert energy.info().chunks <= 4
    assert energy.verify() == []


def test_documents_that_are_empty_or_missing(tmp_path):
    made = client(tmp_path).create_collection("docs", embedding_function=None)
    made.add(ids=["a", "b"], embeddings=ROWS[:2])
    made.add(ids=["c", "d"], embeddings=ROWS[2:4], documents=["", "quokka"])
    energy = EnergyCollection(made).build(lexical=True)
    for one in both(energy):
        assert found(one, "quokka", n_results=9, lexical_weight=1.0)[0][0] == "d"
    assert energy.verify() == []
    energy.add(ids=["e"], embeddings=ROWS[4:5])
    assert energy.verify() == []
    bare = client(tmp_path).create_collection("bare", embedding_function=None)
    bare.add(ids=["a", "b"], embeddings=ROWS[:2])
    energy = EnergyCollection(bare).build(lexical=True)
    assert set(found(energy, "quokka")[0]) == {"a", "b"}


def test_an_existing_field_without_words_says_how_to_make_them(made):
    energy = EnergyCollection(made).build()
    with pytest.raises(NotBuiltError, match=r"build\(lexical=True\)"):
        found(energy, "quokka")
    energy.build(lexical="german")
    assert energy.info().words == "german"
    assert found(energy, "quokka", lexical_weight=0.9)[0][0] == "r90"


def test_rows_that_were_written_without_words_are_read(made, energy):
    """As by a version that knows none."""
    store = FieldStore(ChromaHost(made))
    live = energy._keeper.live
    rows = live.rows.numbers(["r90"])
    blob = pack(["r90"], live.columns_of(rows), live.rows.fingerprints(rows))
    store.append(store.pointer(), blob)
    fresh = EnergyCollection(made)
    assert found(fresh, "quokka", lexical_weight=0.9)[0][0] == "r90"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"query_embeddings": [ASKED[0]], "hybrid": True}, "needs query_texts"),
        ({"query_embeddings": ASKED, "query_texts": ["a"], "hybrid": True}, "1 texts and 2"),
        ({"query_embeddings": [ASKED[0]], "query_texts": [3], "hybrid": True}, "must be a text"),
        ({"query_embeddings": [ASKED[0]], "lexical_weight": 0.5}, "hybrid=True"),
        (
            {
                "query_embeddings": [ASKED[0]],
                "query_texts": ["wing"],
                "hybrid": True,
                "lexical_weight": 2,
            },
            "lexical_weight",
        ),
        ({"query_embeddings": [ASKED[0]], "query_texts": ["a"], "hybrid": "yes"}, "True or False"),
    ],
)
def test_bad_input(energy, arguments, message):
    with pytest.raises(InvalidInputError, match=message):
        energy.query(**arguments)


def test_an_unknown_language_changes_nothing(made, energy):
    generation = energy.info().generation
    with pytest.raises(InvalidInputError, match="language"):
        energy.build(lexical="klingon")
    with pytest.raises(InvalidInputError, match="lexical"):
        energy.build(lexical=3)
    assert energy.info().generation == generation


def test_every_hit_has_a_relevance_and_a_cut_off_applies(energy):
    for hybrid in (False, True):
        asked = {"query_embeddings": ROWS[:2], "query_texts": None, "hybrid": hybrid}
        if hybrid:
            asked["query_texts"] = [document(0), document(1)]
        got = energy.query(**asked, n_results=N)
        assert [len(line) for line in got["relevance"]] == [N, N]
        assert all(0 <= value <= 1 for value in got["relevance"][0])
        assert got["relevance"][0][got["ids"][0].index("r0")] > 0.9
        kept = energy.query(**asked, n_results=N, min_relevance=0.5)
        for place in (0, 1):
            both = zip(got["ids"][place], got["relevance"][place], strict=True)
            assert kept["ids"][place] == [name for name, value in both if value >= 0.5]
            assert len(kept["ids"][place]) < N
            assert len(kept["documents"][place]) == len(kept["distances"][place])
    assert energy.query(query_embeddings=-ROWS[:1], min_relevance=1)["ids"] == [[]]
    with pytest.raises(InvalidInputError, match="relevance"):
        energy.query(query_embeddings=ROWS[:1], min_relevance=2)


class Negated(GramEmbedding):
    """Vectors of documents under another name."""

    @staticmethod
    def name():
        return "test_negated"

    @staticmethod
    def build_from_config(config):
        return Negated(**config)

    def __call__(self, input):
        row_of = {document(i): i for i in range(N)}
        return [-ROWS[row_of[text]] for text in input]


def test_the_awaited_forms_take_the_same_arguments():
    import inspect

    for name in ("build", "query"):
        own = inspect.signature(getattr(AsyncEnergyCollection, name))
        assert own == inspect.signature(getattr(EnergyCollection, name))
