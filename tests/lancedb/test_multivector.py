"""Vision tokens of texts as a multivector column, searched by LanceDB's own late interaction."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("lancedb")

import lancedb
import pyarrow as pa

from energy_plugin.optical import load_encoder

TEXTS = [
    "How to bake sourdough bread at home in a dutch oven",
    "The stock market fell sharply after the decision on interest rates",
    "Laminar boundary layers separate when the pressure rises too fast behind the wing",
    "A recipe for tomato soup with basil and garlic",
    "Reading a CSV file with a header line into rows of dictionaries",
]
QUESTIONS = ["pressure behind a wing", "bake bread", "interest rates"]


def test_tokens_are_searched_by_late_interaction(tmp_path):
    encoder = load_encoder()
    tokens = encoder.encode(TEXTS, output="tokens")
    assert len({len(each) for each in tokens}) > 1  # texts of unlike length
    kind = pa.list_(pa.list_(pa.float32(), encoder.dim))
    column = pa.array([list(each) for each in tokens], kind)
    rows = pa.table({"text": TEXTS, "tokens": column})
    table = lancedb.connect(tmp_path).create_table("texts", rows)
    for question, best in zip(QUESTIONS, (2, 0, 1), strict=True):
        (asked,) = encoder.encode([question], output="tokens")
        found = (
            table.search(asked, vector_column_name="tokens")
            .distance_type("cosine")
            .limit(len(TEXTS))
            .to_list()
        )
        # Late interaction by hand: each of the question's tokens has its nearest of the text.
        score = [float((asked @ each.T).max(1).sum()) for each in tokens]
        wanted = [TEXTS[place] for place in np.argsort(score)[::-1]]
        assert [row["text"] for row in found] == wanted
        assert wanted[0] == TEXTS[best]
        np.testing.assert_allclose(
            [row["_distance"] for row in found], len(asked) - np.sort(score)[::-1], atol=1e-4
        )
