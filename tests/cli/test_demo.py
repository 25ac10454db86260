"""The demonstration, from nothing to a verdict, with a small encoder."""

from __future__ import annotations

import json
import re
import zlib
from collections import Counter

import numpy as np
import pytest

from energy_plugin.cli import demo
from energy_plugin.cli.demo_tables import print_answers
from energy_plugin.errors import InvalidInputError, NotBuiltError
from energy_plugin.evaluation import docstrings, reference_docs
from energy_plugin.library.demonstration import store as demo_store
from energy_plugin.library.demonstration.answers import Answer
from energy_plugin.library.demonstration.questions import KNOWN, known
from energy_plugin.library.demonstration.store import DemoStore


class WordEncoder:
    """Stands in for the optical encoder: hashed words, so that shared words mean similar."""

    dim = 64
    fingerprint = "words-1"
    recogniser = None

    def __init__(self):
        self.config = {"model": "words", "typesetter_version": 1}
        self.fails_after: int | None = None
        self.embedded: list[str] = []

    def encode(self, texts, **_):
        vectors = np.zeros((1 if isinstance(texts, str) else len(texts), self.dim), np.float32)
        for row, text in zip(vectors, [texts] if isinstance(texts, str) else texts, strict=True):
            if self.fails_after is not None and len(self.embedded) >= self.fails_after:
                raise KeyboardInterrupt
            self.embedded.append(text)
            for word in re.findall(r"\w+", text.lower()):
                code = zlib.crc32(word.encode())
                row[code % self.dim] += 1 if code >> 16 & 1 else -1
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True) + 1e-6
        return vectors[0] if isinstance(texts, str) else vectors

    encode_query = encode_document = encode


@pytest.fixture
def encoder(monkeypatch):
    import energy_plugin.optical as optical

    words = WordEncoder()
    monkeypatch.setattr(optical, "load_encoder", lambda *_: words)
    monkeypatch.setattr(demo_store, "_BATCH", 16)
    return words


def test_prose_keeps_the_description_alone():
    docstring = """
    range_of(start, stop) -> Range

    Give the :class:`Range` between *start* and ``stop``, both included, as
    numbers [1]_ do.

    .. versionadded:: 3.2
       Something else.

    >>> range_of(1, 2)
    Range(1, 2)

    Copyright (c) 1999 Somebody.

    A second paragraph follows::

        code = here()

    Parameters
    ----------
    start : int
    """
    assert docstrings.prose(docstring, "module.range_of") == (
        "Give the Range between start and stop, both included, as numbers do. "
        "A second paragraph follows:"
    ).removesuffix(" A second paragraph follows:")
    assert docstrings.prose("Too short.") == ""


def test_long_prose_ends_with_a_sentence():
    text = docstrings.prose("This sentence has exactly seven words here. " * 40)
    assert 300 <= len(text) <= 600
    assert text.endswith("here.")


def test_collection_is_deterministic_and_clean():
    docs = reference_docs.collect(300)
    assert docs == reference_docs.collect(300)
    assert len(docs) == 300
    assert len({doc.name for doc in docs}) == 300
    assert len({docstrings.normalised(doc.text.partition(" — ")[2]) for doc in docs}) == 300
    for doc in docs:
        assert doc.text.startswith(f"{doc.name} — ")
        assert len(doc.text) <= 600 + len(doc.name) + 3
        assert not re.search(r">>>|Copyright|-----|:param", doc.text)


@pytest.fixture(scope="module")
def documented():
    """What every installation documents; about 20 s on a busy machine."""
    return reference_docs.collect(reference_docs.FEWEST)


def test_every_installation_has_five_thousand_documents(documented):
    """The standard library alone gives them."""
    docs = documented
    found = Counter(doc.package for doc in docs)
    assert len(docs) == reference_docs.FEWEST == 5000, f"only {found.total()} documents: {found}"
    names = {doc.name for doc in docs}
    assert {"subprocess.run", "csv.reader", "itertools.chain", "os.stat", "argparse"} <= names


