"""The command that measures, in small: every figure is there and of the right kind."""

import json

import numpy as np
import pytest
from energy_chroma import costs as chroma_costs
from typer.testing import CliRunner

from energy_plugin.cli.app import app
from energy_plugin.cli.lab import bench_chroma
from energy_plugin.cli.lab.busy_hosts import show_busy
from energy_plugin.errors import InvalidInputError


def test_it_measures_and_reuses_the_collection(tmp_path, capsys):
    arguments = ["bench-chroma", str(tmp_path), "--rows", "600", "--dim", "32", "--queries", "3"]
    done = CliRunner().invoke(app, [*arguments, "--busy", "--json"], catch_exceptions=False)
    result = json.loads(done.stdout)
    assert min(result["build"]["seconds"], result["build"]["write_seconds"]) > 0  # two runs
    assert 30 < result["build"]["row_bytes"] < 80  # 4 bits of 32 dimensions, and the ids
    assert result["first_query"]["energy"] > 0
    assert result["query"]["collection.query"]["ratio"] == 1
    assert len(result["query"]) == 6
    for one in result["query"].values():
        assert 0 < one["p50_ms"] <= one["p90_ms"]
    assert set(result["busy"]["searches"]) == {"plain", "energy", "energy, interval 1 s"}
    bench_chroma._show(result)
    show_busy(result["busy"])
    printed = capsys.readouterr().out
    assert "field" in printed
    assert "bytes a row" in printed
    assert "processes that compute" in printed
    made, _ = chroma_costs.collection(tmp_path, 600, 32)
    assert made.count() == 600
    with pytest.raises(InvalidInputError, match="600 rows, not 500"):
        chroma_costs.collection(tmp_path, 500, 32)


def test_the_vectors_are_clustered_and_always_the_same():
    vectors = chroma_costs.clustered(3000, 64)
    np.testing.assert_array_equal(vectors, chroma_costs.clustered(3000, 64))
    similarity = vectors[:300] @ vectors.T
    assert np.sort(similarity, axis=1)[:, -2].mean() > 0.6
    assert similarity.mean() < 0.3
