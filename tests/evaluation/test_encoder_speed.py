"""The measurement of speed measures the same work on both sides."""

from __future__ import annotations

import pytest
from support.deepencoder_oracle import NARROW
from typer.testing import CliRunner

from energy_plugin.cli.app import app
from energy_plugin.evaluation.encoder_speed import compact_speed, full_speed, texts_of

pytest.importorskip("transformers", minversion="5.20")


def test_both_sides_give_the_same_tokens():
    found = full_speed("tiny", batch=2, rounds=1, device="cpu", config=NARROW)
    assert found["relative_l2"] < 0.05  # bfloat16 on both sides: measured .01
    assert set(found["pages_per_second"]) == {"transformers, one by one", "batch", "one by one"}
    for ratio in found["ratio"].values():
        assert ratio > 0
    pages = found["pages_per_second"]
    wanted = pages["batch"] / pages["transformers, one by one"]
    assert found["ratio"]["batch"] == pytest.approx(wanted)


def test_compact_rates_are_of_the_texts_that_were_asked_for():
    documents = [" ".join(f"word{i}" for i in range(j, j + 60)) for j in range(0, 600, 60)]
    found = compact_speed(documents, short=4, passages=2, rounds=1, dtype="float32", device="cpu")
    assert found["short_texts_per_second"] > found["passages_per_second"] > 0
    for characters in (60, 1000):
        made = texts_of(documents, 20, characters)
        assert len(set(made)) == 20
        assert all(characters - 15 < len(text) <= characters for text in made)
    first, again, other = (texts_of(documents, 3, 60, seed=seed) for seed in (1, 1, 2))
    assert first == again != other


def test_unknown_size_is_refused():
    assert CliRunner().invoke(app, ["bench-encoder", "--size", "vast"]).exit_code != 0
