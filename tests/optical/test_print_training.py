"""Training of the recogniser of print."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from energy_plugin.errors import CheckpointError, InvalidInputError
from energy_plugin.optical.printed import decoding, files
from energy_plugin.optical.printed.alphabet import CHARACTERS, decoded, encoded, readable
from energy_plugin.optical.printed.recogniser import STRIP_ROWS, Recogniser, RecogniserConfig
from energy_plugin.optical.training.printed.run import PrintTraining, batches, distance
from energy_plugin.optical.training.printed.schedule import PrintConfig
from energy_plugin.optical.training.printed.shards import HELD_OUT_SHARD, LineSource

SMALL = RecogniserConfig((4, 6), 16, (1, 2))


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> LineSource:
    matplotlib = pytest.importorskip("matplotlib")
    folder = tmp_path_factory.mktemp("texts")
    lines = [
        "The first flight over the channel took 37 minutes.",
        "Naïve readers (may) err.",
    ]
    (folder / "texts.txt").write_text("\n".join(lines * 20), encoding="utf-8")
    fonts = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    return LineSource(folder, (fonts,), ("Mono",), lines=24, shortest=3, longest=12, seed=5)


def test_characters_are_told_apart() -> None:
    assert len(set(CHARACTERS)) == len(CHARACTERS)
    text = readable("ﬁne  “naïve”\u00a0µ 漢 x\u2010y")
    assert text == "fine “naïve” μ x-y".replace("μ", readable("µ"))
    assert "".join(map(decoded, encoded(text))) == text


def test_folding_leaves_the_answers(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Recogniser(SMALL, normalised=True)
    model(torch.rand(6, STRIP_ROWS, 40))  # moves the running means
    model.eval()
    strips = torch.rand(2, STRIP_ROWS, 48)
    with torch.inference_mode():
        wanted, found = model(strips), model.folded()(strips)
    assert found.shape == (2, 24, len(CHARACTERS) + 1)
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-3)
    files.save(model.folded(), tmp_path / "print.safetensors")
    read = files.load(tmp_path / "print.safetensors")
    assert read.config == SMALL
    with torch.inference_mode():
        torch.testing.assert_close(read(strips), wanted, atol=2e-2, rtol=2e-2)


def test_weights_of_others_are_refused(tmp_path: Path) -> None:
    (tmp_path / "print.safetensors").write_bytes(b"no weights")
    with pytest.raises(CheckpointError, match="has no recogniser of print"):
        files.load(tmp_path / "print.safetensors")


def test_answers_become_characters() -> None:
    said = [0, 1, 1, 0, 1, 0, 0, 1, 0]  # a wide letter seen twice, two places apart, and again
    a, narrow = encoded("a")[0], encoded("l")[0]
    logits = torch.full((2, len(said), len(CHARACTERS) + 1), -9.0)
    for place, on in enumerate(said):
        logits[0, place, a if on else 0] = 9.0
        logits[1, place, narrow if on else 0] = 9.0
    wide, thin = decoding.best(logits, [9, 9])
    assert wide.text == "aaa"  # three answers apart they are two letters
    assert thin.text == "lll"
    logits[0, 2, :] = logits[0, 0, :]
    logits[0, 3, :] = logits[0, 4, :]
    assert decoding.best(logits[:1], [9])[0].text == "aa"
    assert decoding.best(logits[:1], [1])[0].text == ""


def test_lines_are_set_the_same_again(source: LineSource) -> None:
    shard, again, other = source.make(3), source.make(3), source.make(4)
    np.testing.assert_array_equal(shard.strips, again.strips)
    np.testing.assert_array_equal(shard.codes, again.codes)
    assert not np.array_equal(shard.codes, other.codes)
    assert shard.strips.shape == (STRIP_ROWS, shard.widths.sum())
    assert len(shard.widths) == 24
    assert (shard.widths % 4 == 0).all()
    assert {face.family for group in source.held_out for face in group} == {"DejaVu Sans Mono"}
    assert source.make(HELD_OUT_SHARD).lengths.sum() > 0
    ink = [shard.strips[:, a - 4 : a].mean() for a in np.cumsum(shard.widths)]
    assert shard.strips.mean() > 2 * np.mean(ink)  # ends are paper


def test_training_learns_and_goes_on(source: LineSource, tmp_path: Path) -> None:
    config = PrintConfig(
        minutes=5.0, batch_columns=2000, stem=(4, 6), width=16, dilations=(1, 2), rate=1e-2
    )
    training = PrintTraining(tmp_path, [], tmp_path / "work", config, processes=0, device="cpu")
    shard = source.make(0)
    losses = []
    for _ in range(12):
        for strips, codes, widths in batches(shard, config.batch_columns, np.random.default_rng(0)):
            losses.append(training._step(strips, codes, widths, 2.0))
    assert np.mean(losses[-4:]) < 0.5 * np.mean(losses[:2])
    training._save()
    again = PrintTraining(tmp_path, [], tmp_path / "work", config, processes=0, device="cpu")
    assert again.state == training.state
    for key, value in training.model.state_dict().items():
        torch.testing.assert_close(again.model.state_dict()[key], value)
    assert (
        again.optimizer.state_dict()["state"].keys()
        == training.optimizer.state_dict()["state"].keys()
    )


def test_edits_are_counted() -> None:
    assert distance("kitten", "sitting") == 3
    assert distance("", "abc") == 3
    assert distance(["a", "b"], ["a", "b"]) == 0


@pytest.mark.parametrize(
    "change",
    ['{"minutes": -1}', '{"batch_columns": "x"}', '{"new": 1}', "[", '{"held_out": [1]}'],
)
def test_schedules_are_checked(tmp_path: Path, change: str) -> None:
    (tmp_path / "schedule.json").write_text(change)
    with pytest.raises(InvalidInputError):
        PrintConfig.from_file(tmp_path / "schedule.json")
    assert PrintConfig.bundled().width == 192
