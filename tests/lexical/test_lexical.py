"""BM25 of `LexicalIndex` against bm25s, and rows that come and go against a fresh index."""

from __future__ import annotations

import numpy as np
import pytest

from energy_plugin.energy.codec import packing
from energy_plugin.errors import CorruptFieldError, InvalidInputError
from energy_plugin.lexical import LexicalIndex, RowWords, Tokenizer

WORDS = """heat wing flow boundary layer shock tube jet supersonic nozzle pressure plate theory
analysis library catalogue reader index retrieval""".split()  # noqa: SIM905


def documents(count, seed=0, longest=40):
    rng = np.random.default_rng(seed)
    zipf = 1 / np.arange(1, len(WORDS) + 1)
    return [
        " ".join(rng.choice(WORDS, rng.integers(1, longest), p=zipf / zipf.sum()))
        for _ in range(count)
    ]


def reference(texts, queries):
    """The same scores by bm25s, dense."""
    bm25s = pytest.importorskip("bm25s")
    stemmer = pytest.importorskip("Stemmer").Stemmer("english")

    def tokens(some):
        return bm25s.tokenize(
            some, stopwords="en", stemmer=stemmer, return_ids=False, show_progress=False
        )

    index = bm25s.BM25(method="lucene", k1=0.9, b=0.4)
    index.index(tokens(texts), show_progress=False)
    return np.stack([index.get_scores(query) for query in tokens(queries)])


def test_scores_are_those_of_bm25s():
    texts = documents(300)
    queries = ["boundary layers of the plates", "shock", "reader reader library", "heated wings"]
    got = LexicalIndex.fit(texts).scores(queries)
    assert got.shape == (4, 300)
    assert got.has_sorted_indices
    np.testing.assert_allclose(got.toarray(), reference(texts, queries), atol=1e-5)


def test_k_keeps_the_best():
    index = LexicalIndex.fit(documents(200))
    every, best = index.scores("heat flow").toarray()[0], index.scores("heat flow", k=7)
    assert best.nnz == 7
    assert best.data.min() >= np.sort(every)[-7] - 1e-6
    ties = LexicalIndex.fit(["jet"] * 5).scores("jet", k=2)
    assert ties.indices.tolist() == [0, 1]


def test_rows_that_come_and_go_leave_no_trace():
    texts = documents(120, seed=1)
    index = LexicalIndex.fit(texts[:60])
    assert index.add(texts[60:62]).tolist() == [60, 61]
    for start in range(62, 120, 3):
        index.add(texts[start : start + 3])
        index.remove([start - 50])
    gone = np.arange(12, 70, 3)
    live = np.setdiff1d(np.arange(120), gone)
    assert index.rows.tolist() == live.tolist()
    assert len(index) == len(live)
    fresh = LexicalIndex.fit([texts[i] for i in live])
    queries = documents(10, seed=2, longest=5)
    np.testing.assert_allclose(
        index.scores(queries).toarray()[:, live], fresh.scores(queries).toarray(), rtol=1e-5
    )
    assert not index.scores(queries).toarray()[:, gone].any()
    assert index.to_bytes() == fresh.to_bytes()


def test_a_row_finds_itself_by_its_words():
    index = LexicalIndex.fit([f"number{i} common" for i in range(30)])
    found = index.scores_of([3, 17], k=1)
    assert found.indices.tolist() == [3, 17]


def test_bytes_round_trip_in_pieces():
    texts = [*documents(50), "", None, "the of and", "x" * 3000, "jet " * 999]
    index = LexicalIndex.fit(texts)
    words = index.words
    pieces = [words.take(slice(0, 20)).to_bytes(), words.take(slice(20, None)).to_bytes()]
    again = LexicalIndex.from_words(pieces)
    queries = ["jets in the library", "x" * 3000]
    assert (again.scores(queries) != index.scores(queries)).nnz == 0
    assert LexicalIndex.from_bytes(index.to_bytes()).to_bytes() == index.to_bytes()
    assert words.counts.max() == 255  # more than that count as 255
    assert (
        RowWords.concat([]).to_bytes()
        == RowWords.from_bytes(RowWords.concat([]).to_bytes()).to_bytes()
    )


def test_a_row_takes_a_fraction_of_its_text():
    rng = np.random.default_rng(0)
    texts = [" ".join(f"w{int(i)}" for i in rng.zipf(1.3, 120) % 20_000) for _ in range(1000)]
    assert len(LexicalIndex.fit(texts).to_bytes()) / 1000 < 250


@pytest.mark.parametrize("cut", [10, 200, -1])
def test_altered_bytes_are_refused(cut):
    blob = bytearray(LexicalIndex.fit(documents(40)).to_bytes())
    blob[cut] ^= 1
    with pytest.raises(CorruptFieldError):
        LexicalIndex.from_bytes(bytes(blob))


def test_other_bytes_are_refused():
    other = packing.dumps({"words": np.zeros(3, np.uint8)}, {"kind": "field"})
    with pytest.raises(CorruptFieldError, match="expected 'row-words'"):
        RowWords.from_bytes(other)
    empty = {"kind": "row-words", "format_version": "1"}
    for sizes in ("1 1 1", "-1 0 0", "99999999999 0 0", "x"):
        forged = packing.dumps({"words": np.zeros(3, np.uint8)}, {**empty, "sizes": sizes})
        with pytest.raises(CorruptFieldError):
            RowWords.from_bytes(forged)
    later = packing.dumps({}, {**empty, "format_version": "9"})
    with pytest.raises(CorruptFieldError, match="upgrade"):
        RowWords.from_bytes(later)


@pytest.mark.parametrize("query", ["", "the and of", "zzz unheardof", None, "?!"])
def test_questions_without_known_words_score_nothing(query):
    assert LexicalIndex.fit(documents(20)).scores(query).nnz == 0


def test_no_rows():
    index = LexicalIndex()
    assert index.scores(["jet"]).shape == (1, 0)
    assert len(LexicalIndex.fit([])) == 0
    index.add([None, ""])
    assert index.scores("jet").shape == (1, 2)


@pytest.mark.parametrize("texts", [3, ["a", 7], [b"bytes"], [["nested"]]])
def test_what_is_not_text_is_refused(texts):
    with pytest.raises(InvalidInputError, match="texts"):
        LexicalIndex.fit(texts)


def test_unknown_rows_and_languages_are_refused():
    index = LexicalIndex.fit(["a jet", "a plate"])
    for rows in ([2], [-1], [0, 7]):
        with pytest.raises(InvalidInputError, match="Nothing was removed"):
            index.remove(rows)
    assert len(index) == 2
    with pytest.raises(InvalidInputError, match="language must be one of"):
        LexicalIndex("klingon")
    with pytest.raises(InvalidInputError, match="BM25 needs"):
        LexicalIndex(b=2)


def test_other_scripts_and_languages():
    index = LexicalIndex.fit(["ラーメンの作り方", "東京都の天気予報", "weather in Paris", "Größe"])
    assert index.scores("天気").indices.tolist() == [1]
    assert index.scores("ＷＥＡＴＨＥＲ").indices.tolist() == [2]  # full width
    assert index.scores("GRÖSSE größe").indices.tolist() == [3]
    german = LexicalIndex.fit(["die Häuser am See", "das Boot"], "german")
    assert german.scores("Haus und die").indices.tolist() == [0]
    assert Tokenizer("none").terms("the jets") != Tokenizer("english").terms("the jets")
