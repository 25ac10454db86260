"""An adapter for another database, as a pattern: energy ranking over a table of SQLite.

`EnergyShelf` adds four columns to a table that holds ids, texts and vectors, keeps the field in a
companion table, and has the methods of `energy_plugin.candidates.Host`, so that the rerankers of
LangChain, LlamaIndex and Haystack take it as they take Chroma and LanceDB.

Run with ``python examples/sqlite_adapter.py [file]``. Without a file nothing is kept.
"""

import sqlite3
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from energy_plugin import EnergyColumns, EnergyConfig, EnergyField, EnergyIndex
from energy_plugin.candidates import Hit
from energy_plugin.errors import NotBuiltError

COLUMNS = {
    "energy_lambda": "REAL",
    "energy_dispersion": "REAL",
    "energy_cell": "INTEGER",
    "energy_residual": "BLOB",
}


class EnergyShelf:
    """A table of SQLite with columns ``id``, ``text`` and ``vector`` (float32 bytes).

    Parameters
    ----------
    connection : sqlite3.Connection
    table : str
    embed : callable, optional
        From a question to its vector of shape (d,).
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        table: str,
        embed: Callable[[str], Any] | None = None,
    ) -> None:
        self.connection, self.table, self.embed = connection, table, embed
        self._loaded: tuple[Any, EnergyIndex, np.ndarray] | None = None

    # -- writing

    def build(self, config: EnergyConfig | None = None) -> "EnergyShelf":
        """Fit the field to all rows. One transaction: readers see the old field or the new."""
        with self.connection:
            self.connection.execute("BEGIN IMMEDIATE")
            rowids, vectors = self._rows("TRUE")
            index = EnergyIndex.fit(vectors, config)
            present = {
                row[1] for row in self.connection.execute(f"PRAGMA table_info({self.table})")
            }
            for name, kind in COLUMNS.items():
                if name not in present:
                    self.connection.execute(f"ALTER TABLE {self.table} ADD COLUMN {name} {kind}")
            # a vector that anybody changes loses its code, and is encoded by the next search
            self.connection.execute(
                f"CREATE TRIGGER IF NOT EXISTS {self.table}__energy_stale "
                f"AFTER UPDATE OF vector ON {self.table} BEGIN "
                f"UPDATE {self.table} SET energy_residual = NULL WHERE rowid = new.rowid; END"
            )
            self.connection.execute(f"CREATE TABLE IF NOT EXISTS {self.table}__energy (field BLOB)")
            self.connection.execute(f"DELETE FROM {self.table}__energy")
            self.connection.execute(
                f"INSERT INTO {self.table}__energy VALUES (?)", (index.field.to_bytes(),)
            )
            self._write(rowids, index.columns)
        return self

    def refresh(self) -> int:
        """Write the columns of rows that were added or changed; how many they were."""
        if not self.connection.execute(
            f"SELECT EXISTS (SELECT 1 FROM {self.table} WHERE energy_residual IS NULL)"
        ).fetchone()[0]:
            return 0
        index, _ = self._read()
        with self.connection:
            self.connection.execute("BEGIN IMMEDIATE")
            rowids, vectors = self._rows("energy_residual IS NULL")
            if len(rowids):
                self._write(rowids, index.encode(vectors))
        return len(rowids)

    # -- what a stack asks of a host

    def energy_field(self) -> EnergyField:
        """The stored field, its checksum verified."""
        try:
            query = f"SELECT field FROM {self.table}__energy"
            (blob,) = self.connection.execute(query).fetchone()
        except sqlite3.OperationalError as error:
            raise NotBuiltError(f"{self.table!r} has no energy field. Call build().") from error
        return EnergyField.from_bytes(blob)

    def vectors(self, ids: Sequence[str]) -> dict[str, np.ndarray]:
        """Vectors of rows by id."""
        found = {}
        for name in dict.fromkeys(ids):
            query = f"SELECT vector FROM {self.table} WHERE id = ?"
            for (blob,) in self.connection.execute(query, (name,)):
                found[name] = np.frombuffer(blob, np.float32)
        return found

    def embed_query(self, text: str) -> np.ndarray:
        """Vector of a question."""
        if self.embed is None:
            raise ValueError("This shelf was opened without embed=; ask it with a vector.")
        return np.asarray(self.embed(text), dtype=np.float32)

    def find(self, query: Any, k: int, where: str | None = None) -> list[Hit]:
        """The k rows nearest by energy distance, of those that an SQL condition leaves."""
        vector = self.embed_query(query) if isinstance(query, str) else query
        if self._loaded is None:
            self.energy_field()  # says that there is none, before columns are missed
        self.refresh()
        index, rowids = self._read()
        allowed = None
        if where is not None:
            rows = self.connection.execute(f"SELECT rowid FROM {self.table} WHERE {where}")
            allowed = np.flatnonzero(np.isin(rowids, [row[0] for row in rows]))
        found = index.search(vector, k, rows=allowed)
        hits = []
        for row, distance in zip(found.ids[0], found.distances[0], strict=True):
            query = f"SELECT id, text FROM {self.table} WHERE rowid = ?"
            name, text = self.connection.execute(query, (int(rowids[row]),)).fetchone()
            hits.append(Hit(name, text, float(distance)))
        return hits

    # -- inside

    def _rows(self, condition: str) -> tuple[np.ndarray, np.ndarray]:
        query = f"SELECT rowid, vector FROM {self.table} WHERE {condition} ORDER BY rowid"
        rows = self.connection.execute(query).fetchall()
        blobs = [np.frombuffer(blob, np.float32) for _, blob in rows]
        return np.array([row[0] for row in rows]), np.array(blobs)

    def _write(self, rowids: np.ndarray, columns: EnergyColumns) -> None:
        names = ", ".join(f"{name} = ?" for name in COLUMNS)
        self.connection.executemany(
            f"UPDATE {self.table} SET {names} WHERE rowid = ?",
            zip(
                columns.lambda_.tolist(),
                columns.dispersion.tolist(),
                columns.cell.tolist(),
                (row.tobytes() for row in columns.residual),
                rowids.tolist(),
                strict=True,
            ),
        )

    def _read(self) -> tuple[EnergyIndex, np.ndarray]:
        """The index of all encoded rows, from memory while the file has not changed."""
        (version,) = self.connection.execute("PRAGMA data_version").fetchone()  # of others
        state = (version, self.connection.total_changes)
        if self._loaded is None or self._loaded[0] != state:
            field = self.energy_field()
            rows = self.connection.execute(
                f"SELECT rowid, {', '.join(COLUMNS)} FROM {self.table} "
                "WHERE energy_residual IS NOT NULL ORDER BY rowid"
            ).fetchall()
            rowids, lambda_, dispersion, cell, residual = zip(*rows, strict=True)
            codes = np.array([np.frombuffer(code, np.uint8) for code in residual])
            columns = EnergyColumns(lambda_, dispersion, cell, codes)
            self._loaded = (state, EnergyIndex.from_columns(field, columns), np.array(rowids))
        return self._loaded[1], self._loaded[2]


NOTES = {
    "shock-wave": "The shock wave in front of a blunt body at supersonic speed.",
    "wing-flutter": "Flutter of a swept wing and the damping of its vibrations.",
    "wind-tunnel": "Measuring the drag of a model in a supersonic wind tunnel.",
    "lens": "Proteins of the crystalline lens of the eye in young and old age.",
    "blood-cells": "Counting white blood cells in patients with an infection.",
    "kidney": "How the kidney filters blood and returns salt to it.",
    "sorting": "Sorting a long file on tape with few passes over the data.",
    "indexing": "Automatic indexing of scientific documents by their words.",
}


def main() -> None:
    """Fill a table, build its field, ask it."""
    from energy_plugin import OpticalEncoder

    encoder = OpticalEncoder.from_pretrained("compact")
    connection = sqlite3.connect(sys.argv[1] if sys.argv[1:] else ":memory:")
    connection.execute(
        "CREATE TABLE IF NOT EXISTS notes (id TEXT PRIMARY KEY, text TEXT, vector BLOB)"
    )
    vectors = encoder.encode_document(list(NOTES.values()))
    rows = [(*note, v.tobytes()) for note, v in zip(NOTES.items(), vectors, strict=True)]
    connection.executemany("INSERT OR REPLACE INTO notes (id, text, vector) VALUES (?, ?, ?)", rows)
    connection.commit()

    shelf = EnergyShelf(connection, "notes", encoder.encode_query).build()
    for hit in shelf.find("cells in the blood", 3, "id <> 'kidney'"):
        print(f"{hit.distance:.3f}  {hit.id:13} {hit.text}")


if __name__ == "__main__":
    main()
