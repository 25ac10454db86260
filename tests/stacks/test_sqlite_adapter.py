"""The example adapter is a real one: another database, found right, changed, broken, restacked."""

import runpy
import sqlite3
import sys
from pathlib import Path

import numpy as np
import pytest
from energy_langchain import EnergyCompressor, EnergyRetriever
from langchain_core.documents import Document
from support.stack_data import IDS, QUERY, QUESTION, TEXTS, VECTORS, N, by_cosine, vector_of

from energy_plugin.candidates import Host
from energy_plugin.energy import EnergyIndex, EnergyReranker
from energy_plugin.errors import CorruptFieldError, NotBuiltError
from energy_plugin.stored import HostedField

EXAMPLE = Path(__file__).parents[2] / "examples" / "sqlite_adapter.py"
SqliteTable = runpy.run_path(str(EXAMPLE))["SqliteTable"]


def hosted(connection, embed=vector_of):
    return HostedField(SqliteTable(connection, "notes", embed))


@pytest.fixture
def database(tmp_path):
    connection = sqlite3.connect(tmp_path / "notes.db", isolation_level=None)
    connection.execute("CREATE TABLE notes (id TEXT PRIMARY KEY, text TEXT, vector BLOB)")
    add(connection, range(N))
    yield connection
    connection.close()


def add(connection, rows):
    connection.executemany(
        "INSERT OR REPLACE INTO notes (id, text, vector) VALUES (?, ?, ?)",
        [(IDS[i], TEXTS[i], VECTORS[i].tobytes()) for i in rows],
    )
    connection.commit()


def test_it_finds_what_the_index_finds(database):
    shelf = hosted(database).build()
    assert isinstance(shelf, Host)
    expected = EnergyIndex.fit(VECTORS)
    found = expected.search(QUERY, 7)
    hits = shelf.find(QUESTION, 7)
    assert [hit.id for hit in hits] == [IDS[i] for i in found.ids[0]]
    np.testing.assert_allclose([hit.distance for hit in hits], found.distances[0], atol=1e-6)
    found = expected.search(QUERY, 4, rows=np.arange(0, N, 2))
    hits = shelf.find(QUERY, 4, "CAST(id AS INTEGER) % 2 = 0")
    assert [hit.id for hit in hits] == [IDS[i] for i in found.ids[0]]


def test_changes_of_any_connection_are_found(database, tmp_path):
    shelf = hosted(database).build()
    other = sqlite3.connect(tmp_path / "notes.db", isolation_level=None)
    other.execute("UPDATE notes SET vector = ? WHERE id = '5'", (QUERY.tobytes(),))
    other.execute(
        "INSERT INTO notes (id, text, vector) VALUES ('new', 'new', ?)", [QUERY.tobytes()]
    )
    other.execute("DELETE FROM notes WHERE id = '7'")
    other.commit()
    assert {hit.id for hit in shelf.find(QUERY, 2)} == {"5", "new"}
    assert len(shelf.refresh()) == 3
    assert not shelf.refresh()
    again = hosted(other)
    found, wanted = ({hit.id: hit.distance for hit in one.find(QUERY, N)} for one in (again, shelf))
    assert found.keys() == wanted.keys()
    assert [found[name] for name in wanted] == pytest.approx(list(wanted.values()), abs=1e-4)
    assert "7" not in {hit.id for hit in again.find(QUERY, N + 5)}
    other.close()


def test_a_build_is_all_or_nothing(database):
    with pytest.raises(NotBuiltError, match="build"):
        hosted(database).find(QUERY, 1)
    shelf = hosted(database).build()
    before = shelf.find(QUERY, 5)
    database.execute(
        "CREATE TRIGGER stop BEFORE UPDATE OF energy_cell ON notes "
        "WHEN new.id = '40' BEGIN SELECT RAISE(ABORT, 'no space'); END"
    )
    with pytest.raises(sqlite3.IntegrityError, match="no space"):
        shelf.build()
    assert [hit.id for hit in shelf.find(QUERY, 5)] == [hit.id for hit in before]
    mark = shelf.database._mark()
    (code,) = database.execute("SELECT energy_residual FROM notes LIMIT 1").fetchone()
    database.execute("UPDATE notes SET energy_residual = ? WHERE rowid = 1", (code[:-1],))
    with pytest.raises(CorruptFieldError, match="codes have"):
        hosted(database).find(QUERY, 5)
    database.execute("UPDATE notes SET energy_residual = ? WHERE rowid = 1", (code,))
    (blob,) = database.execute(f"SELECT field FROM {mark}").fetchone()
    database.execute(f"UPDATE {mark} SET field = ?", (blob[:-1] + b"?",))
    with pytest.raises(CorruptFieldError):
        hosted(database).find(QUERY, 5)


def test_the_stacks_take_it(database):
    shelf = hosted(database).build()
    first = by_cosine(15)
    given = [Document(page_content=TEXTS[i], id=IDS[i]) for i in first]
    found = EnergyCompressor(host=shelf, top_n=4).compress_documents(given, QUESTION)
    wanted = EnergyReranker(shelf.energy_field()).rerank(QUERY, VECTORS[first], k=4)
    assert [each.id for each in found] == [IDS[first[at]] for at in wanted.order]
    direct = EnergyRetriever(host=shelf, k=3).invoke(QUESTION)
    assert [each.id for each in direct] == [hit.id for hit in shelf.find(QUESTION, 3)]


def test_the_example_runs(tmp_path, monkeypatch, capsys):
    for _ in range(2):  # the second time on what the first has left
        monkeypatch.setattr(sys, "argv", [str(EXAMPLE), str(tmp_path / "notes.db")])
        runpy.run_path(str(EXAMPLE), run_name="__main__")
        assert capsys.readouterr().out.split()[1] == "blood-cells"
