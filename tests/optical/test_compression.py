"""Compression metrics, and the commands that look at pages and weights."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from support.deepencoder_oracle import NARROW, published_file, seeded_weights
from typer.testing import CliRunner

from energy_plugin.cli.app import app
from energy_plugin.errors import InvalidInputError
from energy_plugin.optical.density import compression, entropy, text_tokens, token_entropy
from energy_plugin.optical.typesetting.page import PageTypesetter

TEXT = "Four score and seven years ago our fathers brought forth 1,863 words. " * 20


def test_a_text_by_hand():
    found = compression(TEXT, "tiny")
    assert (found.characters, found.words, found.pages) == (1400, 260, 1)
    # four score and seven years ago our fathers(2) brought(2) forth 1 , 863 words .
    assert found.text_tokens == 20 * 17 == text_tokens(TEXT)
    assert (found.patches, found.vision_tokens, found.sequence_tokens) == (1024, 64, 73)
    assert found.spatial == 16
    assert found.words_per_token == 260 / 64
    assert found.text_tokens_per_token == 340 / 64
    (page,) = PageTypesetter(512).pages(TEXT)
    ink = float((page == 0).mean())
    wanted = -ink * math.log2(ink) - (1 - ink) * math.log2(1 - ink)
    assert found.page_entropy == pytest.approx(wanted)
    assert found.tokens_entropy is None
    assert compression(TEXT, "large").text_tokens_per_token == 340 / 400
    assert compression(TEXT, "tiny", tokenizer=len).text_tokens == 1400


def test_entropies_of_known_distributions():
    assert entropy([]) == entropy("a" * 9) == 0
    assert entropy(list("abcd")) == 2
    assert entropy(list("aabc")) == 1.5
    # Of a standard normal in bins of 1/32: differential entropy ½ log2(2πe) plus 5.
    drawn = np.random.default_rng(0).standard_normal((3000, 400))
    assert token_entropy(drawn) == pytest.approx(
        0.5 * math.log2(2 * math.pi * math.e) + 5, abs=0.01
    )
    assert token_entropy(drawn) == pytest.approx(token_entropy(drawn * 7 + 3), abs=1e-6)


@given(st.text(min_size=1, max_size=200))
def test_rule_counts_are_between_words_and_characters(text):
    count = text_tokens(text)
    assert 0 <= count <= len(text)
    assert text_tokens(text + " " + text) == 2 * count


def test_what_cannot_be_measured_is_named():
    with pytest.raises(InvalidInputError, match="is for images"):
        compression(TEXT, "gundam")
    with pytest.raises(InvalidInputError, match="nothing to typeset"):
        compression("  ")


def test_commands(tmp_path):
    run = CliRunner().invoke
    (tmp_path / "a.txt").write_text(TEXT)
    weights = published_file(tmp_path, {k: v.bfloat16() for k, v in seeded_weights(NARROW).items()})

    args = ["compression", str(tmp_path / "a.txt"), "--mode", "tiny", "--mode", "small"]
    made = run(app, [*args, "--encoder", str(weights), "--plot", str(tmp_path / "a.png"), "--json"])
    assert made.exit_code == 0, made.output
    tiny, small = json.loads(made.stdout)
    assert (tiny["vision_tokens"], small["vision_tokens"]) == (64, 100)
    assert 3 < tiny["tokens_entropy"] < 8
    assert Image.open(tmp_path / "a.png").size[0] > 500
    assert "text/token" in run(app, args).stdout

    made = run(app, ["render", TEXT * 2, "--mode", "tiny", "-o", str(tmp_path / "p.png"), "--json"])
    assert made.exit_code == 0, made.output
    files = json.loads(made.stdout)["files"]
    pages = PageTypesetter(512).pages(TEXT * 2)
    assert len(files) == len(pages) == 2
    for file, page in zip(files, pages, strict=True):
        np.testing.assert_array_equal(np.asarray(Image.open(file)), page)

    out = tmp_path / "encoder.safetensors"
    made = run(app, ["weights", "export", str(weights), str(out), "--json"])
    assert made.exit_code == 0, made.output
    assert json.loads(made.stdout) == {
        "file": str(out),
        "tensors": 112,
        "bytes": out.stat().st_size,
    }
    infos = [
        json.loads(run(app, ["weights", "info", str(p), "--json"]).stdout) for p in (weights, out)
    ]
    assert infos[0] == infos[1]
    assert infos[0]["dtypes"] == ["bfloat16"]


@pytest.mark.parametrize(
    "args",
    [
        ["render", "x", "--mode", "huge"],
        ["render", " "],
        ["render", "@/no/such/file"],
        ["render", "x", "-o", "/no/such/folder/p.png"],
        ["compression", "/no/such/file"],
        ["weights", "export", "compact", "/no/such/out"],
        ["weights", "info", "/no/such/file"],
    ],
)
def test_bad_arguments_are_refused(args):
    made = CliRunner().invoke(app, args)
    assert made.exit_code != 0
    assert made.exception is not None
    assert not made.stdout
