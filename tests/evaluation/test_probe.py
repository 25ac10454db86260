"""Readers from vectors to words: what they count, and what they find in the bundled encoder."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from energy_plugin.cli.app import app
from energy_plugin.errors import InvalidInputError
from energy_plugin.evaluation.probe import KINDS, SIDES, passages_of, probe
from energy_plugin.evaluation.probe_reader import Spans, frequencies, precision, train_reader
from energy_plugin.optical import OpticalEncoder

WORDS = (
    *("lift", "drag", "nozzle", "boundary", "layer", "shock", "wave", "turbine", "oven", "bread"),
    *("yeast", "flour", "market", "price", "harbour", "lantern", "violin", "copper", "glacier"),
    *("orchard", "thunder", "window", "basket", "captain"),
)


def _lines(count: int, seed: int = 0) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, size=12)) + "." for _ in range(count)]


@dataclass(frozen=True)
class _States:
    hidden: np.ndarray
    word_of_piece: np.ndarray


class WordVectors:
    """A text model that knows nothing but words: two pieces each, the same wherever it stands."""

    def read(self, texts):
        found = []
        for words in texts:
            rows = [
                np.random.default_rng(zlib.crc32(word.strip(".").encode())).normal(size=384)
                for word in words
            ]
            word_of_piece = np.repeat(np.arange(len(words)), 2)
            found.append(_States(np.array(rows, np.float16)[word_of_piece], word_of_piece))
        return found


@pytest.fixture(scope="module")
def encoder():
    return OpticalEncoder.from_pretrained("compact", device="cpu")


@pytest.fixture(scope="module")
def report(encoder):
    return probe(
        _lines(110),
        encoder,
        WordVectors(),
        ratios=(6, 24),
        train=40,
        held_out=10,
        length=24,
        vocabulary=len(WORDS),
        epochs=12,
    )


def test_words_are_named_and_compression_costs(report):
    """Measured: word vectors 1.0 and .96, encoder .97 and .78 to .83, frequency .2 and .4."""
    near, far = report.rows
    for kind in KINDS:
        assert set(near.precision[kind]) == set(SIDES)
        for side in SIDES[:2]:
            assert near.precision[kind][side] > 0.9, (kind, side)
            assert far.precision[kind][side] > 0.7, (kind, side)
            assert near.precision[kind][side] >= far.precision[kind][side] - 0.02
        assert near.precision[kind]["frequency"] < 0.3
    assert near.spans >= 3 * far.spans


def test_what_is_counted(report, encoder):
    """24 words are 48 pieces of the text model, and six tiles of the encoder."""
    assert report.native == pytest.approx(48 / 6, rel=0.05)
    assert report.covered == 1
    for kind in KINDS:
        assert [row.ratio[kind] for row in report.rows] == pytest.approx([8, 24], rel=0.1)
    assert report.rows[1].words["normal"] == pytest.approx(9.5, abs=1)  # distinct of twelve
    json.dumps(report.to_dict())


def test_the_same_seed_gives_the_same_figures(encoder):
    settings = {"ratios": (24,), "train": 12, "held_out": 4, "length": 12, "epochs": 2}
    made = [probe(_lines(40), encoder, WordVectors(), seed=seed, **settings) for seed in (0, 0, 1)]
    assert made[0] == made[1] != made[2]


def test_precision_is_at_the_true_number_of_words():
    spans = Spans(np.eye(3, 2, dtype=np.float16), np.array([0, 1, 2, 2]), np.array([0, 1, 3, 4]))
    always = torch.tensor([3.0, 2.0, 1.0])  # names 0, then 0 and 1, then 0
    assert precision(always, spans, 3) == 2 / 4
    assert frequencies(spans, 3).tolist() == pytest.approx([2 / 5, 2 / 5, 3 / 5])
    assert spans.targets(np.array([1, 0]), 3).tolist() == [[0, 1, 1], [1, 0, 0]]
    joined = Spans.joined([spans, spans])
    assert joined.first.tolist() == [0, 1, 3, 4, 5, 7, 8]


def test_an_untrained_reader_names_the_frequent_words():
    spans = Spans(np.ones((4, 3), np.float16), np.array([0, 0, 0, 1]), np.arange(5))
    reader = train_reader(spans, 2, epochs=0)
    assert precision(reader, spans, 2) == precision(frequencies(spans, 2), spans, 2) == 3 / 4


def test_passages_are_runs_of_words():
    assert passages_of(["one two three", "four five six seven"], 3) == [
        ["one", "two", "three"],
        ["four", "five", "six"],
    ]


def test_unfit_input_is_refused(encoder):
    teacher = WordVectors()
    with pytest.raises(InvalidInputError, match=r"has 2 passages of 64 words, expected at least"):
        probe(_lines(12), encoder, teacher)
    with pytest.raises(InvalidInputError, match="expected positive numbers"):
        probe(_lines(12), encoder, teacher, ratios=(0,))
    other = OpticalEncoder.from_pretrained("compact", device="cpu")
    other.model = torch.nn.Identity()
    with pytest.raises(InvalidInputError, match="not a compact encoder"):
        probe(_lines(12), other, teacher)


def _teacher_folder(folder):
    """The published names and width, seeded weights, the words of this file as pieces."""
    from safetensors.torch import save_file

    tokenizers = pytest.importorskip("tokenizers")
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    pieces = {piece: place for place, piece in enumerate([*special, *WORDS, "."])}
    made = tokenizers.Tokenizer(tokenizers.models.WordPiece(pieces, unk_token="[UNK]"))
    made.normalizer = tokenizers.normalizers.BertNormalizer()
    made.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    made.post_processor = tokenizers.processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    made.save(str(folder / "tokenizer.json"))
    generator = torch.Generator().manual_seed(0)
    width, inner = 384, 1536
    shapes = {
        "embeddings.word_embeddings": (len(pieces), width),
        "embeddings.position_embeddings": (256, width),
        "embeddings.token_type_embeddings": (2, width),
        "embeddings.LayerNorm": (width,),
    }
    for layer in range(6):
        prefix = f"encoder.layer.{layer}."
        for part in ("attention.self.query", "attention.self.key", "attention.self.value"):
            shapes[prefix + part] = (width, width)
        shapes |= {
            f"{prefix}attention.output.dense": (width, width),
            f"{prefix}attention.output.LayerNorm": (width,),
            f"{prefix}intermediate.dense": (inner, width),
            f"{prefix}output.dense": (width, inner),
            f"{prefix}output.LayerNorm": (width,),
        }
    weights = {}
    for name, shape in shapes.items():
        normed = len(shape) == 1
        drawn = torch.randn(*shape, generator=generator) * 0.05
        weights[f"{name}.weight"] = torch.ones(shape) if normed else drawn
        weights[f"{name}.bias"] = torch.zeros(shape[0])
    save_file(weights, folder / "model.safetensors")
    return folder


def test_the_command_prints_and_draws(tmp_path):
    corpus, picture = tmp_path / "corpus.txt", tmp_path / "probe.png"
    corpus.write_text("\n".join(_lines(120)), encoding="utf-8")
    call = ["probe", str(corpus), "--teacher", str(_teacher_folder(tmp_path)), "--ratio", "10"]
    call += ["--train", "12", "--held-out", "4", "--epochs", "10", "--plot", str(picture)]
    run = CliRunner().invoke(app, [*call, "--json"])
    assert run.exit_code == 0, run.output
    (row,) = json.loads(run.stdout)["rows"]
    assert row["target"] == 10
    for kind in KINDS:
        assert row["precision"][kind]["teacher"] > row["precision"][kind]["frequency"] > 0
    assert picture.read_bytes().startswith(b"\x89PNG")
    run = CliRunner().invoke(app, call)
    assert run.exit_code == 0, run.output
    assert "text tokens per vision token" in run.stdout


def test_the_command_names_what_it_cannot_read(tmp_path):
    run = CliRunner().invoke(app, ["probe", str(tmp_path / "no.txt"), "--teacher", str(tmp_path)])
    assert run.exit_code != 0
    assert "cannot read" in str(run.exception) + run.output
