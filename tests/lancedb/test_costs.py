"""The measured costs: the command runs, and what does not depend on the machine is right."""

import json

import lancedb
import numpy as np
import pytest
from energy_lancedb import EnergyTable
from support.lancedb_data import embed, plain_rows, text_of
from typer.testing import CliRunner

from energy_plugin.cli.app import app


def test_the_command_prints_costs(tmp_path):
    arguments = ["bench-lancedb", "--rows", "600", "--dim", "32", "--queries", "3"]
    folder = ["--memory-rows", "150000", "--folder", str(tmp_path)]
    done = CliRunner().invoke(app, [*arguments, *folder, "--busy", "--json"])
    assert done.exit_code == 0, done.output
    costs = json.loads(done.stdout)
    assert costs["unindexed_rows"] == 0
    assert costs["rows"] == lancedb.connect(tmp_path).open_table("rows").count_rows() == 600
    times = ("fit_seconds", "write_seconds", "open_seconds", "native_ms", "energy_ms", "rank_ms")
    assert all(costs[name] > 0 for name in times)
    assert costs["energy_ms"] > costs["rank_ms"]
    assert set(costs["busy"]["searches"]) == {"plain, flat", "energy", "energy, interval 1 s"}
    if costs["memory_bytes"] is not None:  # 21 bytes of code, 16 of the rest, and more
        assert 150_000 * 37 * 0.5 < costs["memory_bytes"] < 150_000 * 400


@pytest.mark.parametrize("several", [False, True])
def test_a_search_makes_two_round_trips(tmp_path, monkeypatch, several):
    """One for the version, one for the rows: each costs a switch of threads."""
    from lancedb.background_loop import LOOP

    energy = EnergyTable(lancedb.connect(tmp_path).create_table("pages", plain_rows(200))).build()
    query = embed([text_of(3), text_of(9)] if several else [text_of(3)])
    query = query if several else query[0]
    energy.search(query).limit(3).to_arrow()
    trips = []
    original = LOOP.run
    monkeypatch.setattr(LOOP, "run", lambda work: (trips.append(work), original(work))[1])
    found = energy.search(query).limit(3).to_arrow()
    assert len(trips) == 2
    assert found["id"].to_pylist()[0] == 3


def test_more_cells_find_what_all_cells_hold(tmp_path):
    energy = EnergyTable(lancedb.connect(tmp_path).create_table("pages", plain_rows(400))).build()
    vector = embed([text_of(11)])[0]
    every = energy.search(vector).limit(20).to_arrow()["id"].to_pylist()
    counts = []
    for probes in (1, 8, energy.field.n_anchors):
        query = energy.search(vector).limit(20).nprobes(probes)
        found = query.to_arrow()["id"].to_pylist()
        assert len(found) == 20
        counts.append((len(set(found) & set(every)), int(query.work.rows_scored[0])))
    shared, scored = np.array(counts).T
    assert (np.diff(shared) >= 0).all()
    assert (np.diff(scored) > 0).all()
    assert shared[-1] == 20


def test_searches_of_a_judged_collection(tmp_path):
    """Each kind of search is ranked by the judgements, and timed against LanceDB's fusion."""
    texts = [text_of(i) for i in range(120)]
    asked = [20, 75]
    lines = [
        json.dumps({"_id": f"d{i}", "title": "", "text": text}) for i, text in enumerate(texts)
    ]
    (tmp_path / "corpus.jsonl").write_text("\n".join(lines))
    lines = [json.dumps({"_id": f"q{i}", "text": texts[i]}) for i in asked]
    (tmp_path / "queries.jsonl").write_text("\n".join(lines))
    judged = "".join(f"q{i}\td{i}\t1\n" for i in asked)
    (tmp_path / "qrels.tsv").write_text(f"query-id\tcorpus-id\tscore\n{judged}")
    np.savez(
        tmp_path / "vectors.npz",
        corpus=embed(texts),
        queries=embed([texts[i] for i in asked]),
        corpus_ids=[f"d{i}" for i in range(120)],
        query_ids=[f"q{i}" for i in asked],
    )
    given = ["--data", str(tmp_path), "--vectors", str(tmp_path / "vectors.npz")]
    done = CliRunner().invoke(app, ["lab", "bench-lancedb", *given, "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["hybrid, RRFReranker"]["times"] == 1
    for kind, one in found.items():
        if "Energy" in kind:  # a question that is a row finds it
            assert one["mrr"] == 1, kind
            assert one["ms"] == pytest.approx(
                one["times"] * found["hybrid, RRFReranker"]["ms"], rel=1e-6
            )
    done = CliRunner().invoke(app, ["lab", "bench-lancedb", "--data", str(tmp_path)])
    assert "--data needs --vectors" in str(done.exception)
