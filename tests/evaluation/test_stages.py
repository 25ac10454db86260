"""Stages of a small compact encoder on a small collection."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from energy_plugin.cli.app import app
from energy_plugin.errors import InvalidInputError
from energy_plugin.evaluation import embed_collection, load_collection
from energy_plugin.evaluation.measures import measure
from energy_plugin.evaluation.ranking import rank_by_cosine
from energy_plugin.evaluation.stages import STAGES, stage_scores, words_of
from energy_plugin.optical import DeepEncoderConfig, OpticalEncoder
from energy_plugin.optical.network.compact import CompactEncoder
from energy_plugin.optical.weights import checkpoint

WORDS = (
    *("lift", "drag", "nozzle", "boundary", "layer", "shock", "wave", "turbine"),
    *("aerodynamics", "compressibility"),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("judged") / "small"
    path.mkdir()
    rng = np.random.default_rng(0)
    documents = [" ".join(rng.choice(WORDS, size=12)) for _ in range(20)]
    corpus = [{"_id": f"d{i}", "text": text} for i, text in enumerate(documents)]
    corpus.append({"_id": "empty", "text": ""})
    queries = [{"_id": f"q{i}", "text": f"{word} {WORDS[-i]}"} for i, word in enumerate(WORDS)]
    for name, rows in (("corpus", corpus), ("queries", queries)):
        (path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    judged = [f"q{i}\td{2 * i}\t1" for i in range(10)]
    table = "\n".join(["query-id\tcorpus-id\tscore", *judged])
    (path / "qrels.tsv").write_text(table + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(3)
    config = DeepEncoderConfig(
        **{"patch_dim": 16, "line_hidden": (32, 16), "glossary": 40, "width": 24, "heads": 3},
        **{"mlp": 32, "local_depth": 2, "global_depth": 1, "page_tiles": 2},
    )
    model = CompactEncoder(config)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    path = tmp_path_factory.mktemp("weights") / "model.safetensors"
    checkpoint.save(model, path)
    return path


def test_the_last_stage_is_the_encoder_itself(folder, weights):
    collection = load_collection(folder)
    encoder = OpticalEncoder.from_pretrained(weights, device="cpu")
    scores = stage_scores(collection, encoder)
    assert tuple(scores) == STAGES
    vectors = embed_collection(collection, encoder)
    ranked = measure(collection, rank_by_cosine(vectors.corpus, vectors.queries, 100))
    assert scores["page"].ndcg == pytest.approx(ranked.mean["ndcg@10"])

    texts = list(collection.corpus.values())
    lines = sum(len(encoder.typesetter.lines(text)) for text in texts)
    assert scores["lines"].tokens_per_word == pytest.approx(lines / words_of(texts))
    tokens = sum(len(found) for found in encoder.encode_tokens([text for text in texts if text]))
    assert scores["compressor"].tokens_per_word == pytest.approx(tokens / words_of(texts))


def test_the_command_prints_and_draws(folder, weights, tmp_path):
    picture = tmp_path / "stages.png"
    run = CliRunner().invoke(
        app, ["stages", str(folder), "--encoder", str(weights), "--plot", str(picture), "--json"]
    )
    assert run.exit_code == 0, run.output
    found = json.loads(run.stdout)["small"]
    assert list(found) == list(STAGES)
    assert 0 <= found["page"]["ndcg@10"] <= 1
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_only_compact_encoders_have_these_stages(folder, weights):
    encoder = OpticalEncoder.from_pretrained(weights, device="cpu")
    encoder.model = torch.nn.Identity()
    with pytest.raises(InvalidInputError, match="not a compact encoder"):
        stage_scores(load_collection(folder), encoder)