def test_demo_from_nothing_to_an_answer(encoder, tmp_path, call):
    pytest.importorskip("chromadb")
    pytest.importorskip("lancedb")
    folder = tmp_path / "demo"
    arguments = ("demo", "--folder", folder, "--documents", 80)
    code, out, err = call(*arguments, "--json")
    assert code == 0
    assert "80 documents, once" in err
    result = json.loads(out)
    assert result["documents"] == 80
    for host in ("LanceDB", "Chroma"):
        assert result["hosts"][host]["rows"] == 80
        for answers in result["answers"].values():
            for ranking in ("cosine", "energy", "hybrid"):
                distances = [answer["distance"] for answer in answers[host][ranking]]
                assert len(distances) == 3
                assert distances == sorted(distances)
    embedded = [text for text in encoder.embedded if " — " in text]
    assert len(embedded) == len(set(embedded)) == 80

    # Again: the work is found done, nothing is embedded but the questions.
    encoder.embedded.clear()
    code, out, err = call(*arguments)
    assert code == 0
    assert not any(" — " in text for text in encoder.embedded)
    assert "80 documents stored" in out
    assert "Too few questions to tell" in out  # 80 documents answer hardly any
    assert re.search(r"energy_residual +\| +companion \| +companion", out)
    assert "fewer than" not in err
    assert max(map(len, out.splitlines())) <= 120

    # A question of one's own goes by text, through the functions stored with the hosts.
    target = reference_docs.collect(80)[7]
    question = target.text.partition(" — ")[2]
    code, out, _ = call("demo", "--folder", folder, "--ask", question, "--json")
    assert code == 0
    for each in json.loads(out)["answers"].values():
        assert target.name in [answer["name"] for answer in each["cosine"]]
        assert target.name in [answer["name"] for answer in each["energy"]]
        assert target.name in [answer["name"] for answer in each["hybrid"]]


def test_answers_of_both_hosts_stand_side_by_side_where_they_differ(capsys):
    def answers(*names):
        return [Answer(name, f"{name} — about {name}.", 0.25) for name in names]

    found = {
        "LanceDB": {
            "cosine": answers("csv", "json"),
            "energy": answers("csv", "json"),
            "hybrid": answers("json"),
        },
        "Chroma": {
            "cosine": answers("csv", "json"),
            "energy": answers("zlib"),
            "hybrid": answers("json"),
        },
    }
    print_answers("read a file", found, {"json"})
    lines = [re.split(r" *\| *", line) for line in capsys.readouterr().out.splitlines()]
    cells = [line[1:-1] for line in lines if len(line) > 1]
    assert cells == [
        ["", "cosine", "energy, LanceDB", "energy, Chroma", "hybrid"],
        ["1", "csv", "csv", "zlib", "✓ json"],
        ["", "about csv.", "about csv.", "about zlib.", "about json."],
        ["2", "✓ json", "✓ json", "", ""],
        ["", "about json.", "about json.", "", ""],
    ]


def test_demo_ends_with_a_verdict_on_known_answers(encoder, tmp_path, monkeypatch, call):
    pytest.importorskip("chromadb")
    pytest.importorskip("lancedb")
    docs = [
        reference_docs.ReferenceDoc(names[0], f"{names[0]} — {text}.", "function", "m", "python")
        for text, names in list(KNOWN.items())[:50]
    ]  # every document repeats its question
    monkeypatch.setattr(demo, "collect", lambda *_, **__: docs)
    folder = tmp_path / "demo"
    code, out, _ = call("demo", "--folder", folder, "--json")
    assert code == 0
    found = json.loads(out)["comparison"]
    assert len(found["questions"]) == 50
    assert found["rankings"]["words"]["first"] == found["rankings"]["hybrid"]["first"] == 1.0
    assert "does as well" in found["verdict"]
    code, out, _ = call("demo", "--folder", folder)
    assert code == 0
    assert "50 questions with known answers, 50 passages" in out
    assert "✓ builtins.str.rstrip" in out
    assert out.rstrip().splitlines()[-1].startswith("Energy does not help here: ")


