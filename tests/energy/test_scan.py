"""Search through the kernel over codes, in Triton's interpreter."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from support.energy_data import clustered

from energy_plugin.energy import EnergyConfig, EnergyIndex
from energy_plugin.energy.codec import scan

pytest.importorskip("triton")

COMPARE = """
import sys
sys.path[:0] = {path!r}
import numpy as np
import torch
from test_scan import indexed
from energy_plugin.energy.codec import scan
from energy_plugin.energy.index import single
from support.energy_data import clustered

for bits, dim in ((1, 40), (2, 40), (4, 37), (8, 16)):
    index = indexed(bits, dim)
    store = index._store
    codes = scan.Codes.of(store.projection, store.columns)
    assert codes.words.shape == (-(-dim // (32 // bits)), 300)
    points = store.decoded()[:3]
    got = codes.scores(points, store.projection.graph.anchors)
    np.testing.assert_allclose(got, points @ store.decoded().T, atol=2e-5)

queries = clustered(4, 40, seed=3)[0]
index = indexed(4, 40)
scan.applies = lambda projection, columns: True
wanted = [index.search(q[None].repeat(2, 0), 10, n_probe="all").ids[0] for q in queries]
single.applies = lambda store: False
import energy_plugin.energy.index as module
module.sketch.applies = lambda projection: False
found = index.search(queries, 10)
assert (found.work.rows_scored == 300).all()
assert np.mean(found.ids == np.array(wanted)) > 0.97
index.remove(found.ids[:, 0])
again = index.search(queries, 10, rows=np.arange(0, 290))
assert not np.isin(again.ids, found.ids[:, 0]).any() and again.ids.max() < 290
print("same")
"""


def indexed(bits, dim):
    rows = clustered(300, dim)[0]
    rows[17] = 0  # has no direction
    config = EnergyConfig(bits=bits, exhaustive_rows=100, pool=20)
    return EnergyIndex.fit(rows, config, device="cpu")


def test_search_by_the_interpreted_kernel():
    """In a process of its own: Triton reads the variable when it is imported."""
    script = COMPARE.format(
        path=[os.path.dirname(__file__), os.path.dirname(os.path.dirname(__file__))]
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        env={**os.environ, "TRITON_INTERPRET": "1"},
        check=False,
        timeout=400,
    )
    assert done.stdout.strip() == "same", done.stderr[-2000:]


@pytest.mark.parametrize("count", [1, 7, 40])
@pytest.mark.parametrize("n", [50, 1000, 5003])
def test_the_best_of_many_scores(n, count):
    scores = torch.randn(3, n, generator=torch.Generator().manual_seed(n))
    found = scores.gather(1, scan.best(scores, count)).sort(1, descending=True).values
    assert torch.equal(found, scores.topk(count).values)


def test_codes_of_several_widths_are_not_scanned():
    index = indexed(4, 40)
    assert scan.uniform(index.columns)
    index.lower(np.arange(10), 1)
    assert not scan.uniform(index.columns)
    assert not scan.applies(index._projection, index.columns)  # nor is the CPU


@pytest.mark.gpu
def test_search_by_the_kernel_on_cuda():
    for bits in (1, 2, 4, 8):
        rows = clustered(5000, 64)[0]
        queries = clustered(20, 64, seed=3)[0]
        config = EnergyConfig(bits=bits, exhaustive_rows=100)
        index = EnergyIndex.fit(rows, config, device="cuda")
        assert scan.applies(index._projection, index.columns)
        codes, points = index._store.codes(), index._store.decoded()[:3]
        got = codes.scores(points, index._projection.graph.anchors)
        torch.testing.assert_close(got, points @ index._store.decoded().T, atol=1e-4, rtol=0)
        exact = index.search(queries, 10, n_probe="all").ids
        assert (index.search(queries, 10).ids == exact).mean() > 0.98
