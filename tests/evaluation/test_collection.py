"""Reading judged collections, and what is said where one is not usable."""

from __future__ import annotations

import json

import numpy as np
import pytest

from energy_plugin.errors import InvalidInputError
from energy_plugin.evaluation import embed_collection, load_collection, load_vectors


@pytest.fixture
def folder(tmp_path):
    documents = [
        {"_id": "d1", "title": "Lift", "text": "of a wing"},
        {"_id": "d2", "title": "", "text": ""},
        {"_id": "d3", "text": "drag \t of a body "},
    ]
    queries = [{"_id": "q1", "text": "wing"}, {"_id": "q2", "text": "nobody judged this"}]
    (tmp_path / "corpus.jsonl").write_text("\n".join(map(json.dumps, documents)))
    (tmp_path / "queries.jsonl").write_text("\n".join(map(json.dumps, queries)) + "\n")
    (tmp_path / "qrels.tsv").write_text(
        "query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\td3\t0\nq2\td1\t0\nq9\td1\t1\n"
    )
    return tmp_path


class LengthEncoder:
    """Stands in for an encoder: one axis for each document, refuses empty text."""

    dim = 4

    def encode_document(self, texts, **_):
        assert all(text.strip() for text in texts)
        return np.eye(4, dtype=np.float32)[: len(texts)] * 3

    encode_query = encode_document


def test_texts_and_judgements(folder):
    collection = load_collection(folder)
    assert collection.corpus == {"d1": "Lift of a wing", "d2": "", "d3": "drag \t of a body"}
    assert collection.queries == {"q1": "wing"}  # q2 has no relevant document, q9 no text
    assert collection.qrels == {"q1": {"d1": 2, "d3": 0}}
    assert collection.n_empty == 1


def test_a_byte_order_mark_is_no_text(folder):
    for name in ("corpus.jsonl", "queries.jsonl", "qrels.tsv"):
        path = folder / name
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    collection = load_collection(folder)
    assert collection.corpus["d1"] == "Lift of a wing"
    assert collection.qrels == {"q1": {"d1": 2, "d3": 0}}


def test_beir_folder_of_judgements(folder):
    (folder / "qrels").mkdir()
    (folder / "qrels.tsv").rename(folder / "qrels" / "test.tsv")
    assert load_collection(folder).qrels == {"q1": {"d1": 2, "d3": 0}}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("qrels.tsv", None, "has no judgements"),
        ("qrels.tsv", "query-id\tcorpus-id\tscore\n", "has no judgement"),
        ("qrels.tsv", "q1\td1\n", "line 1"),
        ("qrels.tsv", "x\td1\t1\n", "no judged query"),
        ("corpus.jsonl", None, "does not exist"),
        ("corpus.jsonl", '{"_id": "d1"}\n{broken', "line 2: not JSON"),
        ("corpus.jsonl", "[1]", "expected an object"),
        ("queries.jsonl", '{"text": "no id"}', "'_id' is None"),
        ("corpus.jsonl", '{"_id": "d1", "text": "caf\xe9"}'.encode("latin-1"), "line 1: byte 26"),
        ("queries.jsonl", '{"_id": "q1"}\n'.encode("utf-16"), "expected UTF-8"),
        ("qrels.tsv", "q1\td1\t1\nq\xe9\td1\t1\n".encode("latin-1"), "line 2: byte 1 is 0xe9"),
        ("qrels.tsv", "q1\td1\tinf\n", "line 1"),
        ("qrels.tsv", f"q1\td1\t{'1' * 200_000}\n", "line 1: field larger"),
    ],
)
def test_unusable_collections_say_why(folder, name, content, message):
    path = folder / name
    path.unlink()
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InvalidInputError, match=message):
        load_collection(folder)


def test_empty_documents_get_zero_vectors(folder):
    vectors = embed_collection(load_collection(folder), LengthEncoder())
    np.testing.assert_array_equal(vectors.corpus, [[1, 0, 0, 0], [0, 0, 0, 0], [0, 1, 0, 0]])
    np.testing.assert_array_equal(vectors.queries, [[1, 0, 0, 0]])


def test_saved_vectors_are_matched_by_id(folder, tmp_path):
    collection = load_collection(folder)
    vectors = embed_collection(collection, LengthEncoder())
    path = tmp_path / "vectors.npz"
    np.savez(
        path,
        corpus=vectors.corpus[::-1].astype(np.float16) * 2,
        queries=vectors.queries,
        corpus_ids=np.array(["d3", "d2", "d1"]),
        query_ids=np.array(["q1"]),
    )
    again = load_vectors(path, collection)
    np.testing.assert_array_equal(again.corpus, vectors.corpus)
    vectors.save(path, collection)
    np.testing.assert_array_equal(load_vectors(path, collection).corpus, vectors.corpus)


def test_foreign_vectors_are_refused(folder, tmp_path):
    collection = load_collection(folder)
    path = tmp_path / "vectors.npz"
    common = {"queries": np.ones((1, 4)), "query_ids": ["q1"]}
    np.savez(path, corpus=np.ones((2, 4)), corpus_ids=["d1", "d2"], **common)
    with pytest.raises(InvalidInputError, match="lacks 1 of 3 ids"):
        load_vectors(path, collection)
    np.savez(path, corpus=np.ones((2, 4)), **common)
    with pytest.raises(InvalidInputError, match="lacks corpus_ids"):
        load_vectors(path, collection)
    path.write_bytes(b"not an archive")
    with pytest.raises(InvalidInputError, match="cannot be read"):
        load_vectors(path, collection)
    with pytest.raises(InvalidInputError, match="cannot be read"):
        load_vectors(tmp_path / "none.npz", collection)
