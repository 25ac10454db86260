"""Noise in queries: measured against clean vectors that a tiny embedder makes."""

from __future__ import annotations

import json
import zlib

import numpy as np
import pytest

from energy_plugin.evaluation import load_collection
from energy_plugin.evaluation.robustness import robustness
from energy_plugin.evaluation.vectors import CollectionVectors, normalise

WORDS = ("lift", "drag", "nozzle", "boundary", "layer", "shock", "wave", "turbine")


def embed(texts):
    """Hashed words: a misspelt word is another word."""
    out = np.zeros((len(texts), 256), np.float32)
    for row, text in enumerate(texts):
        for word in text.split():
            out[row, zlib.crc32(word.encode()) % 256] += 1
    return normalise(out)


@pytest.fixture
def collection(tmp_path):
    texts = {f"d{i}": f"{word} {WORDS[(i + 1) % 8]}" for i, word in enumerate(WORDS)}
    files = {
        "corpus.jsonl": [{"_id": key, "text": text} for key, text in texts.items()],
        "queries.jsonl": [{"_id": f"q{i}", "text": text} for i, text in enumerate(texts.values())],
    }
    for name, rows in files.items():
        (tmp_path / name).write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    lines = ["query-id\tcorpus-id\tscore", *(f"q{i}\td{i}\t1" for i in range(8))]
    (tmp_path / "qrels.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return load_collection(tmp_path)


def test_noise_costs_and_silence_does_not(collection):
    vectors = CollectionVectors(
        embed(list(collection.corpus.values())), embed(list(collection.queries.values()))
    )
    found = robustness(collection, vectors, embed, kinds=("typo", "spaces"), share=1.0)
    assert found.clean == pytest.approx(1.0)
    assert found.kept("typo") < 0.7
    assert found.kept("spaces") < 0.7
    calm = robustness(collection, vectors, embed, kinds=("typo",), share=0.0)
    assert calm.kept("typo") == pytest.approx(1.0)
