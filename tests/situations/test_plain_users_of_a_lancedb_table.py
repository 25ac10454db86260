"""Others use the table without the plugin, before and after it has a field."""

import json
from datetime import timedelta

import lancedb
import numpy as np
import pytest
from energy_lancedb import EnergyTable
from lancedb.pydantic import LanceModel, Vector

DIM, N = 12, 80


class Note(LanceModel):
    id: int
    text: str
    vector: Vector(DIM)


def notes(numbers):
    rng = np.random.default_rng(5)
    vectors = rng.normal(size=(2000, DIM)).astype(np.float32)
    return [{"id": i, "text": f"note {i}", "vector": vectors[i]} for i in numbers]


@pytest.fixture
def database(tmp_path):
    database = lancedb.connect(tmp_path)
    database.create_table("notes", schema=Note).add(notes(range(N)))
    return database


def built(database):
    return EnergyTable(database.open_table("notes")).build()


def test_a_program_that_makes_its_table_if_there_is_none(database):
    built(database)
    again = database.create_table("notes", schema=Note, exist_ok=True)
    again.add([Note(id=500, text="new", vector=[0.5] * DIM)])
    assert again.count_rows() == N + 1


def test_a_handle_that_was_opened_before_the_build_goes_on_adding(database):
    before = database.open_table("notes")
    assert before.count_rows() == N
    energy = built(database)
    before.add(notes(range(N, N + 5)))
    before.merge_insert("id").when_matched_update_all().when_not_matched_insert_all().execute(
        notes(range(N + 4, N + 7))
    )
    before.delete("id = 3")
    assert before.count_rows() == N + 6
    vector = notes([N + 6])[0]["vector"]
    assert energy.search(vector).limit(1).to_list()[0]["id"] == N + 6


def test_a_web_service_that_answers_in_json(database):
    table = database.open_table("notes")
    question = notes([7])[0]["vector"]
    before = json.dumps(table.search(question).limit(5).to_list())
    built(database)
    table.checkout_latest()
    assert json.dumps(table.search(question).limit(5).to_list()) == before
    answer = json.loads(json.dumps(EnergyTable(table).search(question).limit(5).to_list()))
    assert answer[0]["id"] == 7


def test_the_schema_and_the_rows_are_those_of_before(database):
    table = database.open_table("notes")
    schema, rows = table.schema, table.to_arrow()
    built(database).refit()
    table = database.open_table("notes")
    assert table.schema.equals(schema, check_metadata=True)
    assert table.to_arrow() == rows
    assert table.search().limit(1).to_pydantic(Note)[0].text == "note 0"


def test_a_vector_column_that_got_another_name(database):
    for layout in ("columns", "companion"):
        energy = EnergyTable(database.open_table("notes")).build(layout=layout)
        old, new = energy.vector_column, f"{energy.vector_column}_{layout}"
        database.open_table("notes").alter_columns({"path": old, "rename": new})
        energy = EnergyTable(database.open_table("notes"))
        question = notes([9])[0]["vector"]
        assert energy.search(question).limit(1).to_list()[0]["id"] == 9
        assert energy.verify() == []
        assert (energy.info().vector_column, energy.build().verify()) == (new, [])


def test_a_column_that_is_added_or_dropped(database):
    energy = built(database)
    table = database.open_table("notes")
    table.add_columns({"twice": "id * 2"})
    question = notes([9])[0]["vector"]
    assert energy.search(question).limit(1).to_list()[0]["twice"] == 18
    table.drop_columns(["twice", "text"])
    assert set(energy.search(question).limit(1).to_list()[0]) >= {"id", "vector", "_distance"}
    assert energy.verify() == []


def test_the_vector_column_is_dropped(database):
    energy = built(database)
    database.open_table("notes").drop_columns(["vector"])
    (finding,) = energy.verify()
    assert finding.kind == "foreign"
    assert "'vector'" in finding.message


def test_a_nightly_compaction_that_keeps_nothing(database):
    energy = built(database)
    table = database.open_table("notes")
    table.add(notes(range(N, N + 5)))
    table.optimize(cleanup_older_than=timedelta(0))
    assert energy.search(notes([N + 2])[0]["vector"]).limit(1).to_list()[0]["id"] == N + 2
    assert [finding.kind for finding in energy.verify()] == ["pending"]
    assert energy.repair().sound


def test_rows_are_upserted_every_night(database):
    energy = built(database)
    changed = [{**row, "vector": -row["vector"]} for row in notes(range(10))]
    merge = energy.merge_insert("id").when_matched_update_all().when_not_matched_insert_all()
    merge.execute([*changed, *notes(range(N, N + 3))])
    assert energy.verify() == []
    assert energy.search(changed[4]["vector"]).limit(1).to_list()[0]["id"] == 4


def test_a_plain_restore(database):
    energy = built(database)
    table = database.open_table("notes")
    version = table.version
    table.add(notes(range(N, N + 5)))
    energy.refresh()
    table.checkout_latest()
    table.restore(version)
    fresh = EnergyTable(database.open_table("notes"))
    assert fresh.info().rows == N
    assert fresh.verify() == []


def test_a_version_of_before_the_build_is_restored(database):
    table = database.open_table("notes")
    version = table.version
    energy = built(database)
    table.checkout_latest()
    table.restore(version)
    assert [finding.kind for finding in energy.verify()] == ["missing"]
    assert energy.build().verify() == []


@pytest.mark.parametrize("writes", [0, 1])
def test_the_table_is_dropped_and_made_again(database, writes):
    energy = built(database)
    assert energy.search(notes([3])[0]["vector"]).limit(1).to_list()[0]["id"] == 3
    database.drop_table("notes")
    other = database.create_table("notes", schema=Note)
    others = [{**row, "vector": other_row["vector"]} for row, other_row in _pairs()]
    other.add(others[:70])
    for _ in range(writes):
        other.add(others[70:])
    built(database)
    for row in (others[3], others[60]):
        found = energy.search(row["vector"]).limit(1).to_list()[0]
        assert (found["id"], np.allclose(found["vector"], row["vector"])) == (row["id"], True)
    assert energy.verify() == []


def _pairs():
    return zip(notes(range(N)), notes(range(1000, 1000 + N)), strict=True)


def test_the_index_of_the_llamaindex_tutorial(tmp_path):
    core = pytest.importorskip("llama_index.core")
    stores = pytest.importorskip("llama_index.vector_stores.lancedb")
    store = stores.LanceDBVectorStore(uri=str(tmp_path), table_name="notes", mode="overwrite")
    context = core.StorageContext.from_defaults(vector_store=store)
    embedder = core.MockEmbedding(embed_dim=DIM)
    nodes = [
        core.schema.TextNode(text=row["text"], embedding=row["vector"].tolist())
        for row in notes(range(N))
    ]
    index = core.VectorStoreIndex(nodes, storage_context=context, embed_model=embedder)
    energy = EnergyTable(lancedb.connect(tmp_path).open_table("notes")).build()
    more = core.schema.TextNode(text="later", embedding=notes([N])[0]["vector"].tolist())
    index.insert_nodes([more])
    found = energy.search(notes([N])[0]["vector"]).limit(1).to_list()[0]
    assert found["text"] == "later"
