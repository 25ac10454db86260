"""Ids and texts of any characters in real databases: a filter finds the rows that it names.

Quotes, fragments of SQL, wildcards, newlines, zero bytes, and every character that Unicode has.
"""

from __future__ import annotations

import chromadb
import lancedb
import numpy as np
import pyarrow as pa
import pytest
from energy_chroma import EnergyCollection
from energy_lancedb import EnergyTable
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.energy_data import clustered

from energy_plugin.candidates import as_host
from energy_plugin.library.embedders import Embedder
from energy_plugin.library.stores.chroma import ChromaStore
from energy_plugin.library.stores.lance import LanceStore
from energy_plugin.library.stores.store import Row

DIM, PLAIN = 12, 30
FRAGMENTS = (
    *("'", "''", '"', "\\", "\\'", "`", "--", "/*", "*/", ";", "%", "_", "$1", "?", "{", "}"),
    *("' OR '1'='1", "'; DROP TABLE pages; --", "') OR true --", "x' UNION SELECT 1 --"),
    *("\n", "\r\n", "\t", "\0", "a\0b", "\x1b[31m", " ", "  ", "\u00a0", "\u200b", "\u202e"),
    *("é", "e\u0301", "ß", "文字", "🙂", "\ufeff", "\U0010ffff", "NULL", "null", "true", "nan"),
    *('{"$ne": ""}', "$contains", "energy_cell", "r1", "../../etc/passwd", "${HOME}", "%s%n"),
)
strings = st.lists(
    st.one_of(st.sampled_from(FRAGMENTS), st.text(max_size=6)), min_size=1, max_size=4
).map("".join)
several = st.lists(strings.filter(bool), min_size=1, max_size=6, unique=True)
real = settings(
    max_examples=15,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
VECTORS = clustered(PLAIN + 10, DIM, topics=4)[0]


def plain_ids():
    return [f"r{i}" for i in range(PLAIN)]


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A table with a field; strange rows come and go in it."""
    data = pa.table(
        {
            "id": plain_ids(),
            "text": [f"text of {name}" for name in plain_ids()],
            "vector": pa.FixedSizeListArray.from_arrays(pa.array(VECTORS[:PLAIN].ravel()), DIM),
        }
    )
    made = lancedb.connect(tmp_path_factory.mktemp("lance")).create_table("pages", data)
    EnergyTable(made).build(layout="columns")
    return made


def literal(text):
    """As the documentation tells users to write one."""
    return "'" + text.replace("'", "''") + "'"


@real
@given(several)
def test_ids_in_lancedb(table, names):
    new = [name for name in names if name not in plain_ids()]
    vectors = dict(zip(new, VECTORS[PLAIN:], strict=False))
    version = table.version
    try:
        if new:
            table.add([{"id": n, "text": f"about {n}", "vector": v} for n, v in vectors.items()])
        energy = EnergyTable(table)
        wanted = {**vectors, **dict(zip(plain_ids(), VECTORS, strict=False))}
        found = as_host(energy).vectors([*new, "r3", "no such id"])
        assert set(found) == {*new, "r3"}
        for name, vector in found.items():
            np.testing.assert_array_equal(vector, wanted[name])
        for name in new:
            hits = energy.search(wanted[name]).where(f"id = {literal(name)}").limit(5).to_list()
            assert [hit["id"] for hit in hits] == [name]
            assert hits[0]["text"] == f"about {name}"
        assert len(energy.refresh()) == len(new)
        assert len(energy.search(VECTORS[0]).limit(100).to_list()) == PLAIN + len(new)
    finally:
        table.restore(version)
        table.checkout_latest()


def rows_of(names, parts=2):
    return [
        Row(f"{name}#{i}", f"part {i} of {name}", name, i, parts, "0" * 8, "2026-01-01T00:00:00")
        for name in names
        for i in range(parts)
    ]


@pytest.fixture(scope="module", params=["lancedb", "chroma"])
def store(request, tmp_path_factory):
    """What `energy-plugin index` fills: files by their names, each of two rows."""
    path = tmp_path_factory.mktemp(request.param)
    embedder = Embedder("compact", list, str, DIM, None, optical=True)
    if request.param == "lancedb":
        made = LanceStore.create(path, "pages", embedder)
    else:
        made = ChromaStore.create(path, "pages", embedder)
    made.add(rows_of([f"f{i}" for i in range(5)]), VECTORS[:10])
    return made


@real
@given(several)
def test_files_of_any_name_are_removed_alone(store, names):
    new = [name for name in names if not name.startswith("f")]
    if not new:
        return
    store.add(rows_of(new), np.resize(VECTORS, (2 * len(new), DIM)))
    assert {source for source, *_ in store.sources()} == {*new, *(f"f{i}" for i in range(5))}
    store.remove(new[:1])
    assert {source for source, *_ in store.sources()} == {*new[1:], *(f"f{i}" for i in range(5))}
    store.remove(new)
    assert sorted(store.sources()) == sorted(
        (f"f{i}", "0" * 8, part, 2) for i in range(5) for part in (0, 1)
    )


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    """A collection with a field."""
    made = chromadb.PersistentClient(str(tmp_path_factory.mktemp("chroma"))).create_collection(
        "docs", embedding_function=None, configuration={"hnsw": {"space": "cosine"}}
    )
    made.add(
        ids=plain_ids(),
        embeddings=VECTORS[:PLAIN],
        documents=[f"text of {name}" for name in plain_ids()],
        metadatas=[{"key": name} for name in plain_ids()],
    )
    EnergyCollection(made).build()
    return made


@real
@given(several)
def test_ids_and_texts_in_chroma(collection, names):
    new = [name for name in names if name not in plain_ids()]
    vectors = dict(zip(new, VECTORS[PLAIN:], strict=False))
    if not new:
        return
    energy = EnergyCollection(collection)
    energy.add(
        ids=new,
        embeddings=list(vectors.values()),
        documents=[f"about {name}" for name in new],
        metadatas=[{"key": name} for name in new],
    )
    try:
        for fresh in (energy, EnergyCollection(collection)):  # in memory, and as stored
            for name, vector in vectors.items():
                got = fresh.query(query_embeddings=[vector], n_results=5, where={"key": name})
                assert got["ids"] == [[name]]
                assert got["documents"] == [[f"about {name}"]]
            got = fresh.query(query_embeddings=[VECTORS[0]], n_results=100)
            assert sorted(got["ids"][0]) == sorted([*plain_ids(), *new])
            assert fresh.verify() == []
        found = as_host(energy).vectors([*new, "no such id"])
        assert set(found) == set(new)
    finally:
        energy.delete(ids=new)
        energy.refresh()
    assert sorted(EnergyCollection(collection).get(include=[])["ids"]) == sorted(plain_ids())


@pytest.mark.parametrize(
    "sha256", ["' OR true --", "a" * 63 + "'", "A" * 64, "", "a" * 64 + "; DROP TABLE pages"]
)
def test_a_forged_pointer_reaches_no_condition(tmp_path, sha256):
    """The checksum of a pointer stands in SQL: what is none is refused before."""
    from energy_lancedb.pointer import KEY, RESIDUAL, pointer_of

    from energy_plugin.errors import CorruptFieldError

    rows = [{"id": i, "vector": vector} for i, vector in enumerate(VECTORS[:20])]
    made = lancedb.connect(tmp_path).create_table("pages", rows)
    EnergyTable(made).build(layout="columns")
    text = pointer_of(made.schema).to_json().replace(pointer_of(made.schema).sha256, sha256)
    made.update_field_metadata({"path": RESIDUAL, "metadata": {KEY: text}})
    with pytest.raises(CorruptFieldError, match="sha256"):
        EnergyTable(made).search(VECTORS[0]).to_list()
    EnergyTable(made).build()
    assert len(EnergyTable(made).search(VECTORS[0]).limit(50).to_list()) == 20
