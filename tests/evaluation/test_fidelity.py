"""What forgetting costs, on a small judged collection."""

from __future__ import annotations

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from energy_plugin.cli.app import app
from energy_plugin.evaluation import CollectionVectors, load_collection


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    """240 rows in 24 groups; a query's relevant rows are those of its group."""
    folder = tmp_path_factory.mktemp("judged")
    rng = np.random.default_rng(5)
    centres = rng.normal(size=(24, 48))
    rows = np.repeat(centres, 10, axis=0) + 0.9 * rng.normal(size=(240, 48))
    asked = centres + 0.9 * rng.normal(size=centres.shape)
    corpus = [{"_id": f"d{i}", "title": "", "text": f"row {i}"} for i in range(240)]
    queries = [{"_id": f"q{i}", "text": f"group {i}"} for i in range(24)]
    (folder / "corpus.jsonl").write_text("\n".join(map(json.dumps, corpus)))
    (folder / "queries.jsonl").write_text("\n".join(map(json.dumps, queries)))
    lines = [f"q{i // 10}\td{i}\t1" for i in range(240)]
    (folder / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\n" + "\n".join(lines))

    def unit(x):
        return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)

    collection = load_collection(folder)
    CollectionVectors(unit(rows), unit(asked)).save(folder / "v.npz", collection)
    return folder


def test_fewer_bits_are_fewer_bytes_and_find_less(judged):
    arguments = ["fidelity", str(judged), "--vectors", str(judged / "v.npz"), "--json"]
    run = CliRunner().invoke(app, arguments)
    assert run.exit_code == 0, run.output
    (found,) = json.loads(run.stdout).values()
    _, eight, four, two, one, mixed = found
    assert [each["bytes_per_row"] for each in (eight, four, two, one)] == [53, 29, 17, 11]
    assert one["bytes_per_row"] < mixed["bytes_per_row"] < eight["bytes_per_row"]
    assert eight["kept"] == 1
    # Measured: 1.000, .988, .958 at 4, 2 and 1 bits; rows of all ages .971.
    assert four["kept"] > two["kept"] > one["kept"] > 0.9
    assert one["kept"] < mixed["kept"] < four["kept"]
