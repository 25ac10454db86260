"""Vectors of a table are read once a data file, also without columns in the table."""

import lancedb
import numpy as np
import pytest
from energy_lancedb import EnergyTable, keys
from energy_lancedb.host import Host
from energy_lancedb.keys import KeyMemory, keys_of
from support.lancedb_data import DIM, embed, hits, plain_rows, plain_schema, rows_of, text_of

N = 60


@pytest.fixture
def plain(tmp_path):
    return lancedb.connect(tmp_path).create_table("t", plain_rows(N), schema=plain_schema())


@pytest.fixture
def read(monkeypatch):
    """Numbers of vectors that were read, one a data file."""
    counts, original = [], keys.vectors_of

    def count(rows, column, dim):
        counts.append(rows.num_rows)
        return original(rows, column, dim)

    monkeypatch.setattr(keys, "vectors_of", count)
    return counts


def test_they_are_those_of_the_vectors_whatever_happened(plain):
    memory = Host(plain).memory(KeyMemory)
    plain.add(plain_rows(7, start=N))
    plain.delete("id % 5 = 0")
    plain.update(where="id = 8", values={"vector": embed(["river"])[0].tolist()})
    plain.add([{**rows_of(1, start=900)[0], "vector": None}])
    for _ in range(3):
        found = Host(plain).vectors("vector", DIM)
        got = memory.read("vector", DIM)
        np.testing.assert_array_equal(got.rowids, found.rowids)
        np.testing.assert_array_equal(got.keys, keys_of(found.matrix))
        assert got.without == 1
        plain.optimize()
        plain.delete("id = 11")
        memory._host.latest()


def test_only_new_files_are_read(plain, read):
    energy = EnergyTable(plain).build()
    read.clear()
    hits(energy, embed([text_of(3)])[0])
    plain.add(plain_rows(4, start=N))
    plain.delete("id < 5")
    assert hits(energy, embed([text_of(N + 1)])[0], 1)[0]["id"] == N + 1
    assert read[-1] == 4
    energy.refresh()
    energy.add(plain_rows(2, start=N + 50))
    assert sum(read) <= N + 4 + 2
    assert energy.verify() == []


def test_a_vector_that_was_changed_in_place_is_read_again(plain, read):
    """A merge of one column puts a new file beside those of a fragment."""
    plain.create_index("id", config=lancedb.index.BTree())
    energy = EnergyTable(plain).build()
    hits(energy, embed([text_of(3)])[0])
    changed = [{"id": 6, "vector": embed(["court"])[0]}]
    plain.merge_insert("id").when_matched_update_all().execute(changed)
    assert len(energy.info().pending) == 1
    assert hits(energy, embed(["court"])[0], 1)[0]["id"] == 6
    energy.refresh()
    assert energy.verify() == []
