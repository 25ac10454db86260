"""Sweeps that resume, tuning that never loses on its own validation."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from typer.testing import CliRunner

from energy_plugin.cli.app import app
from energy_plugin.energy import EnergyConfig
from energy_plugin.errors import InvalidInputError
from energy_plugin.evaluation import load_collection
from energy_plugin.evaluation.sweep import Sweep
from energy_plugin.evaluation.tune import ndcg, own_questions, tune
from energy_plugin.evaluation.vectors import CollectionVectors, normalise

TOPICS, EACH, DIM = 12, 10, 24
RNG = np.random.default_rng(5)
CENTRES = RNG.normal(size=(TOPICS, DIM)) + 0.7
TOPIC = np.arange(TOPICS * EACH) % TOPICS
ROWS = normalise(CENTRES[TOPIC] + 0.9 * RNG.normal(size=(TOPICS * EACH, DIM)))
ASKED = np.arange(3 * TOPICS) % TOPICS
QUERIES = normalise(CENTRES[ASKED] + 1.1 * RNG.normal(size=(3 * TOPICS, DIM)))
GRADES = [{int(row): 1.0 for row in np.flatnonzero(topic == TOPIC)} for topic in ASKED]


@pytest.fixture
def folder(tmp_path):
    """A judged folder with its vectors beside it."""
    data = tmp_path / "topics"
    data.mkdir()
    corpus = [{"_id": f"d{i}", "text": f"row {i}"} for i in range(len(ROWS))]
    queries = [{"_id": f"q{i}", "text": f"topic {t}"} for i, t in enumerate(ASKED)]
    for name, rows in (("corpus", corpus), ("queries", queries)):
        text = "\n".join(map(json.dumps, rows))
        (data / f"{name}.jsonl").write_text(text, encoding="utf-8")
    judged = [f"q{i}\td{row}\t1" for i, wanted in enumerate(GRADES) for row in wanted]
    (data / "qrels.tsv").write_text(
        "query-id\tcorpus-id\tscore\n" + "\n".join(judged) + "\n", encoding="utf-8"
    )
    CollectionVectors(ROWS, QUERIES).save(tmp_path / "topics.npz", load_collection(data))
    return data


def test_a_sweep_is_a_table_and_a_picture_and_resumes(folder, tmp_path):
    collection = load_collection(folder)
    vectors = CollectionVectors(ROWS, QUERIES)
    sweep = Sweep({"heat": (0.0, 0.3), "local_heat": (0.0, 0.5)}, tmp_path / "out")
    measured = []
    sweep.run(collection, vectors, EnergyConfig(), progress=measured.append)
    cosine, means = sweep.means()
    assert sum(measured) == len(means) == 4
    assert 0 < cosine["ndcg@10"] <= 1
    assert len({round(value["map"], 6) for value in means.values()}) > 1
    picture = sweep.draw()[0]
    assert picture.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"

    cells = tmp_path / "out" / "cells.csv"
    lines = cells.read_bytes().splitlines(keepends=True)
    cells.write_bytes(b"".join(lines[:3]) + lines[3][:9])  # killed in the middle of a line
    sweep.run(collection, vectors, EnergyConfig())
    assert sweep.means() == (cosine, means)
    with cells.open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 5

    with pytest.raises(InvalidInputError, match="another grid"):
        Sweep({"heat": (0.1,)}, tmp_path / "out").run(collection, vectors, EnergyConfig())
    with pytest.raises(InvalidInputError, match="unknown keys"):
        list(Sweep({"speed": (1.0,)}, tmp_path / "no").configs(EnergyConfig()))


def test_the_sweep_command(folder, tmp_path):
    done = CliRunner().invoke(
        app,
        [
            *("sweep", str(folder), "--vectors", str(tmp_path / "topics.npz"), "--json"),
            *("--out", str(tmp_path / "grid"), "--axis", "anchor_heat_steps=0,2"),
            *("--axis", "anchor_heat=0.1,0.4", "--axis", "weight_lambda=0,1"),
        ],
    )
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert len(found["cells"]) == 8
    assert len(found["pictures"]) == 2


def test_ndcg_is_that_of_the_measures():
    ranked = np.array([[4, 7, 1], [0, 1, 2]])
    got = ndcg(ranked, [{7: 2.0, 9: 1.0}, {}])
    ideal = 2 + 1 / np.log2(3)
    np.testing.assert_allclose(got, [2 / np.log2(3) / ideal, 0.0])


def test_tuning_with_labels_never_returns_worse_than_the_base():
    spoilt = EnergyConfig(heat=0.0, local_heat=0.0, query_heat=0.9)
    found = tune(ROWS, QUERIES, GRADES, base=spoilt, trials=10, seed=1)
    assert found.labelled
    assert found.best >= found.default
    assert found.config != spoilt
    assert found.held_out > found.default
    assert found.trials[0]["changes"] == {}
    again = tune(ROWS, QUERIES, GRADES, base=spoilt, trials=10, seed=1)
    assert again == found


def test_labels_that_say_nothing_leave_the_defaults():
    rng = np.random.default_rng(0)
    noise = [{int(row): 1.0 for row in rng.choice(len(ROWS), 3)} for _ in QUERIES]
    found = tune(ROWS, QUERIES, noise, trials=6)
    assert found.held_out > found.default or found.config == EnergyConfig()


def test_the_collection_asks_itself():
    asked, grades = own_questions(ROWS, np.random.default_rng(0))
    first = (ROWS @ asked.T).argmax(0)
    own = [max(wanted, key=wanted.get) for wanted in grades]
    assert 0.5 < (first == own).mean() < 0.85
    found = tune(ROWS, trials=6, seed=2)
    assert not found.labelled
    assert found.best >= found.default


def test_bad_input_of_tune_is_named():
    with pytest.raises(InvalidInputError, match="together"):
        tune(ROWS, QUERIES)
    with pytest.raises(InvalidInputError, match="at least one question per fold"):
        tune(ROWS, QUERIES[:2], GRADES[:2])
    with pytest.raises(InvalidInputError, match="folds >= 2"):
        tune(ROWS, QUERIES, GRADES, folds=1)
    with pytest.raises(InvalidInputError, match="at least 2"):
        tune(np.eye(1, 8))


def test_the_tune_command(folder, tmp_path):
    out = tmp_path / "config.json"
    done = CliRunner().invoke(
        app,
        [
            *("tune", str(folder), "--vectors", str(tmp_path / "topics.npz")),
            *("--trials", "4", "--out", str(out)),
        ],
    )
    assert done.exit_code == 0, done.output
    assert "defaults" in done.stdout
    assert isinstance(EnergyConfig.from_dict(json.loads(out.read_text())), EnergyConfig)
