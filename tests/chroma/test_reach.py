"""Rows that Chroma's graph has lost: energy finds them, verify counts them, repair mends that."""

import numpy as np
import pytest
from energy_chroma import EnergyCollection, reach
from support.chroma_cases import client, vectors, worn


@pytest.fixture(scope="module", name="worn")
def worn_collection(tmp_path_factory):
    return worn(client(tmp_path_factory.mktemp("worn")))


def test_energy_serves_what_chroma_lost(worn):
    made, names, rows = worn
    energy = EnergyCollection(made).build()
    lost = reach.unreachable(energy._keeper.host, names, rows)
    assert 0 < len(lost) < 150  # or this test shows nothing
    for place in lost:  # counted by hand
        own = made.query(query_embeddings=[rows[place]], n_results=100, include=[])["ids"][0]
        assert names[place] not in own
    found = energy.query(query_embeddings=rows[lost], n_results=1)["ids"]
    assert [ids[0] for ids in found] == [names[place] for place in lost]

    assert energy.verify() == []  # the field is sound
    (finding,) = energy.verify(reach=True)
    assert finding.kind == "unreachable"
    assert set(finding.ids) == {names[place] for place in lost}
    assert f"{len(lost)} rows" in finding.message
    assert "repair(reach=True)" in finding.remedy

    report = energy.repair(reach=True)
    left = len(report.remaining[0].ids) if report.remaining else 0
    assert left <= len(lost) // 3
    got = made.get(ids=names, include=["embeddings"])
    stored = dict(zip(got["ids"], got["embeddings"], strict=True))
    assert np.array_equal(np.array([stored[name] for name in names]), rows)


def test_many_copies_are_no_loss(tmp_path):
    made = client(tmp_path).create_collection("copies")
    row = vectors(1, dim=16)
    rows = np.repeat(row, 250, axis=0)
    made.add(ids=[f"r{i}" for i in range(250)], embeddings=rows)
    host = EnergyCollection(made)._keeper.host
    assert len(reach.unreachable(host, [f"r{i}" for i in range(250)], rows)) == 0


def test_a_large_collection_is_sampled_evenly():
    assert reach.sample(5).tolist() == [0, 1, 2, 3, 4]
    some = reach.sample(10 * reach.MOST)
    assert len(some) == reach.MOST
    assert some[[0, -1]].tolist() == [0, 10 * reach.MOST - 1]
    assert np.ptp(np.diff(some)) <= 1