def test_known_answers_are_documented_here(documented):
    """The questions are about the standard library; a version may lack a few of its objects."""
    names = [doc.name for doc in documented]
    assert len(known(names)) >= 55


def test_demo_says_where_documents_are_few(encoder, tmp_path, monkeypatch, call):
    pytest.importorskip("chromadb")
    pytest.importorskip("lancedb")
    few = reference_docs.collect(60)
    monkeypatch.setattr(demo, "collect", lambda *_, **__: few)
    code, _, err = call("demo", "--folder", tmp_path / "demo", "--json")
    assert code == 0
    assert "documents 60 objects, fewer than 5,000" in err
    assert "pip install numpy pandas scipy pillow" in err


def test_interrupted_demo_goes_on(encoder, tmp_path):
    pytest.importorskip("chromadb")
    pytest.importorskip("lancedb")
    docs = reference_docs.collect(80)
    store = DemoStore(tmp_path)
    encoder.fails_after = 40
    with pytest.raises(KeyboardInterrupt):
        store.fill(docs, "test", encoder)
    with pytest.raises(NotBuiltError, match="no finished demonstration"):
        store.require_complete()
    encoder.fails_after = None
    encoder.embedded.clear()
    again = DemoStore(tmp_path)
    assert again.fill(docs, "test", encoder).complete
    assert len(encoder.embedded) == 80 - 32  # two batches of 16 were stored
    assert again.require_complete().documents == 80
    names = again.collection().get(include=[])["ids"]
    assert names == [doc.name for doc in docs]


@pytest.mark.parametrize("moment", ["table", "collection"])
def test_demo_interrupted_while_databases_open_goes_on(encoder, tmp_path, monkeypatch, moment):
    pytest.importorskip("chromadb")
    pytest.importorskip("lancedb")
    docs = reference_docs.collect(60)
    opened = getattr(DemoStore, moment)

    def interrupted(store):
        opened(store)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(DemoStore, moment, interrupted)
        with pytest.raises(KeyboardInterrupt):
            DemoStore(tmp_path).fill(docs, "test", encoder)
    assert DemoStore(tmp_path).fill(docs, "test", encoder).complete


def test_databases_without_a_manifest_are_left_alone(encoder, tmp_path):
    (tmp_path / "lancedb").mkdir()
    with pytest.raises(InvalidInputError, match="not a demonstration"):
        DemoStore(tmp_path).fill(reference_docs.collect(60), "test", encoder)
    assert [path.name for path in tmp_path.iterdir()] == ["lancedb"]


def test_times_of_storing_add_up_and_of_building_do_not():
    manifest = demo_store.Manifest(1, "source", "corpus", "fingerprint")
    for seconds in (2.0, 3.0):
        manifest = manifest.took("store Chroma", seconds).took("build Chroma", seconds)
    assert manifest.seconds == {"store Chroma": 5.0, "build Chroma": 3.0}


def test_another_encoder_or_corpus_starts_anew(encoder, tmp_path):
    pytest.importorskip("chromadb")
    pytest.importorskip("lancedb")
    docs = reference_docs.collect(70)
    store = DemoStore(tmp_path)
    store.fill(docs, "test", encoder)
    manifest = store.fill(docs[:60], "less", encoder)
    assert manifest.documents == 60
    assert store.table().count_rows() == store.collection().count() == 60
    assert store.is_complete()


def test_foreign_folders_are_left_alone(encoder, tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(InvalidInputError, match="not a demonstration"):
        DemoStore(tmp_path).fill(reference_docs.collect(60), "test", encoder)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"
